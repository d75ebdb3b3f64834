"""What a study leaves for readers: Markdown and JSON with the command that makes them."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table as Shown

from keras_sparse.experiments.study import Results, Study
from keras_sparse.plots.drawing import written
from keras_sparse.storage.files import read_json, replace_file

_PACKAGES = ("keras-sparse", "keras", "tensorflow", "numpy")
_EPILOG = """\
Each run is a process of its own. What is finished is not run again, so the command may be repeated.
"""
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

    def write(self, folder: Path, name: str, content: Mapping[str, Any]) -> None:
        """Writes `NAME.md` and `NAME.png`, and prints the tables.

        Args:
            folder: Where they go.
            name: Their name.
            content: What is described, with its `command` and perhaps its `machine`.
        """
        replace_file(folder / f"{name}.md", self.markdown(name, content).encode())
        if self.picture is not None:
            written(self.picture, folder / f"{name}.png")
        for block in self.blocks:
            if isinstance(block, Table):
                block.print()


def notes(lines: Sequence[str]) -> str:
    """A list as Markdown."""
    return "\n".join(f"- {line}" for line in lines)


class Script:
    """A study as a script: its options, and its files `NAME.json`, `NAME.md` and `NAME.png`.

    Args:
        about: What `--help` says: the script's docstring.
        out: Where the files go unless `--out` says otherwise. Defaults to `results` beside the
            script.
        choices: What some of the options can be.
        **options: The options and what they are by default, or their types. Of a mapping some
            keys can be named, all by default.
    """

    def __init__(
        self,
        about: str,
        out: Path | None = None,
        choices: Mapping[str, Collection[Any]] | None = None,
        **options: Any,
    ) -> None:
        self.path = Path(sys.argv[0]).resolve()
        self.parser = argparse.ArgumentParser(
            description=about, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        for name, default in options.items():
            option = "--" + name.replace("_", "-")
            allowed = (choices or {}).get(name)
            if isinstance(default, Mapping):
                default = allowed = tuple(default)
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
                choices=allowed,
                help="" if default is kind else f"(default: {default})",
            )
        out = out or self.path.parent / "results"
        self.parser.add_argument("--out", type=Path, default=out, help="folder of the results")
        self.parser.add_argument("--processes", type=int, default=2, help="runs at a time")
        self.parser.add_argument(
            "--report-only", action="store_true", help="write anew of what the last time found"
        )

    @functools.cached_property
    def args(self) -> argparse.Namespace:
        """What the command line says."""
        return self.parser.parse_args()

    @property
    def build(self) -> Path:
        """Where its runs are: a folder in `build` beside the script."""
        return self.path.parent / "build" / self.path.stem

    def chosen(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings, with what the command line says in place of those that have its options' names.

        Args:
            settings: By their names.
        """
        given = {name: value for name, value in vars(self.args).items() if value is not None}
        return {name: given.get(name, value) for name, value in settings.items()}

    def study(
        self,
        study: Study,
        describe: Callable[[Mapping[str, Any]], Document],
        config: Mapping[str, Any] | None = None,
        content: Callable[[Results], Mapping[str, Any]] = lambda found: {"results": found},
        *,
        name: str | None = None,
        anew: bool = False,
        **make: Any,
    ) -> None:
        """Makes a study and writes what came out, with `--report-only` what is there already.

        Args:
            study: Its runs go to `build`.
            describe: As for `write`.
            config: What all its runs have in common, to be kept as well.
            content: What is kept of the results, which JSON can hold.
            name: Of the files. Defaults to the script's own.
            anew: Whether to make finished runs again, because seconds of another day are not
                those of this one.
            **make: Arguments of `Study.make`.
        """

        def measure() -> Mapping[str, Any]:
            if anew:
                shutil.rmtree(self.build, ignore_errors=True)
            found = study.make(self.build, **{"processes": self.args.processes, **make})
            return {**({} if config is None else {"config": config}), **content(found)}

        self.write(self.args, name or self.path.stem, measure, describe)

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
        describe(content).write(args.out, name, content)


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
