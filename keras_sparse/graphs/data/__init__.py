"""Graphs as values, and where they come from."""
