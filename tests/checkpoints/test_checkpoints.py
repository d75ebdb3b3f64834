"""Checkpoints that earlier versions wrote in mid-training go on to the same end."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_sparse as ks
from tests.checkpoints.write import METHODS, STOPPED_AFTER, train

FOLDER = Path(__file__).parent / "0.1.0"
SAVED_MODELS = Path(__file__).parents[2] / "saved_models"
ENDS = json.loads((FOLDER / "ends.json").read_text(encoding="utf-8"))["ends"]

pytestmark = pytest.mark.filterwarnings("ignore::keras_sparse.SparsityWarning")


@pytest.mark.parametrize("name", sorted(ENDS))
def test_goes_on_to_the_same_end(name):
    model = keras.saving.load_model(FOLDER / f"{name}.keras")
    train(model, [METHODS[name]()], start=STOPPED_AFTER)
    for weight, end in zip(model.get_weights(), ENDS[name], strict=True):
        np.testing.assert_allclose(weight, end, atol=1e-4)
        assert np.array_equal(weight == 0, np.asarray(end) == 0)


@pytest.mark.parametrize("path", sorted(SAVED_MODELS.glob("*/model.keras")))
def test_saved_models_load(path):
    report = ks.report(keras.saving.load_model(path))
    result = json.loads(path.with_name("result.json").read_text(encoding="utf-8"))
    assert (report.nonzeros, report.size) == (result["nonzeros"], result["weights"])
    assert report.dense_flops == result["dense_inference_flops"]
