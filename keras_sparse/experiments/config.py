"""What a training run is made of, and where in its folder that stands."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_sparse import data, models
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.experiments.pipelines import NAMED
from keras_sparse.messages.arguments import integer, number, one_of
from keras_sparse.messages.names import unknown_name
from keras_sparse.precision.scheduler import PrecisionScheduler
from keras_sparse.precision.schedules.cyclic import SUITE
from keras_sparse.probe.batch_norm import batch_norm_tuning, batch_normalizations
from keras_sparse.sparsity.granularity import get_granularity
from keras_sparse.storage.files import read_json

CONFIG, RESULT = "config.json", "result.json"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that a run's result follows from.

    ```python
    config = RunConfig(data="digits", method="gmp", sparsity=0.9, epochs=20)
    ```

    Args:
        data: A data set of `keras_sparse.data.load`: `"mnist"`, `"cifar10"` or `"digits"`.
        model: A model of `keras_sparse.models.names()`.
        method: A name in `METHODS`, or that of a pipeline, such as `"LDI-CS-AI"`.
        sparsity: Fraction of weights to remove, in [0, 1). Defaults to 0.95, to 0 for
            `"dense"`, and to what the pattern says for an n:m `granularity`. Left out for
            methods in which it follows from other settings.
        epochs: Passes over the training images.
        batch_size: Images in a batch.
        learning_rate: Peak of the learning rate of SGD, to which it rises during the first epoch
            and from which it falls to 0 along a cosine. Gradients are clipped to a norm of 1.
        momentum: SGD's momentum, in [0, 1).
        weight_decay: SGD's decoupled weight decay.
        seed: Seed of the initial weights, the order of the images and random masks.
        limit: Training images to take; `None` for all.
        augment: Whether to crop and flip the images at random, as is usual for CIFAR-10.
        granularity: `"unstructured"`, `"channel"`, n:m such as `"2:4"`, or blocks of inputs by
            outputs such as `"4x1"`. Defaults to the method's own.
        allocation: `"global"`, `"uniform"`, `"er"` or `"erk"`. Defaults to the method's own.
        keep_dense: Any of `"first"`, `"last"` and `"depthwise"`.
        exclude: Layer names or globs of what stays dense.
        precision: A schedule of low precision, such as `"CR"`; `None` for float.
        q_min: Its fewest bits.
        q_max: Its most bits.
        cycles: Its cycles.
        loss_target: The training loss of an epoch, whose first step is told beside the accuracy.
        model_args: Further arguments of the model's builder, such as `{"width": 8}`.

    Raises:
        ValueError: If an argument is none that can be used.
    """

    data: str = "mnist"
    model: str = "lenet5"
    method: str = "acdc"
    sparsity: float | None = None
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0
    limit: int | None = None
    augment: bool = False
    granularity: str | None = None
    allocation: str | None = None
    keep_dense: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    precision: str | None = None
    q_min: int = 3
    q_max: int = 8
    cycles: int = 8
    loss_target: float = 0.3
    model_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        data.available(self.data)
        if self.model not in models.names():
            raise unknown_name("model", self.model, models.names())
        if self.method not in NAMED:
            raise unknown_name("method", self.method, NAMED)
        for name, smallest in {"epochs": 1, "batch_size": 1, "seed": 0, "limit": 1}.items():
            value = getattr(self, name)
            if name != "limit" or value is not None:
                integer(name, value, smallest)
        number("learning_rate", self.learning_rate, "(0, 1000)")
        number("momentum", self.momentum, "[0, 1)")
        number("weight_decay", self.weight_decay, "[0, 1)")
        number("loss_target", self.loss_target, "(0, inf)")
        if self.method == "dense" and self.sparsity:
            raise ValueError(
                f"method 'dense' prunes nothing. Received: sparsity={self.sparsity}. Leave "
                f"sparsity out, or choose one of {', '.join(m for m in NAMED if m != 'dense')}."
            )
        method = NAMED[self.method]
        if not method.takes_sparsity and self.sparsity is not None:
            raise ValueError(
                f"method {self.method!r} takes no sparsity: {method.line}. Received: "
                f"sparsity={self.sparsity}. Leave it out."
            )
        if self.sparsity is None and method.takes_sparsity and ":" not in self._pattern():
            object.__setattr__(self, "sparsity", 0.0 if self.method == "dense" else 0.95)
        for name in ("keep_dense", "exclude"):  # JSON has lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self.callback()
        self.precision_callback()

    def precision_callback(self) -> PrecisionScheduler | None:
        """A new callback of low precision, or `None` for training in float."""
        if self.precision is None:
            return None
        one_of("precision", self.precision, SUITE)
        return PrecisionScheduler(
            self.precision,
            q_min=self.q_min,
            q_max=self.q_max,
            cycles=self.cycles,
            quantizer="symmetric" if self.callback() else "affine",
            seed=self.seed,
        )

    def callback(self, calibration: Any = ()) -> SparseCallback | None:
        """A new callback of the method, or `None` for dense training.

        Args:
            calibration: `(x, y)` for a method that scores weights on data before training.
        """
        method = NAMED[self.method]
        data = {"data": calibration} if method.takes_data else {}
        return method.make(**self._common(), **data, seed=self.seed)

    @property
    def prunes_dense_model(self) -> bool:
        """Whether the method is dense training, and pruning after it."""
        return NAMED[self.method].after is not None and self.callback() is None

    @property
    def is_dense(self) -> bool:
        """Whether nothing is pruned, whatever the weights to begin with."""
        return self.method == "dense" or self.method.endswith("-Dense")

    def dense(self) -> RunConfig:
        """The dense run that has the same settings."""
        return dataclasses.replace(self, method="dense", sparsity=None)

    def prune_trained(self, model: keras.Model, calibration: tuple[Any, Any]) -> None:
        """Prunes a trained model, where the method does so after training.

        Batch normalization is tuned afterwards.

        Args:
            model: The trained model.
            calibration: `(x, y)`.
        """
        after = NAMED[self.method].after
        if after is not None:
            after(model, calibration, **self._common())
            if batch_normalizations(model):
                batch_norm_tuning(model, calibration[0])

    def _common(self) -> dict[str, Any]:
        given = {"sparsity": self.sparsity, "allocation": self.allocation}
        return {
            **{name: value for name, value in given.items() if value is not None},
            "granularity": get_granularity(self._pattern()),
            "exclude": self.exclude,
            "keep_dense": self.keep_dense,
        }

    def _pattern(self) -> str:
        return self.granularity or NAMED[self.method].granularity

    def to_json(self) -> str:
        """The configuration as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Reads `to_json`'s text.

        Raises:
            ValueError: If it is not JSON, or its fields are not those of a configuration.
        """
        fields = json.loads(text)
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) - known:
            unknown = sorted(set(fields) - known) if isinstance(fields, dict) else [fields]
            raise ValueError(f"Not a run's configuration: unknown {unknown}. Known: {known}")
        return cls(**fields)


