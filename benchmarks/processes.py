"""Starting the benchmarks' measurements, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from keras_sparse.storage.processes import environment

HERE = Path(__file__).parent
_MISSING = (
    "tfmot's prune_low_magnitude needs TensorFlow's Model Optimization Toolkit. Either "
    "pip install keras-sparse[tfmot], or name an interpreter that has it with --tfmot-python, or "
    "leave tfmot out of the comparison."
)


def run_script(
    script: str,
    words: Sequence[str],
    log: IO[str],
    legacy_python: str | None = None,
    threads: int | None = None,
) -> int:
    """Runs a script of this folder and returns its exit status.

    Args:
        script: its file name.
        words: its arguments.
        log: takes what it prints.
        legacy_python: an interpreter to run it on Keras's predecessor with.
        threads: threads that it computes with; its own choice by default.
    """
    variables = environment(threads)
    if legacy_python is not None:
        variables["TF_USE_LEGACY_KERAS"] = "1"
    done = subprocess.run(
        [legacy_python or sys.executable, str(HERE / script), *words],
        env=variables,
        stdout=log,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode


def tfmot_versions(python: str) -> dict[str, str]:
    """The versions that an interpreter has; without tfmot says what to install and ends."""
    packages = ("tensorflow-model-optimization", "tf-keras")
    check = (
        "import json, importlib.metadata as m, tensorflow_model_optimization, tf_keras; "
        f"print(json.dumps({{name: m.version(name) for name in {packages}}}))"
    )
    variables = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    found = subprocess.run(
        [python, "-c", check], env=variables, capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise SystemExit(_MISSING)
    return json.loads(found.stdout.splitlines()[-1])
