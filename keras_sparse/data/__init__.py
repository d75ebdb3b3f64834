"""Image data sets as arrays, and a reproducible input pipeline."""

from keras_sparse.data.batches import pipeline
from keras_sparse.data.datasets import Dataset, available, load, load_or_digits

__all__ = ["Dataset", "available", "load", "load_or_digits", "pipeline"]
