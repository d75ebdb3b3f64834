"""What `benchmarks/` says of its committed results follows from them."""

import json
import os
import runpy
import sys
from pathlib import Path
from unittest import mock

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"
SCRIPTS = {
    "acdc_phases": "acdc_phases",
    "agreement": "agreement",
    "batch_size": "batch_size",
    "batch_size_mnist": "batch_size",
    "cifar10_resnet20": "cifar10_resnet20",
    "cifar10_resnet20_95": "cifar10_resnet20",
    "cram_cifar10": "cram",
    "cram_mnist": "cram",
    "edge": "edge",
    "edge_matrix": "edge_matrix",
    "edge_trained": "edge_trained",
    "first_step": "first_step",
    "gap_cifar10": "gap",
    "gap_cifar10_longer": "gap",
    "gap_mnist": "gap",
    "gist_block_intervals": "gist",
    "gist_citeseer": "gist",
    "gist_clock": "gist_clock",
    "gist_cora": "gist",
    "gist_cora_intervals": "gist",
    "gist_inference": "gist_inference",
    "gist_rivals_ladies": "gist_rivals",
    "gist_rivals_methods": "gist_rivals",
    "gist_rivals_widths": "gist_rivals",
    "graph_peers": "graph_peers",
    "graph_scale_nodes": "graph_scale",
    "graph_scale_width": "graph_scale",
    "graphs": "graphs",
    "greedy_epsilon": "greedy_epsilon",
    "greedy_forward_selection": "greedy_forward_selection",
    "heads": "heads",
    "hull_membership": "hull_membership",
    "mask_update": "mask_update",
    "memorization": "memorization",
    "post_training": "post_training",
    **{
        f"precision_{part}": "precision"
        for part in (
            "digits",
            "graph_periods",
            "graphs",
            "images_cifar10",
            "images_fashion_mnist",
            "noisy",
            "periods",
            "text",
        )
    },
    "precision_step": "precision_step",
    "pretrained_one_shot": "pretrained_one_shot",
    "pretrained_one_shot_own": "pretrained_one_shot",
    "pretraining": "pretraining",
    "pretraining_bound": "pretraining_bound",
    "pretraining_cnn": "pretraining_cnn",
    "resnet20_structured": "resnet20_structured",
    "selection_rates": "selection_rates",
    "selection_time": "selection_time",
    "shrink": "shrink",
    **{
        f"signal_propagation_{part}": "signal_propagation"
        for part in (
            "gammas",
            "networks",
            "sculpting",
            "singular_values",
            "training",
            "training_digits",
            "transfer",
            "unsupervised",
        )
    },
    "smoothness": "smoothness",
    "snip": "snip",
    "snip_variants": "snip",
    "steps_bound": "steps_bound",
    "steps_to_result": "steps_to_result",
    **{
        f"streaming_{part}": "streaming"
        for part in ("base", "cifar10", "classes", "digits", "fashion_mnist", "grid", "orders")
    },
    "streaming_speed": "streaming_speed",
    "streaming_tasks": "streaming_tasks",
    "transfer_cifar10": "transfer",
    "transfer_cifar10_reverse": "transfer",
    "transfer_claims": "transfer_claims",
    "transfer_fashion_mnist": "transfer",
    "transfer_mnist": "transfer",
    "transfer_pretrained": "transfer_pretrained",
    "transfer_segmentation": "transfer_segmentation",
}


@pytest.fixture
def script(monkeypatch):
    """The names of a script, without its options being read."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    with mock.patch.dict(os.environ):  # Some set how many threads there are.
        yield lambda name: runpy.run_path(str(BENCHMARKS / f"{name}.py"))
    for name in {path.stem for path in BENCHMARKS.glob("*.py")} & set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_committed_text_is_that_of_the_committed_results(script, name):
    content = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    committed = (RESULTS / f"{name}.md").read_text("utf-8")
    # Some were written before the machine was.
    machine = committed.splitlines()[2].partition("` on ")[2].removesuffix(".")
    document = script(SCRIPTS[name])["describe"](content)
    assert document.markdown(name, {"machine": machine, **content}) == committed


def test_the_committed_claims_are_those_of_the_committed_comparison(script):
    folder = RESULTS / "mnist_lenet300"
    results, tuned = (
        json.loads((folder / f"{name}.json").read_text("utf-8"))
        for name in ("results", "acdc_dense")
    )
    command = "python benchmarks/claims.py benchmarks/results/mnist_lenet300"
    text = script("claims")["describe"](results, tuned).markdown("claims", {"command": command})
    assert text == (folder / "claims.md").read_text("utf-8")


def test_results_that_have_no_text_of_their_own_have_a_table(script):
    content = json.loads((RESULTS / "one_shot_sweep.json").read_text("utf-8"))
    (table,) = script("one_shot_sweep")["describe"](content).blocks
    assert [row[:2] for row in table.rows] == [("tuned", "50"), ("before and after tuning", "91")]
    content = json.loads((RESULTS / "mnist_lenet300" / "acdc_dense.json").read_text("utf-8"))
    (table,) = script("acdc_dense")["describe"](content).blocks
    assert table.rows[0] == ("0", "96.66%", "96.70%")
