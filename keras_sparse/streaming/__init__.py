"""Learning from a stream: one labelled example at a time, one pass, nothing frozen."""

from keras_sparse.streaming.augmentation.augment import StreamingAugment
from keras_sparse.streaming.evaluation import orderings
from keras_sparse.streaming.evaluation.calibration import ExpectedCalibrationError
from keras_sparse.streaming.evaluation.events import StreamHistory, TestingEvent, omega_all
from keras_sparse.streaming.learner.schedule import PerClassLinearDecay
from keras_sparse.streaming.learner.streaming_dataset import (
    PerClassRate,
    StreamingBackup,
    StreamingDataset,
    TestingEvents,
)
from keras_sparse.streaming.learner.streaming_learner import StreamingLearner
from keras_sparse.streaming.replay.compression import ImageCompression
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer

__all__ = [
    "ExpectedCalibrationError",
    "ImageCompression",
    "PerClassLinearDecay",
    "PerClassRate",
    "ReplayBuffer",
    "StreamHistory",
    "StreamingAugment",
    "StreamingBackup",
    "StreamingDataset",
    "StreamingLearner",
    "TestingEvent",
    "TestingEvents",
    "omega_all",
    "orderings",
]
