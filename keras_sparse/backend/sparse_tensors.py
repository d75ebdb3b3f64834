"""The parts of sparse matrices: `tf.SparseTensor` on TensorFlow, `BCOO` on JAX."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import scipy.sparse

# TensorFlow's product of an uncompressed matrix is three times as slow from here on.
_MANY_COLUMNS = 32


def is_sparse(tensor: Any) -> bool:
    """Whether a tensor of the backend, symbolic or not, is stored sparse."""
    if isinstance(tensor, keras.KerasTensor):
        return tensor.sparse
    return hasattr(tensor, "indices")


def from_scipy(matrix: Any) -> Any:
    """A SciPy sparse matrix as the backend's, each stored entry where it is in the order.

    Args:
        matrix: In COO form.
    """
    indices = np.stack([matrix.row, matrix.col], axis=1)
    if keras.backend.backend() == "jax":
        from jax.experimental.sparse import BCOO

        values = keras.ops.convert_to_tensor(matrix.data)
        return BCOO((values, keras.ops.cast(indices, "int32")), shape=matrix.shape)
    import tensorflow as tf

    return tf.SparseTensor(indices.astype(np.int64), matrix.data, matrix.shape)


def dense(matrix: Any) -> Any:
    """A sparse matrix as a dense one, in which what is stored twice counts twice."""
    _, _, values = entries(matrix)
    shape = (row_count(matrix), matrix.shape[1])
    return keras.ops.scatter(keras.ops.cast(matrix.indices, "int32"), values, shape)


def entries(matrix: Any) -> tuple[Any, Any, Any]:
    """The rows, columns and values of the entries that a matrix stores, a dense one all of them.

    Args:
        matrix: A matrix with `e` entries.

    Returns:
        Three tensors of shape `(e,)`, in the order of storage.
    """
    # Keras's trainer builds models on JAX with dense stand-ins for sparse inputs.
    if not is_sparse(matrix):
        height, width = keras.ops.shape(matrix)
        rows = keras.ops.repeat(keras.ops.arange(height), width)
        columns = keras.ops.tile(keras.ops.arange(width), height)
        return rows, columns, keras.ops.reshape(matrix, (-1,))
    indices = keras.ops.cast(matrix.indices, "int32")
    values = matrix.data if keras.backend.backend() == "jax" else matrix.values
    return indices[:, 0], indices[:, 1], values


def with_values(matrix: Any, values: Any) -> Any:
    """A sparse matrix with other values at the same places.

    Args:
        matrix: A sparse matrix with `e` entries.
        values: `(e,)`, in the order of storage.
    """
    if keras.backend.backend() == "jax":
        from jax.experimental.sparse import BCOO

        return BCOO((values, matrix.indices), shape=matrix.shape)
    return matrix.with_values(values)


def with_columns(matrix: Any, columns: np.ndarray) -> Any:
    """Some columns of a matrix, sparse or dense, in another order.

    What a sparse one stores elsewhere is kept as zeros in the first of them, so that as many
    entries are stored for any columns.

    Args:
        matrix: `(n, d)`.
        columns: Indices of the columns, `(k,)`.

    Returns:
        `(n, k)`.
    """
    if not is_sparse(matrix):
        return keras.ops.take(matrix, columns, axis=1)
    rows, old, values = (keras.ops.convert_to_numpy(each) for each in entries(matrix))
    place = np.full(matrix.shape[1], -1)
    place[columns] = np.arange(len(columns))
    new = place[old]
    kept = values * (new >= 0)
    shape = (matrix.shape[0], len(columns))
    return from_scipy(scipy.sparse.coo_array((kept, (rows, np.maximum(new, 0))), shape))


def row_count(matrix: Any) -> Any:
    """How many rows a matrix has: a number where it is known, otherwise a tensor."""
    if not is_sparse(matrix):
        return keras.ops.shape(matrix)[0]
    static = matrix.shape[0]
    return keras.ops.cast(matrix.dense_shape[0], "int32") if static is None else int(static)


def product(matrix: Any, other: Any) -> Any:
    """The backend's own product of a matrix, sparse or dense, and a dense one."""
    if not is_sparse(matrix):
        return keras.ops.matmul(matrix, other)
    if keras.backend.backend() == "jax":
        return matrix @ other
    import tensorflow as tf

    # Read here: a variable would be read inside the function that has a gradient of its own.
    other = tf.identity(keras.ops.convert_to_tensor(other))
    columns = other.shape[1]
    few = columns is not None and columns < _MANY_COLUMNS
    if few or other.dtype not in (tf.float32, tf.float64):
        # Keras's matmul looks rows up instead, which takes several times as long.
        return tf.sparse.sparse_dense_matmul(matrix, other)
    # With many columns compressed rows, which have to come in order, take a fraction of the time.
    return _compressed_product(tf.sparse.reorder(matrix), other)


def _compressed_product(matrix: Any, other: Any, transposed: bool = False) -> Any:
    """A matrix in compressed rows times a dense one, as often differentiable as asked.

    Args:
        matrix: Sparse, its entries in order.
        other: The dense matrix.
        transposed: Whether the sparse one is.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def multiplied(values: Any, other: Any) -> tuple[Any, Any]:
        compressed = tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=matrix.indices, values=values, dense_shape=matrix.dense_shape
        )
        if transposed:
            # A product with `transpose_a` adds up in the order in which threads come to it.
            compressed = tf.raw_ops.SparseMatrixTranspose(input=compressed, type=values.dtype)

        def gradient(upstream: Any) -> tuple[Any, Any]:
            rows, columns = tf.unstack(matrix.indices, axis=1)
            into, out_of = (columns, rows) if transposed else (rows, columns)
            pairs = tf.gather(upstream, into) * tf.gather(other, out_of)
            back = _compressed_product(matrix.with_values(values), upstream, not transposed)
            return tf.reduce_sum(pairs, axis=1), back

        return tf.raw_ops.SparseMatrixMatMul(a=compressed, b=other), gradient

    return multiplied(matrix.values, other)


def sparse_product_compiles() -> bool:
    """Whether XLA compiles the backend's product of a sparse and a dense matrix."""
    return keras.backend.backend() == "jax"
