"""What GIST is compared with: other ways to train one graph network with several workers."""
