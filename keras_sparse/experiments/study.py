"""Studies: variants of a task, each from several seeds, each run a process of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from keras_sparse.experiments.pool import Job, Run, check, make, result_of
from keras_sparse.experiments.progress import RunsProgress
from keras_sparse.storage.lock import locked

Results = dict[str, list[dict[str, Any]]]


class Variant(NamedTuple):
    """What one variant of a study is.

    Args:
        config: Its settings, which JSON can hold.
        run: What makes its runs, if not what makes those of the others. See `Job`.
        after: The variant whose run from the same seed must have ended before.
        python: The interpreter of its processes.
        variables: Environment variables of its processes.
    """

    config: Mapping[str, Any]
    run: Run | str | None = None
    after: str | None = None
    python: str = sys.executable
    variables: Mapping[str, str] = {}


def folder_name(variant: str, config: Mapping[str, Any]) -> str:
    """The folder of a run, which no run with other settings shares."""
    slug = "".join(c if c.isalnum() else "_" for c in variant.lower())
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return f"{slug}-seed{config['seed']}-{digest}"


@dataclasses.dataclass(frozen=True)
class Study:
    """Runs of several variants from several seeds.

    A finished run is never made again; one that was interrupted is called with its folder as it
    was left, and goes on if its function knows how to.

    ```python
    def run(config, folder):
        return {"loss": (config["x"] - 1) ** 2}


    study = Study({"near": Variant({"x": 0.9}), "far": Variant({"x": 9.0})}, [0], run)
    print(study.make(Path("runs"))["near"][0]["loss"])
    ```

    Args:
        variants: By their names.
        seeds: Of the runs of each; a run finds its own as `config["seed"]`.
        run: Makes a run from its configuration, in its folder, and returns what JSON can hold. It
            stands at the top of a file, where another process finds it.
        name: The folder of a run, from the variant's name and the run's configuration.
    """

    variants: Mapping[str, Variant]
    seeds: Sequence[int]
    run: Run
    name: Callable[[str, Mapping[str, Any]], str] = folder_name

    def job(self, name: str, seed: int) -> Job:
        """The run of a variant from a seed."""
        variant = self.variants[name]
        config = {**variant.config, "seed": seed}
        after = None if variant.after is None else self.job(variant.after, seed)
        if after is not None:
            config["after"] = after.name
        return Job(
            self.name(name, config),
            variant.run or self.run,
            config,
            after and after.name,
            variant.python,
            variant.variables,
        )

    def jobs(self) -> list[Job]:
        """All runs."""
        return [self.job(name, seed) for name in self.variants for seed in self.seeds]

    def make(
        self,
        out: str | os.PathLike[str],
        processes: int = 2,
        threads: int | None = 1,
        console: Console | None = None,
        afresh: bool = False,
    ) -> Results:
        """Makes the runs that are not made yet, and shows how far they are.

        Args:
            out: The folder, which is made if need be.
            processes: Runs at a time.
            threads: Threads that each computes with; `None` for its own choice.
            console: Where to show it. Defaults to standard output.
            afresh: Whether to make those that are finished again.

        Returns:
            What the runs of each variant returned, in the order of the seeds.

        Raises:
            RunsFailedError: If runs failed; those that did not are kept.
            FolderInUseError: If another process makes runs there.
        """
        out = Path(out).expanduser()
        with locked(out), RunsProgress(console) as progress:

            def report(job: Job, result: dict[str, Any] | None, seconds: float) -> None:
                progress.report(job.name, "finished" if result else "failed", seconds)

            for job in self.jobs() if afresh else ():
                if (out / job.name).exists():
                    shutil.rmtree(out / job.name)
            failed = make(self.jobs(), out, processes, threads, report, progress.plan)
        check(failed, out)
        return self.finished(out)

    def timed(
        self, out: str | os.PathLike[str], threads: int | None = 1
    ) -> dict[str, dict[str, Any]]:
        """Makes the first run of each variant anew, one at a time, for runs that measure time.

        Seconds of another version are not of this one, so nothing that is finished is kept.

        Args:
            out: As for `make`, like the errors.
            threads: As for `make`.

        Returns:
            What the run of each variant returned.
        """
        made = self.make(out, 1, threads, afresh=True)
        return {name: runs[0] for name, runs in made.items()}

    def finished(self, out: str | os.PathLike[str]) -> Results:
        """What the runs that are finished returned, by variant."""
        found: Results = {}
        for name in self.variants:
            for seed in self.seeds:
                result = result_of(self.job(name, seed), Path(out).expanduser())
                if result is not None:
                    found.setdefault(name, []).append(result)
        return found
