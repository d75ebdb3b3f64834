"""What a layer says of its call: which positions along which axes go together."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_sparse.messages.arguments import function, optional, wrong
from keras_sparse.probe.layer_graph import Call
from keras_sparse.structured.coupling.atoms import Axis
from keras_sparse.structured.coupling.channels import Channels, Kept

Place: TypeAlias = "tuple[Any, int]"


class Coupling:
    """How the axes of one call's inputs, outputs and weights belong together.

    Every axis of an input that nothing is said of has to keep its size.

    Handed to the functions of `register_coupling`.

    Args:
        call: The call: its `operation`, `args`, `kwargs`, `inputs` and `outputs`.
        channels: What is known so far.
    """

    def __init__(self, call: Call, channels: Channels) -> None:
        self.call = call
        self.channels = channels
        self._handled: set[tuple[int, int]] = set()

    @property
    def layer(self) -> Any:
        """The layer or operation that is called."""
        return self.call.operation

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The tensors that it takes."""
        return self.call.inputs

    @property
    def outputs(self) -> tuple[Any, ...]:
        """The tensors that it returns."""
        return self.call.outputs

    def axis(self, tensor: Any, axis: int) -> Axis:
        """The atoms along an axis of an input, a weight or an output."""
        self._handled.add((id(tensor), axis % len(tensor.shape)))
        return self.channels.axis(tensor, axis)

    def put(self, item: Any, axis: int, atoms: Axis, *, makes: bool = False, why: str = "") -> None:
        """Says which atoms lie along an axis of an output or a weight (`None` for no weight)."""
        if item is not None:
            why = why or f"{self.call.name} joins it with what cannot be removed"
            self.channels.put(item, axis, atoms, why, makes)

    def make(self, what: str, *places: Place, size: int | None = None) -> Axis:
        """Says that the layer makes the positions along some axes, which go together.

        Args:
            what: What they are, such as `"heads"`; empty for a layer's only kind.
            *places: Axes of outputs and weights, such as `(layer.kernel, 1)`.
            size: How many there are. Defaults to the size of the first place's axis.
        """
        if size is None:
            item, axis = places[0]
            size = int(item.shape[axis])
        atoms = (self.channels.make(self.call, what, size),)
        for item, axis in places:
            self.put(item, axis, atoms, makes=True)
        return atoms

    def tie(self, *places: Place, why: str = "") -> Axis:
        """Says that the positions along some axes go together one by one.

        Args:
            *places: Axes of inputs first, then of weights and outputs.
            why: What to say where they have to stay for it.

        Returns:
            The atoms along all of them.
        """
        why = why or f"{self.call.name} joins it with what cannot be removed"
        given = [place for place in places if any(place[0] is x for x in self.inputs)]
        axes = [self.axis(*place) for place in given]
        for other in axes[1:]:
            self.channels.unite(axes[0], other, why)
        atoms = next((axis for axis in axes if axis), ())
        for item, axis in places:
            if not any(item is x for x in self.inputs):
                self.put(item, axis, atoms, why=why)
        return atoms

    def elementwise(self) -> None:
        """Says that each position of the output comes from the same position of each input."""
        for output in self.outputs:
            for axis in range(-len(output.shape), 0):
                size = output.shape[axis]
                there = [(x, axis) for x in self._distinct_inputs() if -axis <= len(x.shape)]
                for x, _ in there:
                    self.axis(x, axis)
                places = [(x, _) for x, _ in there if x.shape[axis] != 1 or size == 1]
                self.put(output, axis, self.tie(*places))

    def carry(self, x: Any, y: Any, axes: Sequence[int] | dict[int, int], passing: bool = False):
        """Says that axes of an input come out as they went in.

        Args:
            x: An input.
            y: An output.
            axes: The axes, or those of the output by those of the input.
            passing: Whether kernels of the layer are used once for each position along them.
        """
        pairs = axes if isinstance(axes, dict) else {axis: axis for axis in axes}
        atoms = [self.axis(x, axis) for axis in pairs]
        for axis, each in zip(pairs.values(), atoms, strict=True):
            self.put(y, axis, each)
        if passing:
            self.channels.passing.setdefault(id(self.layer), []).append([a for a in atoms if a])

    def fix(self, atoms: Axis, why: str) -> None:
        """Says that positions have to stay."""
        for each in atoms:
            self.channels.atoms.fix(each, why)

    def zero(self, tensor: Any, axis: int) -> None:
        """Says that removed positions of an input count unless they are zero."""
        if self.axis(tensor, axis):
            self.channels.zeroed.setdefault(id(self.call), []).append((tensor, axis))

    def choose(self, options: int, *axes: Axis) -> int:
        """Which of several ways to go, the first by preference.

        Args:
            options: How many there are.
            *axes: What is at stake: if it has to stay by the first way, others are tried.
        """
        key = id(self.layer)
        self.channels.alternatives[key] = (options, type(self.layer).__name__)
        self.channels.chosen_for.setdefault(key, []).extend(each for a in axes for each in a)
        return self.channels.choices.get(key, 0) % options

    def finish(self) -> None:
        """Lets the positions stay of which nothing was said."""
        for tensor in self.inputs:
            for axis in range(len(tensor.shape)):
                if (id(tensor), axis) not in self._handled:
                    mixed = f"{self.call.name} ({type(self.layer).__name__}) mixes its positions"
                    self.fix(self.channels.axis(tensor, axis), mixed)

    def _distinct_inputs(self) -> list[Any]:
        return list({id(x): x for x in self.inputs}.values())


