"""The range test and the sweep over critical periods."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse.precision.range_test import _decided
from tests.training import compiled, dense_net


def state(model):
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [ops.convert_to_numpy(v).copy() for v in variables]


def test_it_leaves_everything_as_it_was(images, tmp_path):
    model = compiled(dense_net())
    x, y = images
    model.fit(x, y, batch_size=16, verbose=0)
    history, before = model.history, state(model)
    keras.utils.set_random_seed(0)
    expected = [np.random.rand(), float(keras.random.uniform(()))]  # noqa: NPY002
    keras.utils.set_random_seed(0)
    found = ks.precision_range_test(model, images, q_max=4, steps=24, last=6, batch_size=16)
    assert [np.random.rand(), float(keras.random.uniform(()))] == expected  # noqa: NPY002
    for one, two in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(one, two)
    assert model.history is history
    assert list(found.curve) == [2, 3, 4]
    assert found.q_min == 2  # Four clusters, learned with two bits.
    assert found.chance == 0.25
    assert found.plot(tmp_path / "range.png").axes[0].get_lines()


def test_criteria():
    curve = {2: 0.27, 3: 0.36, 4: 0.55, 5: 0.56}
    assert _decided(curve, 0.25, "above_chance", 0.1, 5).q_min == 3
    assert _decided(curve, 0.25, "jump", 0.1, 5).q_min == 4
    with pytest.warns(ks.SparsityWarning, match="no number of bits"):
        none = _decided(curve, 0.25, "above_chance", 0.5, 5)
    assert none.q_min == 5
    assert not none.found


def test_one_rising_sweep_goes_on_from_where_it_was(images):
    model = compiled(dense_net())
    kwargs = {"q_max": 3, "steps": 4, "last": 2, "batch_size": 16}
    anew = ks.precision_range_test(model, images, **kwargs)
    on = ks.precision_range_test(model, images, restore=False, **kwargs)
    assert on.curve[2] == anew.curve[2]
    assert on.curve[3] > anew.curve[3]


def test_wrong_arguments(images):
    model = compiled(dense_net())
    for kwargs, said in [
        ({"steps": 50, "last": 20}, "a multiple of last=20"),
        ({"criterion": "best"}, "criterion"),
        ({"q_max": 1}, "q_max"),
        ({"monitor": "auc", "steps": 2, "last": 2}, "monitor must be one of"),
        ({"threshold": 2}, "threshold"),
    ]:
        with pytest.raises(ValueError, match=said):
            ks.precision_range_test(model, images, **kwargs)
    with pytest.raises(ValueError, match="inputs alone"):
        ks.precision_range_test(model, images[0])


def test_a_sweep_trains_with_each_window(images):
    totals = []

    def build(total):
        totals.append(total)
        return compiled(dense_net())

    found = ks.precision.critical_period_sweep(
        build,
        images,
        images,
        steps=14,
        deficits=[4],
        windows=[(2, 8)],
        q_min=1,
        batch_size=16,
        keep_float=(),
    )
    assert totals == [14, 18, 14]
    assert [each.window for each in found] == [None, (0, 4), (2, 8)]
    assert [each.steps for each in found] == [14, 18, 14]
    assert all(0 <= each.metric <= 1 for each in found)
    ks.precision.critical_period_sweep(
        build, images, images, steps=3, deficits=[2], lr_decay="after_deficit"
    )
    assert totals[-1] == 3
