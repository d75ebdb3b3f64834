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
from keras_sparse.streaming.multi_task import MultiTaskStreaming
from keras_sparse.streaming.replay.compression import ImageCompression
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer
from keras_sparse.streaming.rivals.cut import freeze_first
from keras_sparse.streaming.rivals.deep_slda import DeepSLDA, StreamingLDA
from keras_sparse.streaming.rivals.e2eil import E2EIL
from keras_sparse.streaming.rivals.exstream import ExStream
from keras_sparse.streaming.rivals.fine_tuning import FineTuning
from keras_sparse.streaming.rivals.herding import herding
from keras_sparse.streaming.rivals.icarl import ICaRL
from keras_sparse.streaming.rivals.product_quantizer import ProductQuantizer
from keras_sparse.streaming.rivals.remind import REMIND

__all__ = [
    "E2EIL",
    "REMIND",
    "DeepSLDA",
    "ExStream",
    "ExpectedCalibrationError",
    "FineTuning",
    "ICaRL",
    "ImageCompression",
    "MultiTaskStreaming",
    "PerClassLinearDecay",
    "PerClassRate",
    "ProductQuantizer",
    "ReplayBuffer",
    "StreamHistory",
    "StreamingAugment",
    "StreamingBackup",
    "StreamingDataset",
    "StreamingLDA",
    "StreamingLearner",
    "TestingEvent",
    "TestingEvents",
    "freeze_first",
    "herding",
    "omega_all",
    "orderings",
]