Couple: TypeAlias = Callable[[Coupling], None]
Resize: TypeAlias = Callable[[Call, Kept], "dict[str, Any]"]
Rescale: TypeAlias = Callable[[Call, Kept], "list[tuple[Any, float]]"]
Masked: TypeAlias = Callable[[Call, Kept], Any]


@dataclasses.dataclass(frozen=True)
class Handler:
    """What is known of a kind of layer.

    Args:
        couple: Says how the axes of a call belong together.
        resize: The entries of the layer's configuration that change with its size.
        rescale: Weights that have to be multiplied by a number because of its size.
        masked: The layer that computes in full size what the smaller one does, where zeros in
            the weights do not do that; `None` where they do.
    """

    couple: Couple
    resize: Resize = lambda call, kept: {}
    rescale: Rescale = lambda call, kept: []
    masked: Masked = lambda call, kept: None


HANDLERS: dict[type, Handler] = {}
OPERATIONS: dict[str, Handler] = {}
_HARMLESS = ("__init__", "__new__", "get_config", "from_config", "__doc__", "__module__")


def register_coupling(
    layer_class: type, *, resize: Resize | None = None
) -> Callable[[Couple], Couple]:
    """Decorates a function that says how the axes of a custom layer's call belong together.

    ```python
    import keras

    class Scale(keras.layers.Layer):
        def __init__(self, dim, **kwargs):
            super().__init__(**kwargs)
            self.dim = dim

        def build(self, shape):
            self.gamma = self.add_weight(shape=(self.dim,), name="gamma")

        def call(self, x):
            return x * self.gamma

        def get_config(self):
            return {**super().get_config(), "dim": self.dim}

    @ks.structured.register_coupling(
        Scale, resize=lambda call, kept: {"dim": kept.shape(call.operation.gamma)[0]}
    )
    def couple_scale(coupling):
        coupling.elementwise()
        coupling.tie((coupling.inputs[0], -1), (coupling.layer.gamma, 0))
    ```

    Args:
        layer_class: A subclass of `keras.layers.Layer`.
        resize: A function `resize(call, kept)` that returns the entries of the layer's
            `get_config` that change when it gets smaller. `kept.shape(item)` is the new shape of
            a weight of `call.operation`, or of a tensor of `call.inputs` and `call.outputs`.
            Defaults to no change.

    Returns:
        A decorator; the function is called with a `Coupling`.

    Raises:
        ValueError: If it is not a class of layers.
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)):
        raise wrong("layer_class", layer_class, "a subclass of keras.layers.Layer")
    optional(function, "resize", resize)

    def registered(couple: Couple) -> Couple:
        function("couple", couple)
        HANDLERS[layer_class] = Handler(couple, resize) if resize else Handler(couple)
        return couple

    return registered


def handles(*names: str, **parts: Any) -> Callable[[Couple], Couple]:
    """Registers a function for layers of Keras by name, `"ops."` before those of operations."""

    def registered(couple: Couple) -> Couple:
        for name in " ".join(names).split():
            handler = Handler(couple, **parts)
            if name.startswith("ops."):
                OPERATIONS[name.removeprefix("ops.")] = handler
            elif hasattr(keras.layers, name):
                HANDLERS[getattr(keras.layers, name)] = handler
        return couple

    return registered


def handler_of(operation: Any) -> Handler | None:
    """What is known of an operation; `None` if that is nothing.

    A subclass is what its base is, unless it computes in another way.
    """
    kind = type(operation)
    if not isinstance(operation, keras.layers.Layer):
        ours = kind.__module__.startswith("keras.src.ops.")
        return OPERATIONS.get(kind.__name__) if ours else None
    for layer in operation._flatten_layers():
        if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
            return None
    for base in kind.__mro__:
        if base in HANDLERS:
            return HANDLERS[base]
        overridden = [
            name
            for name, value in vars(base).items()
            if inspect.isfunction(value)
            and name not in _HARMLESS
            and any(hasattr(other, name) for other in base.__mro__[1:])
        ]
        if overridden:
            return None
    return None


def resized(serialized: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A layer within another one's configuration, with entries of its own changed."""
    return {**serialized, "config": {**serialized["config"], **changes}}


def repeated(atoms: Axis, times: int) -> Axis:
    """Atoms along an axis on which each position comes so many times in a row."""
    return tuple(np.repeat(each, times) for each in atoms)


def tiled(atoms: Axis, times: int) -> Axis:
    """Atoms along an axis on which all positions come one time after the other."""
    return tuple(np.tile(each, times) for each in atoms)
