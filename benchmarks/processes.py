"""Starting the benchmarks' measurements, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
# Without these glibc gives each step's memory back to the system and asks for it anew, which may
# take as long as the step itself.
_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}
_MISSING = (
    "tfmot's prune_low_magnitude needs TensorFlow's Model Optimization Toolkit. Either "
    "pip install keras-sparse[tfmot], or name an interpreter that has it with --tfmot-python, or "
    "leave tfmot out of the comparison."
)


def run_script(
    script: str, words: Sequence[str], log: IO[str], legacy_python: str | None = None
) -> int:
    """Runs a script of this folder and returns its exit status.

    Args:
        script: its file name.
        words: its arguments.
        log: takes what it prints.
        legacy_python: an interpreter to run it on Keras's predecessor with.
    """
    environment = {**os.environ, **_MEMORY}
    if legacy_python is not None:
        environment["TF_USE_LEGACY_KERAS"] = "1"
    done = subprocess.run(
        [legacy_python or sys.executable, str(HERE / script), *words],
        env=environment,
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
    environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
    found = subprocess.run(
        [python, "-c", check], env=environment, capture_output=True, text=True, check=False
    )
    if found.returncode:
        raise SystemExit(_MISSING)
    return json.loads(found.stdout.splitlines()[-1])
