"""What `model.fit` reads a graph from."""
