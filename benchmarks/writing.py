"""What the benchmarks share: versions, the machine in plain words, tables, JSON files."""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

_PACKAGES = ("keras-sparse", "keras", "tensorflow", "numpy")
CLAIM_HEADER = ("at least, points", "measured", "spread", "")


def versions(**others: str) -> dict[str, str]:
    """Versions of Python and of what matters here."""
    own = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **own, **others}


def machine() -> str:
    """The machine in plain words."""
    return f"{os.cpu_count()} shared {platform.machine().replace('_', '-')} cores, no GPU"


def command() -> str:
    """The command line, without what only says where files lie."""
    script = Path(sys.argv[0]).resolve()
    words = ["python", f"{script.parent.name}/{script.name}", *_without(sys.argv[1:])]
    return shlex.join(words)


def _without(words: Sequence[str]) -> list[str]:
    places = ("--tfmot-python", "--out")
    dropped = {i + k for i, word in enumerate(words) if word in places for k in (0, 1)}
    dropped |= {i for i, word in enumerate(words) if word == "--report-only"}
    return [word for i, word in enumerate(words) if i not in dropped]


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column on the left and the others on the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def claim_cells(margin: float, by_seed: np.ndarray) -> tuple[str, ...]:
    """What is claimed and what was measured, for the columns of `CLAIM_HEADER`.

    Args:
        margin: points by which one method is better than another; negative if it may be that much
            worse.
        by_seed: the points measured, one for each seed.
    """
    mean = by_seed.mean()
    return (
        f"{margin:+.1f}",
        f"{mean:+.2f}",
        f"{by_seed.std(ddof=1):.2f}" if len(by_seed) > 1 else "",
        "holds" if mean >= margin else "does not hold",
    )


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left", no_wrap=not i)
    for cells in rows:
        table.add_row(*cells)
    Console(width=max(Console().width, 120)).print(table)
