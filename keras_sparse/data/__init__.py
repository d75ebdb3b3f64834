"""Image data sets as arrays, and a reproducible input pipeline."""

from keras_sparse.data.datasets import Dataset, available, load, load_or_digits
from keras_sparse.data.endless import endless
from keras_sparse.data.input_pipeline import pipeline

__all__ = ["Dataset", "available", "endless", "load", "load_or_digits", "pipeline"]
