"""Image data sets as arrays, and a reproducible input pipeline."""

from keras_sparse.data.datasets import Dataset, available, load, load_or_digits
from keras_sparse.data.endless import endless
from keras_sparse.data.input_pipeline import pipeline
from keras_sparse.data.shape_images import SHAPES, shape_images

__all__ = [
    "SHAPES",
    "Dataset",
    "available",
    "endless",
    "load",
    "load_or_digits",
    "pipeline",
    "shape_images",
]
