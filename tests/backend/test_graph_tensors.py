"""Variables read once, tensors cut and looked up, and updates that leave a variable as it is."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.backend.graph_tensors import parts, read, row
from keras_sparse.backend.replicas import assign_if

pytestmark = pytest.mark.jax


def test_parts_of_given_sizes():
    cut = parts(ops.arange(6), [1, 3, 2])
    assert [ops.convert_to_numpy(each).tolist() for each in cut] == [[0], [1, 2, 3], [4, 5]]
    assert len(parts(ops.arange(6), [6])) == 1


def test_a_row_known_only_in_the_graph():
    rows = np.arange(6.0).reshape(3, 2)
    found = compiled(lambda i: row(ops.convert_to_tensor(rows), i))(ops.convert_to_tensor(2))
    np.testing.assert_array_equal(found, rows[2])


def test_what_is_read_does_not_change_with_the_variable():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX's arrays never change")
    import tensorflow as tf

    variable = keras.Variable([1.0, 2.0])

    @tf.function
    def doubled():
        (before,) = read([variable])
        variable.assign(variable * 2)
        return before + 0

    np.testing.assert_array_equal(doubled(), [1, 2])


@pytest.mark.parametrize("condition", [True, False])
def test_none_leaves_a_variable_as_it_is(condition):
    one, two, three = (keras.Variable(float(i)) for i in range(3))
    assign_if(ops.convert_to_tensor(condition), lambda: [5.0, None, lambda: 7.0], [one, two, three])
    values = [float(ops.convert_to_numpy(each)) for each in (one, two, three)]
    assert values == ([5, 1, 7] if condition else [0, 1, 2])
