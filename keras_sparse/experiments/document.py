"""What a study leaves for readers: Markdown and JSON with the command that makes them."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table as Shown

from keras_sparse.plots.drawing import written
from keras_sparse.storage.files import read_json, replace_file

_PACKAGES = ("keras-sparse", "keras", "tensorflow", "numpy")
# Options that say where files lie and how much is done at a time, not what is measured.
_PLACES = ("--out", "--tfmot-python", "--processes", "--report-only")


class Table(NamedTuple):
    """A table, the first column on the left and the others on the right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As Markdown, without the title."""
        rule = ["---"] + ["---:"] * (len(self.header) - 1)
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.header, rule, *self.rows))

    def print(self) -> None:
        """In a terminal."""
        shown = Shown(title=self.title, title_justify="left", box=box.SIMPLE)
        for i, name in enumerate(self.header):
            shown.add_column(name, justify="right" if i else "left", no_wrap=not i)
        for row in self.rows:
            shown.add_row(*row)
        Console(width=max(Console().width, 120)).print(shown)


class Document(NamedTuple):
    """What is written of a study.

    Args:
        title: Its first line.
        blocks: Paragraphs and tables below the command.
        picture: The picture at the end, if there is one.
        caption: What the picture shows.
    """

    title: str
    blocks: Sequence[str | Table]
    picture: Figure | None = None
    caption: str = ""

    def markdown(self, name: str, content: Mapping[str, Any]) -> str:
        """The text, with the command and the machine that made the content."""
        made = f"`{content['command']}`"
        if "machine" in content:
            made += f" on {content['machine']}."
        blocks = [b.markdown() if isinstance(b, Table) else b for b in self.blocks]
        if self.picture is not None:
            blocks.append(f"![{self.caption}]({name}.png)")
        return "\n\n".join([f"# {self.title}", made, *blocks]) + "\n"


def notes(lines: Sequence[str]) -> str:
    """A list as Markdown."""
    return "\n".join(f"- {line}" for line in lines)


class Script:
    """A study as a script: its options, and its files `NAME.json`, `NAME.md` and `NAME.png`.

    Args:
        about: What `--help` says: the script's docstring.
        out: Where the files go unless `--out` says otherwise.
        choices: What some of the options can be.
        **options: The options and what they are by default, or their types.
    """

    def __init__(
        self,
        about: str,
        out: Path,
        choices: Mapping[str, Sequence[Any]] | None = None,
        **options: Any,
    ) -> None:
        self.parser = argparse.ArgumentParser(
            description=about, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        for name, default in options.items():
            option = "--" + name.replace("_", "-")
            if isinstance(default, bool):
                self.parser.add_argument(option, action="store_true")
                continue
            many = isinstance(default, (list, tuple))
            kind = default if isinstance(default, type) else type(default[0] if many else default)
            self.parser.add_argument(
                option,
                type=kind,
                default=None if default is kind else default,
                nargs="+" if many else None,
                choices=(choices or {}).get(name),
                help="" if default is kind else f"(default: {default})",
            )
        self.parser.add_argument("--out", type=Path, default=out, help="folder of the results")
        self.parser.add_argument("--processes", type=int, default=2, help="runs at a time")
        self.parser.add_argument(
            "--report-only", action="store_true", help="write anew of what the last time found"
        )

    def write(
        self,
        args: argparse.Namespace,
        name: str,
        measure: Callable[[], Mapping[str, Any]],
        describe: Callable[[Mapping[str, Any]], Document],
    ) -> None:
        """Measures, and writes what came out; with `--report-only` of what is there already.

        Args:
            args: What the parser found.
            name: Of the files.
            measure: Returns what JSON can hold.
            describe: Makes a document of that, with `command`, `machine` and `versions`.
        """
        path = args.out / f"{name}.json"
        if args.report_only:
            # Not all that were committed earlier say on which machine.
            content = {"machine": machine(), **read_json(path, "Give no --report-only.")}
        else:
            measured = measure()
            content = {
                "command": command(),
                "machine": machine(),
                **measured,
                "versions": {**versions(), **measured.get("versions", {})},
            }
            args.out.mkdir(parents=True, exist_ok=True)
            replace_file(path, (json.dumps(content, indent=1) + "\n").encode())
        document = describe(content)
        replace_file(path.with_suffix(".md"), document.markdown(name, content).encode())
        if document.picture is not None:
            written(document.picture, path.with_suffix(".png"))
        for block in document.blocks:
            if isinstance(block, Table):
                block.print()


def versions() -> dict[str, str]:
    """Versions of Python and of what matters here."""
    own = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **own}


def machine() -> str:
    """The machine in plain words."""
    return f"{os.cpu_count()} shared {platform.machine().replace('_', '-')} cores, no GPU"


def command() -> str:
    """The command line, without what only says where files lie."""
    script, words = Path(sys.argv[0]).resolve(), sys.argv[1:]
    dropped = {i + k for i, word in enumerate(words) if word in _PLACES for k in (0, 1)}
    dropped -= {i + 1 for i, word in enumerate(words) if word == "--report-only"}
    kept = [word for i, word in enumerate(words) if i not in dropped]
    return shlex.join(["python", f"{script.parent.name}/{script.name}", *kept])
