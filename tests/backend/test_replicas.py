"""What is waited for inside of a compiled step."""

import keras
import pytest
from keras import ops

from keras_sparse.backend.replicas import once_known


def test_on_tensorflow_nothing_begins_before_what_is_waited_for():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("The order of a TensorFlow graph.")

    @tf.function
    def step(weight, mask):
        with once_known([tf.identity(mask, name="known")]):
            return tf.square(weight, name="product")

    graph = step.get_concrete_function(tf.TensorSpec((3,)), tf.TensorSpec((3,))).graph
    (waited,) = graph.get_operation_by_name("product").control_inputs
    assert [each.name for each in waited.control_inputs] == ["known"]


def test_values_are_what_they_are_without():
    with once_known([ops.ones(3)]):
        assert ops.convert_to_numpy(2 * ops.ones(2)).tolist() == [2, 2]
