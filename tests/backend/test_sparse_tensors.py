"""Products of sparse and dense matrices, and their gradients."""

import keras
import numpy as np
import pytest
import scipy.sparse

from keras_sparse.backend.sparse_tensors import from_scipy, product, with_values

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's product")
]


def drawn(order, columns=40):
    """A matrix `(5, 7)`, 12 entries stored of it, two at one place, and a dense one to multiply."""
    generator = np.random.default_rng(0)
    places = generator.choice(35, 11, replace=False)
    places = np.append(places, places[4])
    places = {"sorted": np.sort(places), "as drawn": places}[order]
    values = generator.normal(size=12).astype("float32")
    matrix = scipy.sparse.coo_array((values, (places // 7, places % 7)), (5, 7))
    return matrix, generator.normal(size=(7, columns)).astype("float32")


@pytest.mark.parametrize("order", ["sorted", "as drawn"])
@pytest.mark.parametrize("columns", [3, 40])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_it_is_the_dense_product(order, columns, dtype):
    matrix, other = drawn(order, columns)
    sparse = from_scipy(matrix)
    sparse = with_values(sparse, keras.ops.cast(sparse.values, dtype))
    found = product(sparse, keras.ops.cast(other, dtype))
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    rounding = 0.05 if dtype == "bfloat16" else 1e-5
    found = keras.ops.convert_to_numpy(keras.ops.cast(found, "float32"))
    np.testing.assert_allclose(found, matrix.toarray() @ other, rounding, rounding)


@pytest.mark.parametrize("order", ["sorted", "as drawn"])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_first_and_second_order(order, compiled):
    import tensorflow as tf

    matrix, other = drawn(order)
    sparse = from_scipy(matrix)
    rows, columns = matrix.coords
    scale = np.arange(200, dtype="float32").reshape(5, 40) / 100

    def of_sparse(values, other):
        return product(with_values(sparse, values), other)

    def of_dense(values, other):
        return tf.scatter_nd(np.stack([rows, columns], 1), values, (5, 7)) @ other

    def derivatives(multiply):
        def both(values, other):
            with tf.GradientTape(persistent=True) as outer:
                outer.watch((values, other))
                with tf.GradientTape() as inner:
                    inner.watch((values, other))
                    loss = tf.reduce_sum(scale * multiply(values, other) ** 2)
                first = inner.gradient(loss, (values, other))
                mixed = tf.reduce_sum(first[0] * values**2) + tf.reduce_sum(first[1] * other**2)
            return *first, *outer.gradient(mixed, (values, other))

        function = tf.function(both) if compiled else both
        return function(tf.constant(matrix.data), tf.constant(other))

    for found, right in zip(derivatives(of_sparse), derivatives(of_dense), strict=True):
        np.testing.assert_allclose(found, right, 1e-4, 1e-4)


def test_gradients_are_the_same_each_time():
    import tensorflow as tf

    matrix = from_scipy(scipy.sparse.random_array((900, 700), density=0.02, rng=0).tocoo())
    matrix = with_values(matrix, tf.cast(matrix.values, "float32"))
    upstream = tf.random.stateless_normal((900, 64), (0, 1))

    @tf.function
    def gradient(other):
        with tf.GradientTape() as tape:
            tape.watch(other)
            loss = tf.reduce_sum(upstream * product(matrix, other))
        return tape.gradient(loss, other)

    first, *more = (gradient(tf.ones((700, 64))) for _ in range(20))
    assert all(np.array_equal(first, again) for again in more)


def test_a_matrix_without_entries():
    empty = from_scipy(scipy.sparse.coo_array((4, 3), dtype="float32"))
    np.testing.assert_array_equal(product(empty, np.ones((3, 40), "float32")), np.zeros((4, 40)))
