"""Which weights of a model are pruned, and for every other one the reason why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras

from keras_sparse.messages.arguments import instance, one_of, wrong
from keras_sparse.messages.names import names_of, unknown_name
from keras_sparse.probe.layout import Layout, is_depthwise, kernel_layout
from keras_sparse.sparsity.allocation import matches
from keras_sparse.sparsity.granularity import Granularity, Unstructured

Predicate: TypeAlias = Callable[[keras.layers.Layer, Any], bool]
Which: TypeAlias = str | keras.layers.Layer | Predicate | Iterable[str | keras.layers.Layer]
STATE = "state, not a weight"
KEEP_DENSE = ("first", "last", "depthwise")

_NORMALIZATION = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
)
_KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")


@dataclasses.dataclass(frozen=True)
class Target:
    """One weight tensor that is pruned.

    Args:
        index: Its place in `model.trainable_variables`.
        path: The variable's path, such as `"conv1/kernel"`.
        layer: The name of the layer that owns it.
        layout: Its axes, sorted into positions, inputs and outputs.
    """

    index: int
    path: str
    layer: str
    layout: Layout

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which a mapping or glob may mean this tensor."""
        return names_of(self.layer, self.path)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, serializable."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        """Builds the target from `get_config`."""
        return cls(**{**config, "layout": Layout.from_config(config["layout"])})


@dataclasses.dataclass(frozen=True)
class Skipped:
    """One trainable weight tensor that is not pruned, and why."""

    path: str
    layer: str
    shape: tuple[int, ...]
    reason: str


@dataclasses.dataclass(frozen=True)
class Selection:
    """What of a model is pruned and what is not.

    Args:
        targets: The tensors to prune, in the order of `model.trainable_variables`.
        skipped: All other variables, with reasons.
    """

    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...]

    @property
    def size(self) -> int:
        """Weights that may be pruned."""
        return sum(target.layout.size for target in self.targets)

    def variables(self, model: keras.Model) -> list[Any]:
        """The variables of the targets."""
        trainable = model.trainable_variables
        return [trainable[target.index] for target in self.targets]

    def restricted_to(self, keep: Callable[[Target], str | None]) -> Selection:
        """The selection less the targets for which `keep` gives a reason to leave them out."""
        reasons = [keep(target) for target in self.targets]
        left_out = tuple(
            Skipped(target.path, target.layer, target.layout.shape, reason)
            for target, reason in zip(self.targets, reasons, strict=True)
            if reason
        )
        kept = tuple(t for t, reason in zip(self.targets, reasons, strict=True) if not reason)
        return Selection(kept, self.skipped + left_out)


def path_in(model: keras.Model, variable: Any) -> str:
    """A variable's path within a model, the same before and after saving."""
    return variable.path.removeprefix(f"{model.name}/")


def owners(model: keras.layers.Layer) -> dict[int, keras.layers.Layer]:
    """The innermost layer that owns each variable, by the variable's `id`."""
    found: dict[int, keras.layers.Layer] = {}
    pending: list[keras.layers.Layer] = [model]
    while pending:
        layer = pending.pop()
        children = layer._flatten_layers(include_self=False, recursive=False)
        pending.extend(children)
        inner = {id(variable) for child in children for variable in child.variables}
        for variable in layer.variables:
            if id(variable) not in inner:
                found[id(variable)] = layer
    return found


def kernels_of(layer: keras.layers.Layer) -> list[tuple[Any, Layout]]:
    """The weights of a built layer that are pruned by default, those of its sublayers included.

    Args:
        layer: A built Keras layer.

    Returns:
        Each variable with its layout, in the order of `layer.variables`.
    """
    owner = owners(layer)
    return [
        (variable, kernel_layout(owner[id(variable)], variable.name, tuple(variable.shape)))
        for variable in layer.variables
        if _default_reason(owner[id(variable)], variable, ()) is None
    ]


def select(
    model: keras.Model,
    *,
    exclude: Which = (),
    include: Which = (),
    keep_dense: str | Iterable[str] = (),
    granularity: Granularity | None = None,
) -> Selection:
    """Finds the weights to prune: kernels of every layer, whatever the model is made of.

    Biases, normalization parameters and embeddings are left out unless `include` names them.

    Args:
        model: A built Keras model of any kind.
        exclude: Layers, layer names, variable paths or globs, or a predicate
            `f(layer, variable) -> bool`, of what must stay dense.
        include: The same, of what is to be pruned though it would be left out by default.
        keep_dense: Any of `"first"`, `"last"` (layers with a kernel) and `"depthwise"`.
        granularity: The pruning pattern, which may not fit every layer.

    Returns:
        A `Selection` that accounts for every variable of the model.

    Raises:
        ValueError: If the model is unbuilt, a name means nothing, a layer does not fit the
            pattern, or nothing is left to prune.
    """
    check_built(model)
    keep_dense = check_keep_dense(keep_dense)
    exclude, include = check_layers("exclude", exclude), check_layers("include", include)
    owner = owners(model)
    excluded = variables_meant(exclude, "exclude", owner, model)
    included = variables_meant(include, "include", owner, model)
    trainable = model.trainable_variables
    index = {id(variable): i for i, variable in enumerate(trainable)}
    targets: list[Target] = []
    skipped: list[Skipped] = []
    for variable in model.variables:
        layer, shape = owner[id(variable)], tuple(variable.shape)
        path = path_in(model, variable)
        if id(variable) in excluded:
            reason = "excluded"
        elif id(variable) not in index:
            reason = _not_trainable(layer)
        elif id(variable) in included and len(shape) >= 2:
            reason = None
        else:
            reason = _default_reason(layer, variable, keep_dense)
        if reason is None:
            layout = kernel_layout(layer, variable.name, shape)
            targets.append(Target(index[id(variable)], path, layer.name, layout))
        else:
            skipped.append(Skipped(path, layer.name, shape, reason))
    targets.sort(key=lambda target: target.index)
    selection = Selection(tuple(targets), tuple(skipped))
    ends = {
        target.layer: f"{end} layer kept dense (keep_dense)"
        for end, target in zip(("last", "first"), (targets[-1:] + targets[:1]), strict=False)
        if end in keep_dense
    }
    selection = selection.restricted_to(lambda target: ends.get(target.layer))
    check_fit(selection, granularity or Unstructured())
    if not selection.targets:
        raise ValueError(_nothing_to_prune(selection))
    return selection


