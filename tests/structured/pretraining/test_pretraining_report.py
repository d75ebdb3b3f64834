"""The steps from which on pruning lost nothing, on the source's tables."""

import pytest

from keras_sparse.structured import pretraining_report

STEPS = [20, 40, 60, 80]


@pytest.mark.parametrize(
    ("pruned", "dense", "step"),
    [
        ([82.32, 86.18, 86.11, 86.09], 83.13, 40),
        ([80.19, 87.79, 88.38, 88.67], 87.62, 40),
        ([86.71, 88.33, 91.79, 91.77], 91.44, 60),
        ([75.29, 85.47, 85.56, 85.01], 85.23, 40),
        ([84.06, 91.59, 92.31, 92.15], 92.14, 60),
        ([89.79, 91.34, 94.28, 94.23], 94.18, 60),
    ],
)
def test_winning_tickets_of_table_5(pruned, dense, step):
    assert pretraining_report(STEPS, pruned, dense).winning_ticket == step


@pytest.mark.parametrize(
    ("pruned", "at_one_point"),
    [
        ([70.05, 71.14, 71.53], 100),
        ([69.23, 70.36, 71.10], 100),
        ([71.68, 72.56, 72.65], 50),
        ([69.87, 71.44, 71.33], 100),
    ],
)
def test_plateaus_of_table_6(pruned, at_one_point):
    found = pretraining_report([50, 100, 150], pruned, 80.0, tol=0.75)
    assert found.plateau == 100
    assert found.winning_ticket is None
    assert pretraining_report([50, 100, 150], pruned, 80.0, tol=1.0).plateau == at_one_point


def test_first_hit_and_words():
    found = pretraining_report(STEPS, [1, 2, 3, 2.5], [1, 2, 2, 4], target=2)
    assert found.first_hit == 40
    assert "at the end: not reached" in found.text()
    assert "asked for: step 40 (50% of the training)" in found.text()
    assert pretraining_report(STEPS, [1, 2, 3, 2.5], 9, target=5).first_hit is None
    with pytest.raises(ValueError, match="steps must be ascending"):
        pretraining_report([1, 1], [1, 2], 1)
