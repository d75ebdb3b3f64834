"""Training beside a teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_sparse.engine.fit_callback import FitCallback
from keras_sparse.messages.arguments import boolean, instance, number, optional
from keras_sparse.probe.outputs import softmax_layer
from keras_sparse.sparsity.duration import Run

_SMALLEST = 1e-7


class Distillation(FitCallback):
    """Adds to the loss how far a model's outputs are from a teacher's, for the length of a `fit`.

    The loss of a training batch becomes
    `(1 - alpha) * loss + alpha * T ** 2 * KL(softmax(teacher / T), softmax(model / T))`, and
    regularizers are added whole. Teacher and model see the same batch, the teacher in inference
    mode; none of its variables changes. It stands beside a sparse method, a `PrecisionScheduler`
    or both in the same `fit`, in any order. Validation is by the plain loss.

    ```python
    teaching = ks.Distillation(teacher, alpha=0.5, temperature=4)
    model.fit(x, y, epochs=10, callbacks=[teaching, ks.GMP(0.9)])
    ```

    Args:
        teacher: A built model of the same inputs and outputs, dense or sparse.
        alpha: The weight of the teacher's part, in [0, 1].
        temperature: What logits are divided by, greater than 0.
        loss: A `keras.distillation.DistillationLoss` of the logits in place of
            `keras.distillation.LogitsDistillation(temperature)`.
        from_logits: Whether the model gives logits. Defaults to whether its last layer is
            something else than a softmax.
        teacher_from_logits: The same of the teacher.

    Raises:
        ValueError: At construction for arguments out of range; before the first step if the
            teacher's inputs or outputs are others than the model's, or it is the model itself.

    Source: Hinton, Vinyals and Dean (2015); Peste (2023), 4.6 (which gives neither alpha nor
    temperature).
    """

    def __init__(
        self,
        teacher: keras.Model,
        *,
        alpha: float = 0.5,
        temperature: float = 4.0,
        loss: Any = None,
        from_logits: bool | None = None,
        teacher_from_logits: bool | None = None,
    ) -> None:
        super().__init__()
        instance("teacher", teacher, keras.Model, "a built keras.Model")
        if not teacher.built or not teacher.variables:
            raise ValueError(
                f"The teacher {teacher.name!r} is not built. Call it on a batch, or load it."
            )
        self.teacher = teacher
        self.alpha = number("alpha", alpha, "[0, 1]")
        self.temperature = number("temperature", temperature, "(0, inf)")
        kind = keras.distillation.DistillationLoss
        optional(instance, "loss", loss, kind, "a keras.distillation.DistillationLoss")
        self.loss = loss
        self.from_logits = optional(boolean, "from_logits", from_logits)
        self.teacher_from_logits = optional(boolean, "teacher_from_logits", teacher_from_logits)
        self._before: dict[str, Any] | None = None

    def _settings(self) -> dict[str, Any]:
        gone = ("run", "_logits", "_own", "_knows_training")
        kept = {key: value for key, value in vars(self).items() if key not in gone}
        return {**kept, "_before": None}

    def install(self, run: Run) -> None:
        """Puts the teacher's part into the loss."""
        model = self.model
        self._check(model)
        self._leave_previous(model)
        self._logits = tuple(
            _reader(given if given is not None else softmax_layer(each) is None)
            for each, given in (
                (self.teacher, self.teacher_from_logits),
                (model, self.from_logits),
            )
        )
        self._own: Callable[..., Any] = model.compute_loss
        names = ("compute_loss", "_compute_loss_has_training_arg")
        self._before = {name: vars(model)[name] for name in names if name in vars(model)}
        self._knows_training = model._compute_loss_has_training_arg
        model.compute_loss = self._compute_loss
        model._compute_loss_has_training_arg = True
        model.train_function = model.test_function = None

    def uninstall(self) -> None:
        """Gives the model its own loss back."""
        if self._before is None:
            return
        del self.model.compute_loss
        for name, value in self._before.items():
            setattr(self.model, name, value)
        self._before = None
        self.model.train_function = self.model.test_function = None

    def _leave_previous(self, model: keras.Model) -> None:
        """Takes out what an interrupted `fit` has left."""
        other = getattr(vars(model).get("compute_loss"), "__self__", None)
        if not isinstance(other, Distillation):
            return
        other.uninstall()
        if other is not self and other.params is self.params:
            raise ValueError(
                f"Model {model.name!r} has two Distillations in the same fit. Give it one."
            )

    def _compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of a batch."""
        more = {"training": training} if self._knows_training else {}
        own = self._own(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **more)
        if not training or self.alpha == 0:
            return own
        if x is None:
            raise ValueError(
                f"The train_step of {type(self.model).__name__} does not hand on its inputs. Let "
                "it call self.compute_loss(x=x, y=y, y_pred=y_pred)."
            )
        return own + self.alpha * (self._distance(x, y_pred) - self._task_loss(own))

    def _task_loss(self, own: Any) -> Any:
        """The loss without what regularizers and layers add."""
        added = [self.model._aggregate_additional_loss(each) for each in self.model.losses]
        return own - sum(added) if added else own

    def _distance(self, x: Any, outputs: Any) -> Any:
        """How far outputs are from the teacher's."""
        wanted = keras.tree.map_structure(ops.stop_gradient, self.teacher(x, training=False))
        read_teacher, read_model = self._logits
        return self._distillation_loss(outputs).compute_loss(
            keras.tree.map_structure(read_teacher, wanted),
            keras.tree.map_structure(read_model, outputs),
        )

    def _distillation_loss(self, outputs: Any) -> Any:
        if self.loss is not None:
            return self.loss
        sizes = [each.shape[-1] for each in keras.tree.flatten(outputs)]
        if 1 in sizes:
            raise ValueError(
                f"The outputs of model {self.model.name!r} have one number a sample, of which a "
                "softmax is always 1. Give Distillation a loss, such as keras.distillation."
                "LogitsDistillation(loss='mse'), or the model an output for each class."
            )
        # By its name Keras would take the divergence of the logits themselves.
        kind = keras.tree.map_structure(lambda _: keras.losses.KLDivergence(), outputs)
        return keras.distillation.LogitsDistillation(float(self.temperature), kind)

    def _check(self, model: keras.Model) -> None:
        teacher = self.teacher
        shared = {id(v) for v in teacher.variables} & {id(v) for v in model.variables}
        if teacher is model or shared:
            raise ValueError(
                f"The teacher {teacher.name!r} shares variables with the model {model.name!r} that "
                "is trained. Give a copy: keras.models.clone_model, then set_weights."
            )
        for side, cure in (
            ("inputs", "Put keras.layers.Resizing in front of the teacher, or train the model"),
            ("outputs", "Give the teacher the same classes, such as by ks.transfer.linear, or one"),
        ):
            ends = [getattr(each, side, None) or () for each in (teacher, model)]
            shapes = [[tuple(tensor.shape) for tensor in flat] for flat in ends]
            if not all(shapes):
                continue  # A subclassed model does not say.
            if not _fit(*shapes):
                ending = "for inputs of the same size" if side == "inputs" else "that has them"
                raise ValueError(
                    f"The teacher {teacher.name!r} has {side} of shape {shapes[0]}, and the model "
                    f"{model.name!r} of shape {shapes[1]}. {cure} {ending}."
                )


def _fit(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    """Whether shapes are the same, as far as they are known."""
    return len(one) == len(other) and all(
        len(a) == len(b) and all(m == n or None in (m, n) for m, n in zip(a, b, strict=True))
        for a, b in zip(one, other, strict=True)
    )


def _reader(logits: bool) -> Callable[[Any], Any]:
    """Makes float32 logits of outputs."""

    def read(outputs: Any) -> Any:
        outputs = ops.cast(outputs, "float32")
        return outputs if logits else ops.log(ops.maximum(outputs, _SMALLEST))

    return read
