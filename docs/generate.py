"""Makes the pages of the documentation from the package's docstrings.

What `methods/__init__.py` and `posttrain/__init__.py` make public has a page for each module, and
so have the rooms that everything else is in. The docstrings are read from the source.
"""

import ast
import runpy
from pathlib import Path

import mkdocs_gen_files

PACKAGE = Path("keras_sparse")
# The pages that are written by hand, beside the README and the sources.
PAGES = {
    "Checkpoints in mid-training": "checkpoints.md",
    "Will it be faster?": "faster.md",
    "A trained model and no time": "one_shot.md",
    "My sparse network does not train": "not_training.md",
    "A smaller model, not a sparser one": "structured.md",
    "Small files and ONNX": "files.md",
    "Models pruned by tfmot": "tfmot.md",
    "Wide graph networks on several workers": "graphs.md",
    "Own training loops and GANs": "own_loops.md",
    "Training in low precision": "precision.md",
    "Sweeps, and how large a batch pays": "tuning.md",
    "A sparse model on another task": "transfer.md",
    "Learning from a stream": "streaming.md",
    "Properties of every method": "properties.md",
    "What was measured": "measured.md",
}
line_and_source = runpy.run_path(str(PACKAGE / "messages" / "docstrings.py"))["line_and_source"]
# What a user of the other rooms needs, in reading order.
REFERENCE = {
    "Sparsity": (
        "sparsity/granularity",
        "sparsity/runtime_pattern",
        "sparsity/allocation",
        "sparsity/schedules",
        "sparsity/duration",
        "sparsity/report",
        "sparsity/masks",
        "sparsity/operators",
        "sparsity/partition",
    ),
    "Engine": (
        "engine/callback",
        "engine/rule",
        "engine/rules/planned",
        "engine/rules/scheduled_masks",
        "engine/rules/dense_learning",
        "engine/sparse_optimizer",
    ),
    "Bases of the methods": (
        "methods/exploration/base",
        "methods/grow_and_prune/rule",
        "methods/compression_aware/two_gradients",
        "methods/compression_aware/two_gradient_step",
    ),
    "Workers": (
        "distribute/connection",
        "distribute/communicator",
        "distribute/rounds",
        "distribute/cluster",
        "distribute/launch",
        "distribute/worker_processes",
    ),
    "Low precision": (
        "precision/scheduler",
        "precision/schedules/cyclic",
        "precision/schedules/constant",
        "precision/schedules/staircase",
        "precision/schedules/deficit",
        "precision/schedules/delayed",
        "precision/range_test",
        "precision/critical_period",
        "precision/cost",
        "precision/low_precision",
    ),
    "Signal propagation": (
        "analysis/signal/report",
        "analysis/signal/callback",
        "analysis/signal/jacobians",
        "analysis/signal/layers",
        "analysis/signal/singular_values",
        "signal_propagation/initializers",
        "signal_propagation/layerwise",
        "signal_propagation/mean_field",
        "signal_propagation/orthogonality",
        "signal_propagation/enforcing",
        "methods/at_start/sculpting",
        "sparsity/given_masks",
    ),
    "Transfer": (
        "transfer/full",
        "transfer/linear",
        "transfer/heads",
        "transfer/features",
        "transfer/logistic_regression",
        "transfer/lth_transfer",
        "transfer/distillation",
        "transfer/result",
        "transfer/error_increase",
        "transfer/comparison",
        "transfer/mean_per_class_accuracy",
        "transfer/recommend",
        "transfer/training",
        "analysis/memorization",
        "analysis/agreement_report",
        "analysis/pruned_filters",
        "data/shape_images",
    ),
    "Structured pruning": (
        "structured/prune",
        "structured/shrink",
        "structured/report",
        "structured/layerwise/prune_layerwise",
        "structured/layerwise/i_spasp",
        "structured/layerwise/greedy_forward",
        "structured/group_lasso",
        "structured/coupling/coupling",
        "structured/units/greedy_forward_selection",
        "structured/units/unit_selection",
        "structured/units/layer_selection",
        "structured/units/cut",
        "structured/units/distributed_selection",
        "structured/units/local_imitation",
        "structured/units/backward_elimination",
        "structured/units/i_spasp",
        "structured/units/pursuit",
        "structured/units/channel_pursuit",
        "structured/units/two_layer",
        "structured/units/greedy_selection",
        "structured/pretraining/pretraining_probe",
        "structured/pretraining/pretraining_report",
    ),
    "Graph networks": (
        "graphs/networks",
        "graphs/layers/graph_conv",
        "graphs/layers/sage_conv",
        "graphs/layers/gat_conv",
        "graphs/layers/cuts",
        "graphs/data/graph",
        "graphs/data/load",
        "graphs/data/block_graph",
        "graphs/data/normalization",
        "graphs/loaders/full_graph",
        "graphs/loaders/cluster",
        "graphs/loaders/partitioning",
        "graphs/loaders/neighbor",
        "graphs/loaders/layerwise",
        "graphs/loaders/ladies",
        "graphs/loaders/fast_gcn",
        "graphs/loaders/saint",
        "graphs/loaders/base",
        "graphs/gist/gist",
        "graphs/gist/training",
        "graphs/gist/wide",
        "graphs/gist/partition",
        "graphs/gist/accounting",
        "graphs/rivals/local_sgd",
        "graphs/rivals/data_parallel",
        "graphs/rivals/ensemble",
    ),
    "Streaming": (
        "streaming/learner/streaming_learner",
        "streaming/learner/learner",
        "streaming/learner/streaming_dataset",
        "streaming/learner/schedule",
        "streaming/replay/replay_buffer",
        "streaming/replay/compression",
        "streaming/augmentation/augment",
        "streaming/evaluation/orderings",
        "streaming/evaluation/events",
        "streaming/evaluation/calibration",
        "streaming/rivals/fine_tuning",
        "streaming/rivals/exstream",
        "streaming/rivals/deep_slda",
        "streaming/rivals/remind",
        "streaming/rivals/product_quantizer",
        "streaming/rivals/batch_incremental",
        "streaming/rivals/icarl",
        "streaming/rivals/e2eil",
        "streaming/rivals/herding",
        "streaming/rivals/cut",
    ),
    "Sweeps and batch sizes": (
        "tuning/hyper_model",
        "tuning/tuner",
        "tuning/optuna_sweep",
        "tuning/result",
        "tuning/objectives",
        "tuning/space",
        "tuning/oracles",
        "tuning/steps/study",
        "tuning/steps/table",
        "tuning/steps/steps_to_result",
        "tuning/steps/momentum_sgd",
        "tuning/steps/fixed_rule",
        "tuning/smoothness",
        "analysis/scaling/bound",
        "analysis/scaling/fit",
        "analysis/scaling/regimes",
        "analysis/scaling/noise",
    ),
    "Masks in layers": ("layers/prune_wrapper", "layers/wrapping"),
    "Deployment": (
        "deploy/litert",
        "deploy/report",
        "deploy/compressed",
        "deploy/onnx_export",
        "deploy/onnx_conversion",
        "deploy/eligibility",
        "deploy/eligible",
        "deploy/inspection",
        "deploy/benchmark",
        "deploy/latency",
    ),
    "Models of other packages": ("migrate/tfmot",),
    "Analysis": (
        "analysis/agreement",
        "analysis/bounds/convergence",
        "analysis/bounds/grow_and_prune",
        "analysis/bounds/robust_loss",
        "analysis/bounds/pruning_rate",
        "analysis/bounds/streaming",
        "analysis/bounds/pretraining",
        "analysis/bounds/fits",
        "analysis/bounds/hull",
        "analysis/bounds/i_spasp",
    ),
    "Data, models and pictures": (
        "data/datasets",
        "data/batches",
        "data/endless",
        "models/networks",
        "models/lenet",
        "models/resnet",
        "models/mobile",
        "plots/runs",
        "plots/mask_image",
        "plots/pretraining",
        "plots/rounds",
        "plots/signal_propagation",
        "plots/pareto",
        "plots/batch_size",
    ),
    "Runs and comparisons": (
        "experiments/config",
        "experiments/run",
        "experiments/images",
        "experiments/classifier",
        "experiments/shrinking",
        "experiments/study",
        "experiments/comparison",
        "experiments/pool",
        "experiments/claims",
        "experiments/columns",
        "experiments/document",
        "experiments/summary",
        "experiments/table",
        "experiments/pictures",
    ),
}


