"""Makes the pages of the documentation from the package's docstrings.

A file of `keras_sparse/methods/` is a page, and so are the functions that act on trained models and
the rooms that everything else is in. Nothing is imported: the docstrings are read from the source.
"""

import ast
from pathlib import Path

import mkdocs_gen_files

PACKAGE = Path("keras_sparse")
# Modules of the methods' room that are behind methods, not methods.
BEHIND = (
    "base",
    "candidates",
    "drawn_operators",
    "redistribution",
    "rule",
    "sensitivity",
    "synaptic_flow",
    "two_gradient_step",
    "two_gradients",
)
# What a user of the other rooms needs, in reading order.
REFERENCE = {
    "Sparsity": (
        "sparsity/granularity",
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
    ),
    "Masks in layers": ("layers/prune_wrapper", "layers/wrapping"),
    "Deployment": ("deploy/litert", "deploy/report"),
    "Analysis": (
        "analysis/agreement",
        "analysis/bounds/convergence",
        "analysis/bounds/grow_and_prune",
        "analysis/bounds/robust_loss",
    ),
    "Data, models and pictures": (
        "data/datasets",
        "data/batches",
        "models/networks",
        "models/lenet",
        "models/resnet",
        "models/mobile",
        "plots/runs",
        "plots/mask_image",
    ),
    "Runs and comparisons": (
        "experiments/config",
        "experiments/run",
        "experiments/study",
        "experiments/comparison",
        "experiments/pool",
        "experiments/claims",
        "experiments/document",
        "experiments/summary",
        "experiments/table",
        "experiments/pictures",
    ),
}


def public(path: Path) -> list[tuple[str, str]]:
    """The public classes and functions of a module, with the first line of each docstring."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            line = (ast.get_docstring(node) or "").partition("\n")[0]
            found.append((node.name, line))
    return found


def page(path: str, title: str, module: Path, names: list[str]) -> None:
    """Writes a page with the docstrings of some names of a module."""
    dotted = ".".join(module.with_suffix("").parts)
    with mkdocs_gen_files.open(path, "w") as file:
        print(f"# {title}\n", file=file)
        for name in names:
            print(f"::: {dotted}.{name}\n", file=file)
    mkdocs_gen_files.set_edit_path(path, module)


def folder(name: str, title: str) -> list[str]:
    """A page for each file of a folder of methods, and a table of them all."""
    lines, table = [], ["| name | what it does |", "| --- | --- |"]
    for module in sorted((PACKAGE / name).rglob("*.py")):
        # Rules and other classes behind a method carry its name and an ending.
        shown = [
            (own, line)
            for own, line in public(module)
            if not own.endswith("Rule") and module.stem not in ("__init__", *BEHIND)
        ]
        if not shown:
            continue
        label = ", ".join(own for own, _ in shown)
        path = f"{name}/{module.stem}.md"
        page(path, label, module, [own for own, _ in shown])
        lines.append(f"    * [{label}]({path})")
        table += [f"| [`{own}`]({module.stem}.md) | {line} |" for own, line in shown]
    with mkdocs_gen_files.open(f"{name}/index.md", "w") as file:
        print(f"# {title}\n", *table, sep="\n", file=file)
    return [f"* [{title}]({name}/index.md)", *lines]


def main() -> None:
    """Writes all pages and the navigation."""
    readme = Path("README.md").read_text(encoding="utf-8")
    with mkdocs_gen_files.open("index.md", "w") as file:
        file.write(readme.replace("](benchmarks/results/", "](results/"))
    results = Path("benchmarks/results")
    for result in sorted([*results.glob("*.md"), *results.glob("*.png")]):
        with mkdocs_gen_files.open(f"results/{result.name}", "wb") as file:
            file.write(result.read_bytes())
    navigation = ["* [keras_sparse](index.md)"]
    navigation += folder("methods", "Training methods")
    navigation += folder("posttrain", "After training")
    navigation.append("* Reference")
    for title, modules in REFERENCE.items():
        navigation.append(f"    * {title}")
        for name in modules:
            module = PACKAGE / f"{name}.py"
            path = f"reference/{name}.md"
            page(path, module.stem, module, [own for own, _ in public(module)])
            navigation.append(f"        * [{module.stem}]({path})")
    navigation += ["* [Sources](sources.md)", "* Measured"]
    for result in sorted(results.glob("*.md")):
        navigation.append(f"    * [{result.stem}](results/{result.name})")
    with mkdocs_gen_files.open("SUMMARY.md", "w") as file:
        print(*navigation, sep="\n", file=file)


main()
