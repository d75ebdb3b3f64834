"""What models cost as LiteRT files, measured in turn."""

import keras
import pytest
from keras import layers

from keras_sparse import deploy

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="LiteRT")


def dense(units):
    return keras.Sequential([keras.Input((256,)), layers.Dense(units), layers.Dense(units)])


def test_the_smaller_model_costs_less(tmp_path):
    large, small = dense(2048), dense(8)
    before, after = deploy.litert_costs([large, small], runs=9)
    assert after.seconds < 0.5 * before.seconds
    written = deploy.to_litert(small, tmp_path / "m.tflite", sparse=False)
    assert after.bytes == written.bytes
    assert before.bytes > 3.9 * large.count_params()  # Equal vectors are stored once.


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"batch_size": 0}, {"threads": 1.5}])
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        deploy.litert_costs([dense(4)], **wrong)
