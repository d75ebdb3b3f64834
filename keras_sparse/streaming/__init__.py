"""Learning from a stream: one labelled example at a time, one pass, nothing frozen."""

from keras_sparse.streaming.augmentation.augment import StreamingAugment
from keras_sparse.streaming.replay.compression import ImageCompression
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer

__all__ = ["ImageCompression", "ReplayBuffer", "StreamingAugment"]
