"""Models that other packages pruned, as plain Keras models."""

from keras_sparse.migrate.tfmot import Migrated, from_tfmot

__all__ = ["Migrated", "from_tfmot"]
