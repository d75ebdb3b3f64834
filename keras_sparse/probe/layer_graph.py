"""The calls of layers and operations that a functional or Sequential model is made of."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

import keras

from keras_sparse.probe.variables import check_built


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation in a model's graph.

    Args:
        operation: A layer, an operation of `keras.ops`, or a model inside the model.
        args: Its positional arguments, with symbolic tensors in them.
        kwargs: Its arguments by name.
        inputs: The symbolic tensors among the arguments, in their order; one that is given
            twice stands here twice.
        outputs: The symbolic tensors that it returns.
        graph: The graph of a functional or Sequential model inside the model.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    graph: LayerGraph | None = None

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.operation.name

    def argument(self, name: str, default: Any = None) -> Any:
        """An argument by the name that the operation's `call` has for it."""
        call = inspect.signature(self.operation.call).bind(*self.args, **self.kwargs)
        return call.arguments.get(name, default)

    def filled(self, values: dict[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with other values in the place of symbolic tensors, by their `id`."""

        def value(item: Any) -> Any:
            return values[id(item)] if isinstance(item, keras.KerasTensor) else item

        return keras.tree.map_structure(value, self.args), keras.tree.map_structure(
            value, self.kwargs
        )


@dataclasses.dataclass(frozen=True, eq=False)
class LayerGraph:
    """A model as the calls that compute its outputs from its inputs.

    Args:
        model: The model.
        inputs: Its symbolic inputs, in the order of `keras.tree.flatten`.
        outputs: Its symbolic outputs.
        calls: The calls, each after those whose outputs it takes. A shared layer has several.
    """

    model: keras.Model
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    calls: tuple[Call, ...]

    def walk(self) -> Iterator[Call]:
        """All calls, those inside of inner models in the place of the inner model's first call."""
        seen = set()
        for call in self.calls:
            if call.graph is None:
                yield call
            elif id(call.graph) not in seen:
                seen.add(id(call.graph))
                yield from call.graph.walk()


def layer_graph(model: keras.Model) -> LayerGraph:
    """The graph of a functional or Sequential model, with the graphs of models inside it.

    ```python
    [call.name for call in layer_graph(model).walk()]  # such as ["conv1", "bn1", "relu1", ...]
    ```

    Args:
        model: A built model.

    Raises:
        ValueError: If the model is not built, or is subclassed and has no graph.
    """
    check_built(model)
    graph = _graph(model, {})
    if graph is None:
        raise ValueError(
            f"Model {model.name!r} is a subclassed model ({type(model).__name__}): its call is "
            "Python code and no graph of layers, so that what belongs together cannot be traced. "
            "Build it as a functional model, keras.Model(inputs, outputs), or apply this to the "
            "functional or Sequential models inside it."
        )
    return graph


def _graph(model: Any, known: dict[int, LayerGraph]) -> LayerGraph | None:
    functional = _functional(model)
    if functional is None:
        return None
    if id(model) not in known:
        nodes = [
            node
            for depth in sorted(functional._nodes_by_depth, reverse=True)
            for node in functional._nodes_by_depth[depth]
            if not node.is_input
        ]
        calls = tuple(
            Call(
                operation=node.operation,
                args=tuple(node.arguments.args),
                kwargs=dict(node.arguments.kwargs),
                inputs=tuple(node.input_tensors),
                outputs=tuple(node.outputs),
                graph=_graph(node.operation, known),
            )
            for node in nodes
        )
        known[id(model)] = LayerGraph(
            model, tuple(functional.inputs), tuple(functional.outputs), calls
        )
    return known[id(model)]


def _functional(model: Any) -> Any:
    """What holds the graph that a model's call runs through, `None` if it is none."""
    if isinstance(model, keras.Sequential):
        own_call = type(model).call is not keras.Sequential.call
        return None if own_call else model._functional
    runs_graph = isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth")
    return model if runs_graph and type(model).call.__qualname__ == "Functional.call" else None
