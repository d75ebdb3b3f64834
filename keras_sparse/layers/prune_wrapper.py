"""Masks that live in a layer, for training loops of one's own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.training_state import steps_are_pure
from keras_sparse.engine.buffers import slots_of
from keras_sparse.engine.installation import innermost
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.messages.arguments import instance, wrong
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import apply_mask, choose_masks, mask_budgets
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.saliency import scores
from keras_sparse.sparsity.selection import kernels_of

_CURRENT = "current"


class _Remasked(keras.constraints.Constraint):
    """A variable's own constraint, if any, and then zeros where a mask is False."""

    def __init__(self, mask: Any, own: Any) -> None:
        self.mask, self.own = mask, own

    def __call__(self, w: Any) -> Any:
        value = ops.convert_to_tensor(w if self.own is None else self.own(w))
        return apply_mask(value, ops.convert_to_tensor(self.mask))


@keras.saving.register_keras_serializable(package="keras_sparse")
class PruneWrapper(keras.layers.Wrapper):
    """A layer with masks of its kernels beside it, saved with the model.

    The callbacks of this package need no wrapper. This one is for training loops of one's own,
    and for those who want the masks in the model's file (which then needs this package to load;
    `strip_pruning` gives a plain model). All is kept until `prune` or `set_mask` say otherwise.

    ```python
    model = ks.prune_wrap(model)
    for x, y in batches:
        with tf.GradientTape() as tape:
            loss = loss_function(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        if optimizer.iterations % 100 == 0:
            for wrapper in ks.prune_wrappers(model):
                wrapper.prune(0.9, optimizer=optimizer)
        optimizer.apply(gradients, model.trainable_variables)
    model = ks.strip_pruning(model)
    ```

    What is done: in each call the layer computes with zeros where the mask is False, so that
    pruned weights have no gradient. On TensorFlow the kernels also get a constraint, which Keras's
    optimizers apply after each step; pruned weights are exactly zero after it, whatever the
    optimizer did. (Keras applies no constraints under `tf.distribute`.) Under JAX a constraint
    would see the masks of the time when the step was compiled, so there is none. A weight that is
    pruned in the middle of training would go on moving for a while by its momentum, unseen by
    the model: give `optimizer`, and its moments are cleared and the weight is zero at all times.

    Kept weights come out as by the callbacks, bit by bit, under the same masks. They may differ
    with optimizers that mix elements (Muon, LAMB, gradient clipping by norm in the step in which
    weights are pruned), and where a weight that was pruned with `optimizer` given is kept
    again: it starts without the moments that it had.

    Args:
        layer: The `keras.layers.Layer` to wrap, built or not. Its kernels are pruned, those of
            its sublayers included; biases and normalization parameters are not.
        **kwargs: As of any layer. The name defaults to `"prune_"` and that of the layer.

    Attributes:
        masks: Boolean variables, one for each kernel, True where a weight is kept.

    Raises:
        ValueError: When it is built, if the layer has no kernel.

    Source: the mask as a factor in the layer, Zhu and Gupta (2017), section 3.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        instance("layer", layer, keras.layers.Layer, "a Keras layer")
        if "name" not in kwargs:
            kwargs["name"] = f"prune_{layer.name}"
        super().__init__(layer, **kwargs)
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any = None) -> None:
        """Builds the layer and makes its masks."""
        super().build(input_shape)
        kernels = kernels_of(self.layer)
        if not kernels:
            raise ValueError(
                f"PruneWrapper has nothing to prune in layer {self.layer.name!r} of type "
                f"{type(self.layer).__name__}: it has no kernel. Leave it unwrapped."
            )
        # Places, because Keras would take a list of variables for weights of the wrapper's own.
        place = {id(variable): i for i, variable in enumerate(self.layer.variables)}
        self._places = [place[id(kernel)] for kernel, _ in kernels]
        self.layouts = [layout for _, layout in kernels]
        self.masks = [
            self.add_weight(
                shape=kernel.shape,
                initializer="ones",
                dtype="bool",
                trainable=False,
                name=f"{'_'.join(kernel.path.split('/')[-2:])}_mask",
            )
            for kernel in self.kernels
        ]
        if not steps_are_pure():
            for kernel, mask in zip(self.kernels, self.masks, strict=True):
                kernel.constraint = _Remasked(mask, kernel.constraint)

    @property
    def kernels(self) -> list[Any]:
        """The variables of the layer that the masks belong to, once it is built."""
        variables = self.layer.variables
        return [variables[place] for place in self._places]

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer, which sees zeros for pruned weights."""
        values = {id(v): ops.convert_to_tensor(v) for v in self.layer.variables}
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            values[id(kernel)] = apply_mask(values[id(kernel)], ops.convert_to_tensor(mask))
        mapping = [(v, values[id(v)]) for v in self.layer.variables]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            state = self.layer.non_trainable_variables
            before = [scope.get_current_value(variable) for variable in state]
            outputs = self.layer(inputs, *args, **kwargs)
            after = [scope.get_current_value(variable) for variable in state]
        for variable, old, new in zip(state, before, after, strict=True):
            if new is not old:
                variable.assign(new)
        # The losses become the wrapper's. Keras would count those twice that two layers claim.
        for layer in self.layer._flatten_layers():
            layer._loss_ids.clear()
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The layer's time steps to skip, if it has any."""
        return self.layer.compute_mask(inputs, previous_mask)

    def prune(
        self,
        sparsity: float | None = None,
        *,
        granularity: Granularity | str | None = None,
        saliency: str = "magnitude",
        seed: int | None = None,
        optimizer: Any = None,
    ) -> None:
        """Keeps the most important weights of each kernel. Not to be called in a compiled step.

        Pruned weights are zero, so that a later call with `"magnitude"` only prunes more. Inside
        of `fit` under JAX, call `model.jax_state_sync()` first.

        Args:
            sparsity: Fraction of weights to remove, in [0, 1). Left out with
                `granularity=NM(n, m)`, which fixes it.
            granularity: `Unstructured()`, `NM(n, m)`, `Block(rows, cols)`, `Channel()` or
                `"n:m"`.
            saliency: `"magnitude"` or `"random"`.
            seed: Seed of random saliency.
            optimizer: As in `set_mask`.

        Raises:
            ValueError: If the layer is not built, or for arguments out of range.
        """
        self._check_built()
        recipe = Recipe(sparsity, granularity=granularity, allocation="uniform")
        for kernel, layout in zip(self.kernels, self.layouts, strict=True):
            why = recipe.granularity.unfit(layout)
            if why:
                raise ValueError(f"{recipe.granularity} does not fit {kernel.path}: {why}")
        budgets = mask_budgets(
            recipe.granularity, "uniform", self.layouts, np.array([recipe.sparsity])
        )
        weights = [ops.convert_to_tensor(kernel) for kernel in self.kernels]
        ranked = scores(saliency, weights, seed)
        masks = choose_masks(ranked, self.layouts, budgets[0], recipe.granularity, joint=False)
        self.set_mask(masks, optimizer=optimizer)

    def set_mask(self, mask: Any, *, optimizer: Any = None) -> None:
        """Puts masks in force at once. Not to be called in a compiled step.

        A weight that was pruned and is kept again starts from zero.

        ```python
        ks.prune(model, 0.5)  # one ranking for the whole model
        for wrapper in ks.prune_wrappers(model):
            wrapper.set_mask("current")
        ```

        Args:
            mask: A boolean array of the kernel's shape, True where a weight is kept; a list of
                them for a layer of several kernels; or `"current"`, the zeros that kernels have.
            optimizer: The Keras optimizer that trains the layer, whose moments of pruned weights
                are set to zero. Needed under JAX where weights are pruned during training.

        Raises:
            ValueError: If the layer is not built, the shapes are wrong, or the optimizer trains
                other weights.
        """
        self._check_built()
        if isinstance(mask, str):
            if mask != _CURRENT:
                raise wrong("mask", mask, f"{_CURRENT!r} or boolean arrays")
            mask = [ops.convert_to_numpy(kernel) != 0 for kernel in self.kernels]
        masks = list(mask) if isinstance(mask, (list, tuple)) else [mask]
        wanted = [tuple(kernel.shape) for kernel in self.kernels]
        given = [tuple(ops.shape(one)) for one in masks]
        if given != wanted:
            raise ValueError(
                f"The masks of {self.name!r} have the shapes {wanted}. Received shapes: {given}"
            )
        slots = self._slots(optimizer)
        for variable, value in zip(self.masks, masks, strict=True):
            variable.assign(ops.convert_to_tensor(value, "bool"))
        self.apply_masks()
        for variable, own in zip(self.masks, slots, strict=True):
            for slot in own:
                masked = apply_mask(ops.convert_to_tensor(slot), ops.convert_to_tensor(variable))
                slot.assign(masked)

    def apply_masks(self) -> None:
        """Sets pruned weights to zero, where something other than training has changed them."""
        self._check_built()
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            value = ops.convert_to_tensor(kernel)
            kernel.assign(apply_mask(value, ops.convert_to_tensor(mask)))

    def _slots(self, optimizer: Any) -> list[list[Any]]:
        inner = innermost(optimizer)
        if isinstance(inner, SparseOptimizer):
            inner = inner.inner_optimizer
        if inner is None or not inner.built:
            return [[] for _ in self.kernels]
        trained = {id(variable) for variable in inner._trainable_variables}
        strangers = [kernel.path for kernel in self.kernels if id(kernel) not in trained]
        if strangers:
            raise ValueError(
                f"This optimizer does not train {', '.join(strangers)}. Give the one that does, "
                "or leave optimizer out."
            )
        return [slots_of(inner, kernel) for kernel in self.kernels]

    def _check_built(self) -> None:
        if not self.built:
            raise ValueError(
                f"PruneWrapper {self.name!r} is not built: its layer has no weights yet. Call it "
                "on a batch, or build the model, before pruning."
            )
