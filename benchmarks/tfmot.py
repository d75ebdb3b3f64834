"""Runs of TensorFlow's Model Optimization Toolkit, on the Keras that it needs."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from keras_sparse.experiments.study import Variant

LEGACY = {"TF_USE_LEGACY_KERAS": "1"}


def variant(
    function: str, config: dict[str, Any], python: str, after: str | None = None
) -> Variant:
    """A variant whose runs never import keras_sparse, which would bring Keras 3 into the process.

    Args:
        function: `"FILE.py:NAME"` of a function in this folder.
        config: its settings.
        python: an interpreter that has tfmot.
        after: the variant that must have ended before.
    """
    return Variant(config, f"{Path(__file__).parent / function}", after, python, LEGACY)


def versions(python: str) -> dict[str, str]:
    """The versions that an interpreter has; without tfmot says what to install and ends."""
    packages = ("tensorflow-model-optimization", "tf-keras")
    check = (
        "import json, importlib.metadata as m, tensorflow_model_optimization, tf_keras; "
        f"print(json.dumps({{name: m.version(name) for name in {packages}}}))"
    )
    found = subprocess.run(
        [python, "-c", check], env={**os.environ, **LEGACY}, capture_output=True, text=True
    )
    if found.returncode:
        raise SystemExit(
            "tfmot's prune_low_magnitude needs TensorFlow's Model Optimization Toolkit. Either "
            "pip install keras-sparse[tfmot], or name an interpreter that has it with "
            "--tfmot-python, or leave tfmot out of the comparison."
        )
    return json.loads(found.stdout.splitlines()[-1])