def read_config(out: str | os.PathLike[str]) -> RunConfig:
    """The configuration of the run in a folder.

    Args:
        out: The folder.

    Raises:
        ValueError: If there is no run in it, or its configuration is damaged.
    """
    path = Path(out) / CONFIG
    if not path.is_file():
        raise ValueError(
            f"There is no run in {os.fspath(out)!r} to resume: it has no {CONFIG}. Check the "
            "folder, or start a run there without --resume."
        )
    try:
        return RunConfig.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{os.fspath(path)!r} cannot be used: {error} Start anew in another folder."
        ) from error


def read_result(out: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The result of the run in a folder, or `None` if it is not finished.

    Raises:
        ValueError: If the file is damaged.
    """
    path = Path(out) / RESULT
    cure = "Delete it and give the same command once more (train: with --resume) to make it again."
    return read_json(path, cure) if path.is_file() else None


def check_settings(
    given: Mapping[str, Any], stored: RunConfig, out: str | os.PathLike[str]
) -> None:
    """Checks that settings given to resume a run are those that it was begun with.

    Args:
        given: Fields of a configuration, all or some.
        stored: The run's own configuration.
        out: Its folder.

    Raises:
        ValueError: If they are not, naming each that differs.
    """
    before = dataclasses.asdict(stored)
    differing = [
        f"{key} ({before[key]!r} there, {value!r} now)"
        for key, value in given.items()
        if value != before[key]
    ]
    if differing:
        raise ValueError(
            f"The run in {os.fspath(out)!r} was begun with other settings: "
            f"{', '.join(differing)}. Resume it with its own (the command line takes them from "
            "the folder), or start a run in another folder (--out)."
        )
