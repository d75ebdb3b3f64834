"""iCaRL: classes told apart by the nearest mean of exemplars."""

from __future__ import annotations

import keras
import numpy as np

from keras_sparse.streaming.learner.classifier import softmax
from keras_sparse.streaming.learner.offline import fit_offline
from keras_sparse.streaming.rivals.batch_incremental import BatchIncremental

# Where in a training the learning rate falls to a fifth.
_FALLS = (0.7, 0.9)


class ICaRL(BatchIncremental):
    """Sigmoid outputs that are to stay what they were for known classes, and herded exemplars.

    An example is of the class whose exemplars' mean feature is nearest. The arguments are those of
    `BatchIncremental`.

    ```python
    learner = ICaRL(model, "stage2_dense", memory=20, epochs=1)
    learner.base_initialize(x, y)
    learner.predict(x).shape  # (96, 4)
    ```

    Source: Rebuffi et al. (2017); Wolfe (2023), D.2.6.
    """

    def learn(self, x: np.ndarray, y: np.ndarray, known: list[int], arrived: list[int]) -> None:
        """Binary cross entropy, with the former outputs as the targets of known classes.

        Those of which examples arrived have their labels, or nothing would be learned of them.
        """
        teacher = self.teacher()
        known = [label for label in known if label not in arrived]

        def target(inputs: np.ndarray, soft: np.ndarray) -> np.ndarray:
            mixed = soft.copy()
            before = keras.ops.sigmoid(teacher.predict_on_batch(inputs))
            mixed[:, known] = keras.ops.convert_to_numpy(before)[:, known]
            return mixed

        data = self.batches(x, y, target if known else None)
        falls = [round(share * self.epochs * len(data)) for share in _FALLS]
        rates = [self.learning_rate / 5**k for k in range(len(falls) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(falls, rates)
        # Summed over the classes, as the mean would make steps smaller by their number.
        loss = _SummedBinaryCrossentropy()
        fit_offline(self.model, data, loss, rate, self.epochs, self.weight_decay)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """The softmax of minus the distances to the means; of classes not met 0."""
        found = np.full((len(x), self.classes), -np.inf, np.float32)
        if not self.exemplars:
            return np.full(found.shape, 1 / self.classes, np.float32)
        features = self.features(x)
        for label, kept in self.exemplars.items():
            mean = self.features(kept).mean(0)
            mean /= max(float(np.linalg.norm(mean)), 1e-12)
            found[:, label] = -((features - mean) ** 2).sum(1)
        return softmax(found)


class _SummedBinaryCrossentropy(keras.losses.Loss):
    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        each = keras.ops.binary_crossentropy(y_true, y_pred, from_logits=True)
        return keras.ops.sum(each, axis=-1)
