"""Keras-tuner's hypermodel with the sparse method and its sparsity among the hyperparameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import keras_tuner

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.messages.arguments import function, instance, integer, wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.methods.commands import commands
from keras_sparse.tuning.space import Searched, check_searched, declared

DENSE = "dense"
_SAMPLES = 1000  # of the training data, for methods that score weights before training


class SparseHyperModel(keras_tuner.HyperModel):
    """Builds a model as you do, and trains it with one of several methods at some sparsity.

    Method and sparsity are hyperparameters named `"method"` and `"sparsity"`. It goes into
    `SparseTuner`, and into any tuner of keras-tuner's own.

    ```python
    def build_model(hp):
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])
        rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        return model


    sparse = ks.tuning.SparseHyperModel(build_model, methods=["acdc", "rigl"], sparsity=[0.8, 0.9])
    tuner = keras_tuner.RandomSearch(sparse, "val_accuracy", max_trials=2, directory="sweep")
    tuner.search(x, y, epochs=2, validation_data=(x, y))
    ```

    Args:
        build_model: Takes `hp` and returns a compiled model; or a `keras_tuner.HyperModel`.
        methods: Names that `keras-sparse list-methods` shows, `"dense"` for none, or callback
            classes of this package; or a mapping from names of your own to functions of a sparsity
            that return a callback.
        sparsity: A fraction to remove in [0, 1), a list of them to choose from, or a range such as
            `ks.tuning.ReverseLogUniform(0.8, 0.98)`.
        seed: Seed of what is random in a method.

    Raises:
        ValueError: If a method is not known, or a sparsity out of range.
    """

    def __init__(
        self,
        build_model: Callable[[keras_tuner.HyperParameters], keras.Model],
        methods: Any = ("acdc",),
        sparsity: Searched = 0.9,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(build_model, keras_tuner.HyperModel):
            function("build_model", build_model, "a function of hp or a keras_tuner.HyperModel")
        self.build_model = build_model
        self.methods = _checked_methods(methods)
        self.sparsity = check_searched("sparsity", sparsity, "[0, 1)")
        self.seed = integer("seed", seed, 0)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """The model, and what of the method is searched as well."""
        self.choice(hp)
        builder = self.build_model
        return builder.build(hp) if isinstance(builder, keras_tuner.HyperModel) else builder(hp)

    def choice(self, hp: keras_tuner.HyperParameters) -> tuple[str, float | None]:
        """The name of the method and its sparsity, `None` of a method that takes none."""
        name = str(declared("method", list(self.methods), hp))
        several = [each for each in self.methods if _takes_sparsity(self.methods[each])]
        if len(several) == len(self.methods):
            return name, declared("sparsity", self.sparsity, hp)
        sparsity = None
        with hp.conditional_scope("method", several):
            found = declared("sparsity", self.sparsity, hp)
            if name in several:
                sparsity = found
        return name, sparsity

    def callback(self, hp: keras_tuner.HyperParameters, data: Sequence[Any]) -> Any:
        """The callback of the method that was chosen, `None` for dense training.

        Args:
            hp: The hyperparameters of a trial.
            data: What `fit` trains on, which some methods score weights on.
        """
        name, sparsity = self.choice(hp)
        make: Any = self.methods[name]
        if make is None:
            return None
        if not (isinstance(make, type) and issubclass(make, SparseCallback)):
            return make(sparsity)
        common: dict[str, Any] = {"seed": self.seed}
        common |= {} if sparsity is None else {"sparsity": sparsity}
        if "data" in inspect.signature(make).parameters:
            common["data"] = _scored_on(name, data)
        return make.for_run(**common)

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Trains with the method's callback before all others."""
        method = self.callback(hp, [*args, kwargs.get("x"), kwargs.get("y")])
        others = list(kwargs.pop("callbacks", None) or ())
        callbacks = others if method is None else [method, *others]
        return model.fit(*args, callbacks=callbacks, **kwargs)


def _takes_sparsity(make: Any) -> bool:
    return make is not None and getattr(make, "takes_sparsity", True)


def _scored_on(method: str, data: Sequence[Any]) -> tuple[Any, Any]:
    x, y = [*(each for each in data if each is not None), None, None][:2]
    if not hasattr(x, "shape") or not hasattr(y, "shape"):
        raise ValueError(
            f"Method {method!r} scores weights on data, and the sweep's data are no arrays. Search "
            "with x and y as arrays, or give methods={'" + method + "': a function of a sparsity "
            "that returns the callback with data=...}."
        )
    return x[:_SAMPLES], y[:_SAMPLES]


def _checked_methods(methods: Any) -> dict[str, Any]:
    if isinstance(methods, Mapping) and methods:
        return {str(name): function("methods", make) for name, make in methods.items()}
    known = {DENSE: None, **commands()}
    several = [methods] if isinstance(methods, (str, type)) else methods
    if not isinstance(several, Sequence) or not several:
        raise wrong("methods", methods, "names such as ['acdc', 'rigl'], classes, or a mapping")
    found: dict[str, Any] = {}
    for each in several:
        if isinstance(each, type) and issubclass(each, SparseCallback):
            found[each.command or each.__name__] = each
            continue
        instance("methods", each, str, "names such as 'acdc', or callback classes")
        if each not in known:
            raise unknown_name("method", each, known)
        found[each] = known[each]
    return found
