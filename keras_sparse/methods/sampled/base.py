"""Weights that are drawn at random at each step, from distributions that are learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.engine.rules.learned import adam_moments, adam_step
from keras_sparse.sparsity.bundles import Bundles
from keras_sparse.sparsity.granularity import Unstructured
from keras_sparse.sparsity.recipe import CommonArguments

PARAMETER, _FIRST, _SECOND = "parameter", "first_moment", "second_moment"


class SampledWeights(Rule):
    """Learns, beside each weight, a parameter of the distribution that the weight is drawn from.

    The optimizer learns the weights; the parameters have an Adam of their own, since their
    gradients are as small as the penalty on them, whatever the weights' are. Weights are drawn
    for the step after the one that `effective` is told of, so that `slopes` finds the same
    numbers again when that step's gradients arrive.

    Args:
        rate: The parameters' learning rate, greater than 0.
        seed: Seed of what is drawn.
    """

    uses_gradients: ClassVar[bool] = True
    shadow: ClassVar[bool] = True
    masks_follow_step: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    changes_with_masks: ClassVar[tuple[str, ...]] = (PARAMETER,)

    def __init__(self, rate: float, seed: int = 0) -> None:
        self.rate, self.seed = rate, seed

    def first_parameters(self, weights: Sequence[Any]) -> list[Any]:
        """The parameters at the beginning, of the weights' shapes and type."""
        raise NotImplementedError(f"{type(self).__name__} must implement first_parameters")

    def slopes(
        self, clock: Clock, tensors: Tensors, bundles: Bundles
    ) -> tuple[list[Any], Mapping[str, Sequence[Any]]]:
        """The gradients by the parameters, and new values of the rule's further state.

        Args:
            clock: The step.
            tensors: What there is, in bundles.
            bundles: How it was bundled, which draws random numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement slopes")

    def kept(self, weights: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
        """Boolean tensors, True where the distribution says that a weight is needed."""
        raise NotImplementedError(f"{type(self).__name__} must implement kept")

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """The parameters and their moments."""
        zeros = [ops.zeros_like(weight) for weight in weights]
        return {PARAMETER: self.first_parameters(weights), _FIRST: zeros, _SECOND: zeros}

    def update_state(self, clock: Clock, tensors: Tensors) -> Mapping[str, Sequence[Any]]:
        """Adam's moments of the parameters; `update_masks` takes the step."""
        bundles = Bundles(tensors.weights)
        bundled = tensors.each(bundles.join)
        slopes, further = self.slopes(clock, bundled, bundles)
        trios = zip(bundled.state[_FIRST], bundled.state[_SECOND], slopes, strict=True)
        first, second = zip(*(adam_moments(*trio) for trio in trios), strict=True)
        new = {**further, _FIRST: first, _SECOND: second}
        return {key: bundles.split(values) for key, values in new.items()}

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """At every step."""
        return ops.ones((), "bool")

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """Adam's step on the parameters, and the weights that are still needed."""
        bundles = Bundles(tensors.weights)
        bundled = tensors.each(bundles.join)
        trios = zip(*(bundled.state[key] for key in (PARAMETER, _FIRST, _SECOND)), strict=True)
        parameters = [adam_step(p, m, v, self.rate, clock.step) for p, m, v in trios]
        masks = bundles.split(self.kept(bundled.weights, parameters))
        return Update(masks, {}, state={PARAMETER: bundles.split(parameters)})


class SparsityFollows(SparseCallback):
    """Base class of methods that keep single weights, as many as they turn out to need."""

    takes_sparsity = False

    knobs: ClassVar[str]

    def __init__(self, **kwargs: Unpack[CommonArguments]) -> None:
        name = type(self).__name__
        for fixed in ("sparsity", "allocation"):
            if fixed in kwargs:
                raise ValueError(
                    f"{name} has no {fixed} to set: it follows from {self.knobs}. For a given "
                    "sparsity use AC/DC, GMP or DPF."
                )
        super().__init__(**kwargs)
        if self.recipe.granularity != Unstructured():
            raise ValueError(
                f"{name} prunes single weights. Received: granularity={self.recipe.granularity}. "
                "Leave granularity out, or use AC/DC, GMP or DPF."
            )

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity."""
        return False


def default_rate(steps: int) -> float:
    """A rate at which Adam can move a parameter by 20 in a run of so many steps."""
    return 20.0 / steps
