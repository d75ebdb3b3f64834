"""Checkpoints that earlier versions wrote in mid-training."""
