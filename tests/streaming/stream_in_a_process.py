"""A stream with states in a folder, for a test that kills it: FOLDER and where the weights go."""

import sys
from pathlib import Path

import numpy as np

from keras_sparse.streaming import ImageCompression, StreamingAugment, StreamingLearner
from tests.streaming.streams import STANDARD, norm_net, patterns, weights

folder, result = map(Path, sys.argv[1:])
learner = StreamingLearner(
    norm_net(),
    capacity=20,
    compression=ImageCompression(jpeg=90, directory=folder / "images"),
    replay_size=10,
    augment=StreamingAugment(crop=1),
    standardize=STANDARD,
)
history = learner.fit_stream(
    *patterns(25),
    test=patterns(5, seed=1),
    backup=folder / "states",
    backup_every=7,
    after=lambda done: print(done, flush=True),
)
np.savez(result, *weights(learner.model), *learner.buffer.read(), history.accuracies)
