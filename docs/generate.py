"""Makes the pages of the documentation from the package's docstrings.

A file of `keras_sparse/methods/` is a page, and so are the functions that act on trained models and
the rooms that everything else is in. Nothing is imported: the docstrings are read from the source.
"""

import ast
from pathlib import Path

import mkdocs_gen_files

PACKAGE = Path("keras_sparse")
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
        "engine/planned",
        "engine/scheduled_masks",
        "engine/drop_and_grow",
        "engine/grow_and_prune",
        "engine/dense_learning",
        "engine/two_gradients",
        "engine/two_gradient_step",
        "engine/sparse_optimizer",
    ),
    "Workers": (
        "distribute/connection",
        "distribute/communicator",
        "distribute/rounds",
        "distribute/cluster",
        "distribute/launch",
    ),
    "Masks in layers": ("prune_wrapper", "prune_wrapping"),
    "Deployment": ("deploy/litert", "deploy/report"),
    "Analysis": (
        "analysis/agreement",
        "analysis/convergence",
        "analysis/grow_and_prune",
        "analysis/robust_loss",
    ),
    "Data, models and pictures": ("data", "models", "plots"),
    "Runs and comparisons": (
        "run_config",
        "runs",
        "compare",
        "comparison_summary",
        "comparison_report",
        "comparison_pictures",
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
    for module in sorted((PACKAGE / name).glob("*.py")):
        # Rules and other classes behind a method carry its name and an ending.
        shown = [
            (own, line)
            for own, line in public(module)
            if not own.endswith("Rule") and module.stem != "__init__"
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
