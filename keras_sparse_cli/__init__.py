"""The command `keras-sparse`, as far as it goes without importing Keras."""
