"""Runs of any function, each in a process of its own that reads its configuration from a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from keras_sparse.storage.files import read_json, replace_file
from keras_sparse.storage.processes import environment

CHILD = Path(__file__).with_name("child.py")
RESULT, LOG = "result.json", "run.log"
Run: TypeAlias = Callable[[dict[str, Any], Path], dict[str, Any] | None]


class RunsFailedError(RuntimeError):
    """Some runs failed; the others are kept."""


class Job(NamedTuple):
    """A run to make.

    Args:
        name: Of its folder.
        run: The function, or `"FILE.py:NAME"` of one that this process cannot import. It is given
            the configuration and the folder, and returns what JSON can hold.
        config: The configuration, which JSON can hold.
        after: Name of the job that must have ended before it begins.
        python: The interpreter. Defaults to this one.
        variables: Environment variables of its process.
    """

    name: str
    run: Run | str
    config: Mapping[str, Any]
    after: str | None = None
    python: str = sys.executable
    variables: Mapping[str, str] = {}


def make(
    jobs: Sequence[Job],
    out: Path,
    processes: int = 2,
    threads: int | None = 1,
    report: Callable[[Job, dict[str, Any] | None, float], None] = lambda *_: None,
    plan: Callable[[int], None] = lambda _: None,
) -> list[Job]:
    """Makes the runs that are not finished yet.

    Args:
        jobs: The runs.
        out: The folder in which each has one of its own.
        processes: Runs at a time.
        threads: Threads that each computes with; `None` for its own choice.
        report: Called after each run with its job, its result (`None` if it failed) and the
            seconds that it took now.
        plan: Called with the number of runs still to make, as soon as it is known.

    Returns:
        The jobs that failed; the end of their logs is in `run.log` in their folders.

    Raises:
        ValueError: If a number is out of range, or a function is none that a process can import.
    """
    check_number("processes", processes)
    check_number("threads", 1 if threads is None else threads)
    for job in jobs:
        located(job.run)
    todo = [job for job in jobs if result_of(job, out) is None]
    plan(len(todo))
    running: set[subprocess.Popen[bytes]] = set()
    stopped = threading.Event()
    failed = []

    def run(job: Job, first: Future[float] | None) -> float:
        if first is not None:
            wait([first])
        began = time.perf_counter()
        if not stopped.is_set():
            start(job, out, threads, running)
        return time.perf_counter() - began

    with ThreadPoolExecutor(processes) as pool:
        futures: dict[Future[float], Job] = {}
        by_name: dict[str, Future[float]] = {}
        named = {job.name: job for job in todo}

        def before(job: Job) -> int:
            return 1 + before(named[job.after]) if job.after in named else 0

        # Runs that wait for another come last: that is then finished, or soon will be.
        for job in sorted(todo, key=before):
            future = pool.submit(run, job, by_name.get(job.after or ""))
            futures[future] = job
            by_name[job.name] = future
        try:
            for future in as_completed(futures):
                job, seconds = futures[future], future.result()
                result = result_of(job, out)
                failed += [job] if result is None else []
                report(job, result, seconds)
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise
    return failed


def check_number(name: str, value: Any) -> None:
    """Refuses a number of processes or threads that is none."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1. Received: {name}={value!r}")


def result_of(job: Job, out: Path) -> dict[str, Any] | None:
    """What a job has come to, or `None` if it is not finished.

    Raises:
        ValueError: If the file is damaged.
    """
    path = out / job.name / RESULT
    cure = "Delete it and give the same command again to make that run once more."
    return read_json(path, cure) if path.is_file() else None


def check(failed: Sequence[Job], out: Path) -> None:
    """Says which jobs failed.

    Raises:
        RunsFailedError: If there is one.
    """
    if failed:
        names = ", ".join(job.name for job in failed)
        raise RunsFailedError(
            f"{len(failed)} runs failed: {names}. What they said is in {LOG} in their folders in "
            f"{os.fspath(out)!r}; the same command makes only those again."
        )


def start(job: Job, out: Path, threads: int | None, running: set[subprocess.Popen[bytes]]) -> None:
    """Makes one run in a process of its own, and waits for it."""
    folder = out / job.name
    folder.mkdir(parents=True, exist_ok=True)
    content = {**located(job.run), "config": job.config}
    replace_file(folder / "job.json", (json.dumps(content, indent=1) + "\n").encode())
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [job.python, os.fspath(CHILD), os.fspath(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            # A run on one thread leaves the other cores to the others.
            env={**environment(threads), **job.variables},
        )
        running.add(process)
        process.wait()
        running.discard(process)


def located(run: Run | str) -> dict[str, str]:
    """Where a process finds a function: its name, its module, and the path to import that from.

    Raises:
        ValueError: If it stands in no file, or not by its name at the top of one.
    """
    if isinstance(run, str):
        script, _, name = run.rpartition(":")
        place = Path(script)
        return {"path": os.fspath(place.parent), "module": place.stem, "function": name}
    module = sys.modules[run.__module__]
    if getattr(module, run.__name__, None) is not run or not getattr(module, "__file__", None):
        raise ValueError(
            f"run must be a function that another process can import: one of a file, not within "
            f"another function. Received: run={run!r}"
        )
    file = Path(str(module.__file__)).resolve()
    file = file.parent if file.name == "__init__.py" else file
    parts = [file.stem] if run.__module__ == "__main__" else run.__module__.split(".")
    root = file.parents[len(parts) - 1]
    return {"path": os.fspath(root), "module": ".".join(parts), "function": run.__name__}