def documented(path: Path) -> dict[str, tuple[str, str]]:
    """The public classes and functions of a module, with line and source of each docstring."""
    return {
        node.name: line_and_source(ast.get_docstring(node))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_")
    }


def exported(room: str) -> dict[Path, list[str]]:
    """The names that a room's `__init__.py` makes public, by their modules."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    return {
        Path(*str(node.module).split(".")).with_suffix(".py"): [each.name for each in node.names]
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
    }


def page(path: str, title: str, module: Path, names: list[str]) -> None:
    """Writes a page with the docstrings of some names of a module."""
    dotted = ".".join(module.with_suffix("").parts)
    with mkdocs_gen_files.open(path, "w") as file:
        print(f"# {title}\n", file=file)
        for name in names:
            print(f"::: {dotted}.{name}\n", file=file)
    mkdocs_gen_files.set_edit_path(path, module)


def folder(name: str, title: str) -> list[str]:
    """A page for each module of a room that has public names, and a table of them all."""
    lines, table = [], ["| name | what it does | source |", "| --- | --- | --- |"]
    for module, names in sorted(exported(name).items(), key=lambda item: item[0].stem):
        label, path = ", ".join(names), f"{name}/{module.stem}.md"
        page(path, label, module, names)
        lines.append(f"    * [{label}]({path})")
        known = documented(module)
        for own in names:
            line, source = known[own]
            table.append(f"| [`{own}`]({module.stem}.md) | {line} | {source} |")
    with mkdocs_gen_files.open(f"{name}/index.md", "w") as file:
        print(f"# {title}\n", *table, sep="\n", file=file)
    return [f"* [{title}]({name}/index.md)", *lines]


def main() -> None:
    """Writes all pages and the navigation."""
    readme = Path("README.md").read_text(encoding="utf-8")
    with mkdocs_gen_files.open("index.md", "w") as file:
        file.write(readme.replace("](benchmarks/results/", "](results/").replace("](docs/", "]("))
    for written in Path("docs").glob("*.md"):
        text = written.read_text(encoding="utf-8")
        text = text.replace("](../benchmarks/results/", "](results/")
        with mkdocs_gen_files.open(written.name, "w") as file:
            file.write(text.replace("](../README.md", "](index.md"))
    results = Path("benchmarks/results")
    pages = sorted([*results.glob("*.md"), *results.glob("*/*.md")])
    for result in sorted([*pages, *results.glob("*.png"), *results.glob("*/*.png")]):
        with mkdocs_gen_files.open(f"results/{result.relative_to(results)}", "wb") as file:
            file.write(result.read_bytes())
    navigation = ["* [keras_sparse](index.md)"]
    navigation += [f"* [{title}]({path})" for title, path in PAGES.items()]
    navigation += folder("methods", "Training methods")
    navigation += folder("posttrain", "After training")
    navigation.append("* Reference")
    for title, modules in REFERENCE.items():
        navigation.append(f"    * {title}")
        for name in modules:
            module = PACKAGE / f"{name}.py"
            path = f"reference/{name}.md"
            page(path, module.stem, module, list(documented(module)))
            navigation.append(f"        * [{module.stem}]({path})")
    navigation += ["* [Sources](sources.md)", "* Measured"]
    for result in pages:
        name = result.relative_to(results)
        navigation.append(f"    * [{name.with_suffix('')}](results/{name})")
    with mkdocs_gen_files.open("SUMMARY.md", "w") as file:
        print(*navigation, sep="\n", file=file)


main()
