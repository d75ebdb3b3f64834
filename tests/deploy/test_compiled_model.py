"""Files in the kernel modes of LiteRT 2, in a process of their own."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sparse import deploy
from keras_sparse.deploy import compiled_model
from keras_sparse.deploy.compiled_model import KERNEL_MODES, run_compiled

X = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    # The input has the name of an argument of NumPy's.
    inputs = keras.Input((8,), name="file")
    model = keras.Model(inputs, {"scores": keras.layers.Dense(3, activation="relu")(inputs)})
    path = tmp_path_factory.mktemp("exported") / "m.tflite"
    deploy.to_litert(model, path, sparse=False, batch_size=None)
    return model, path.read_bytes()


def test_every_mode_at_every_batch_size(exported):
    model, contents = exported
    expected = model.predict(X, verbose=0)["scores"]
    found = run_compiled(contents, KERNEL_MODES, {"file": X}, {"scores": expected}, [1, 3, 6])
    assert list(found) == list(KERNEL_MODES)
    for results in found.values():
        assert len(results) == 3
        for result in results:
            np.testing.assert_allclose(result["scores"], expected, atol=1e-6)


def test_a_file_that_does_not_load_says_so():
    outputs = {"scores": np.zeros((6, 3), "float32")}
    found = run_compiled(b"no model" * 100, ["BUILTIN"], {"file": X}, outputs, [1])
    assert "model" in found["BUILTIN"].lower()


def test_a_crash_in_one_mode_is_that_modes_alone(exported, tmp_path, monkeypatch):
    model, contents = exported
    crashing = tmp_path / "crashing.py"
    text = Path(compiled_model.__file__).read_text("utf-8")
    crash = "    import os\n\n    if mode == 'BUILTIN':\n        os.abort()\n"
    start = "def _main(folder: Path, mode: str) -> None:\n"
    assert start in text
    crashing.write_text(text.replace(start, start + crash), "utf-8")
    monkeypatch.setattr(compiled_model, "__file__", str(crashing))
    outputs = {"scores": model.predict(X, verbose=0)["scores"]}
    found = run_compiled(contents, KERNEL_MODES, {"file": X}, outputs, [1])
    assert "ended with status" in found["BUILTIN"]
    for mode in ("DELEGATE", "REFERENCE"):
        np.testing.assert_allclose(found[mode][0]["scores"], outputs["scores"], atol=1e-6)
