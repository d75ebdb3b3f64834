"""Independent training of narrow sub-networks of a wide graph network."""
