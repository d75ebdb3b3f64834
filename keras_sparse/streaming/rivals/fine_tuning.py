"""Fine-tuning on a stream without replay: the control that forgets."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.streaming.learner.streaming_learner import StreamingLearner


class FineTuning(StreamingLearner):
    """A `StreamingLearner` that stores and replays nothing.

    ```python
    learner = FineTuning(model)
    learner.partial_fit(x[0], y[0])
    ```

    Args:
        model: As for `StreamingLearner`.
        **kwargs: As for `StreamingLearner`, but for those of the buffer.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(model, replay_size=0, **kwargs)
