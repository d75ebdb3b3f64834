"""The `precision-range` command: the fewest bits that a network learns with."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from rich.table import Table

from keras_sparse import data
from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.run import compiled_model
from keras_sparse.precision.range_test import PrecisionRange, precision_range_test


@dataclasses.dataclass(frozen=True)
class RangeConfig:
    """What is trained with few bits.

    Args:
        data: A data set of `keras_sparse.data.load`.
        model: A model of `keras_sparse.models.names()`.
        q_max: The most bits, and those of gradients.
        steps: Steps of training with each number of bits.
        batch_size: Images in a batch.
        learning_rate: Of SGD.
        momentum: Of SGD.
        seed: Seed of the initial weights, the order of the images and rounding.
        limit: Training images to take; `None` for all.

    Raises:
        ValueError: If an argument is none that can be used.
    """

    data: str = "mnist"
    model: str = "lenet5"
    q_max: int = 8
    steps: int = 100
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    seed: int = 0
    limit: int | None = None

    def run_config(self) -> RunConfig:
        """The training of one epoch that it is taken from, in which the learning rate falls."""
        own = dataclasses.asdict(self)
        del own["steps"], own["q_max"]
        return RunConfig(**own, method="dense", epochs=1)


def find_range(config: RangeConfig) -> PrecisionRange:
    """Makes the test.

    ```python
    find_range(RangeConfig(data="digits", model="lenet300")).q_min
    ```

    Args:
        config: What to train.

    Raises:
        ValueError: If the data set does not suit the model.
    """
    run = config.run_config()
    keras.utils.set_random_seed(config.seed)
    dataset = data.load(config.data, limit=config.limit, seed=config.seed)
    return precision_range_test(
        compiled_model(run, dataset),
        dataset.train,
        q_max=config.q_max,
        steps=config.steps,
        chance=1 / dataset.num_classes,
        batch_size=config.batch_size,
        seed=config.seed,
    )


def range_table(found: PrecisionRange) -> Table:
    """A row for each number of bits."""
    table = Table("bits", "training accuracy", title=f"q_min = {found.q_min}", title_justify="left")
    for bits, accuracy in found.curve.items():
        table.add_row(str(bits), f"{accuracy:.2%}" + (" <" if bits == found.q_min else ""))
    return table


def range_result(found: PrecisionRange) -> dict[str, Any]:
    """What JSON can hold."""
    return {**dataclasses.asdict(found), "curve": {str(q): a for q, a in found.curve.items()}}