def check_built(model: keras.Model) -> None:
    """Checks that a model has its variables.

    Raises:
        ValueError: If it is not a Keras model or not built.
    """
    instance("model", model, keras.Model, "a built keras.Model")
    if not model.built or not model.variables:
        raise ValueError(
            f"Model {model.name!r} is not built: it has no weights yet. Call it on a batch, call "
            "model.build(input_shape), or give it an Input."
        )


def check_layers(name: str, which: Which) -> Which:
    """Checks `exclude` and `include` before any model is known; an iterable comes out as a tuple.

    Raises:
        ValueError: If it is neither layers, names or globs, nor a predicate.
    """
    allowed = "layers, names, globs or a predicate f(layer, variable) -> bool"
    if which is None:
        return ()
    if isinstance(which, (str, keras.layers.Layer)) or callable(which):
        return which
    try:
        items = tuple(which)
    except TypeError as error:
        raise wrong(name, which, allowed) from error
    if not all(isinstance(item, (str, keras.layers.Layer)) for item in items):
        raise wrong(name, which, allowed)
    return items


def check_keep_dense(keep_dense: str | Iterable[str]) -> tuple[str, ...]:
    """Checks `keep_dense` and returns it as a tuple.

    Raises:
        ValueError: If a word in it is not one of `KEEP_DENSE`.
    """
    several = isinstance(keep_dense, Iterable) and not isinstance(keep_dense, str)
    words = keep_dense if several else (() if keep_dense is None else (keep_dense,))
    return tuple(one_of("keep_dense", word, KEEP_DENSE) for word in words)


def _not_trainable(layer: keras.layers.Layer) -> str:
    return STATE if layer.trainable else "frozen (trainable=False)"


def _default_reason(
    layer: keras.layers.Layer, variable: Any, keep_dense: tuple[str, ...]
) -> str | None:
    name = variable.name
    if isinstance(layer, _NORMALIZATION):
        return "normalization parameter"
    if name == "bias" or len(variable.shape) < 2:
        return "bias or scale"
    if isinstance(layer, keras.layers.Embedding):
        return "embedding (prune it with include=...)"
    if "depthwise" in keep_dense and is_depthwise(layer, name):
        return "depthwise kernel kept dense (keep_dense)"
    if name in _KERNELS or name.endswith("_kernel"):
        return None
    return f"not known to be a kernel: {name!r} (prune it with include=...)"


def variables_meant(
    which: Which, argument: str, owner: dict[int, keras.layers.Layer], model: keras.Model
) -> set[int]:
    """Ids of the variables that layers, names, globs or a predicate mean.

    Args:
        which: As `exclude` and `include` of `select`.
        argument: The name of the argument, for errors.
        owner: What `owners(model)` gives.
        model: The model.

    Raises:
        ValueError: If an item means nothing.
    """
    if isinstance(which, (str, keras.layers.Layer)):
        which = (which,)
    variables = model.variables
    if callable(which):
        return {id(v) for v in variables if which(owner[id(v)], v)}
    chosen: set[int] = set()
    for item in which or ():
        if isinstance(item, keras.layers.Layer):
            hits = {id(v) for v in item.variables} & owner.keys()
        else:
            hits = {
                id(v)
                for v in variables
                if matches(item, names_of(owner[id(v)].name, path_in(model, v)))
            }
        if not hits:
            known = dict.fromkeys(layer.name for layer in owner.values())
            name = item if isinstance(item, str) else item.name
            raise unknown_name(f"layer in {argument}", name, known)
        chosen |= hits
    return chosen


def check_fit(selection: Selection, granularity: Granularity) -> None:
    """Checks that weights can be pruned in a pattern.

    Raises:
        ValueError: If it does not fit, naming each of them.
    """
    misfits = [(t, granularity.unfit(t.layout)) for t in selection.targets]
    lines = [f"  {t.path} {t.layout.shape}: {why}" for t, why in misfits if why]
    if lines:
        names = list(dict.fromkeys(t.layer for t, why in misfits if why))
        raise ValueError(
            f"{granularity} does not fit {len(lines)} of the model's weights:\n"
            + "\n".join(lines)
            + f"\nLeave them dense with exclude={names}, or choose another granularity."
        )


def _nothing_to_prune(selection: Selection) -> str:
    shown = [f"  {s.path} {s.shape}: {s.reason}" for s in selection.skipped[:20]]
    return "Nothing in this model can be pruned:\n" + "\n".join(shown)
