"""Layers that take a graph's features and its sparse adjacency."""
