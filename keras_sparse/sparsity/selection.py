"""Which weights of a model are pruned, and for every other one the reason why not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras

from keras_sparse.messages.arguments import wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.probe.layout import Layout, kernel_layout
from keras_sparse.probe.variables import (
    Place,
    check_built,
    is_weight,
    names_of,
    owners,
    places,
)
from keras_sparse.sparsity.allocation import matches
from keras_sparse.sparsity.granularity import Granularity, Unstructured
from keras_sparse.sparsity.reasons import (
    STATE,
    check_keep_dense,
    default_reason,
    not_trainable,
)

Predicate: TypeAlias = Callable[[keras.layers.Layer, Any], bool]
Which: TypeAlias = str | keras.layers.Layer | Predicate | Iterable[str | keras.layers.Layer]


@dataclasses.dataclass(frozen=True)
class Target:
    """One weight tensor that is pruned.

    Args:
        index: Its place in `model.trainable_variables`.
        path: The variable's path, such as `"conv1/kernel"`.
        layer: The name of the layer that owns it.
        layout: Its axes, sorted into positions, inputs and outputs.
        more_names: Names by which it may be meant that its path does not tell.
    """

    index: int
    path: str
    layer: str
    layout: Layout
    more_names: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which a mapping or glob may mean this tensor."""
        return tuple(dict.fromkeys((*names_of(self.layer, self.path), *self.more_names)))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, serializable."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Target:
        """Builds the target from `get_config`."""
        more = tuple(config.get("more_names", ()))
        layout = Layout.from_config(config["layout"])
        return cls(**{**config, "layout": layout, "more_names": more})


@dataclasses.dataclass(frozen=True)
class Skipped:
    """One variable that is not pruned, and why."""

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

    @property
    def layouts(self) -> list[Layout]:
        """The layouts of the targets."""
        return [target.layout for target in self.targets]

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
        if default_reason(owner[id(variable)], variable, ()) is None
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
    selection = survey(model, exclude=exclude, include=include, keep_dense=keep_dense)
    pattern = granularity or Unstructured()
    dense = pattern.leaves_dense(model)
    selection = selection.restricted_to(lambda target: dense.get(target.path))
    check_fit(selection, pattern)
    if not selection.targets:
        raise ValueError(_nothing_to_prune(selection))
    return selection


def survey(
    model: keras.Model,
    *,
    exclude: Which = (),
    include: Which = (),
    keep_dense: str | Iterable[str] = (),
) -> Selection:
    """What `select` finds, which may be nothing, for whoever only asks.

    The arguments are those of `select`.

    Raises:
        ValueError: If the model is unbuilt or a name means nothing.
    """
    check_built(model)
    keep_dense = check_keep_dense(keep_dense)
    exclude, include = check_layers("exclude", exclude), check_layers("include", include)
    place = places(model)
    excluded = variables_meant(exclude, "exclude", place, model)
    included = variables_meant(include, "include", place, model)
    index = {id(variable): i for i, variable in enumerate(model.trainable_variables)}
    targets: list[Target] = []
    skipped: list[Skipped] = []
    for variable in model.variables:
        (layer, path, names), shape = place[id(variable)], tuple(variable.shape)
        if not is_weight(layer, variable):
            reason: str | None = STATE
        elif id(variable) in excluded:
            reason = "excluded"
        elif id(variable) not in index:
            reason = not_trainable(layer, variable)
        elif 0 in shape:
            reason = "empty: it has no weights"
        elif id(variable) in included and len(shape) >= 2:
            reason = None
        else:
            reason = default_reason(layer, variable, keep_dense)
        if reason is None:
            layout = kernel_layout(layer, variable.name, shape)
            known = names_of(layer.name, path)
            more = tuple(name for name in names if name not in known)
            targets.append(Target(index[id(variable)], path, layer.name, layout, more))
        else:
            skipped.append(Skipped(path, layer.name, shape, reason))
    targets.sort(key=lambda target: target.index)
    selection = Selection(tuple(targets), tuple(skipped))
    owner = [place[id(variable)].layer for variable in selection.variables(model)]
    ends = {
        id(layer): f"{end} layer kept dense (keep_dense)"
        for end, layer in zip(("last", "first"), (owner[-1:] + owner[:1]), strict=False)
        if end in keep_dense
    }
    of = {t.index: ends.get(id(layer)) for t, layer in zip(targets, owner, strict=True)}
    return selection.restricted_to(lambda target: of[target.index])


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


def variables_meant(
    which: Which, argument: str, place: dict[int, Place], model: keras.Model
) -> set[int]:
    """Ids of the variables that layers, names, globs or a predicate mean.

    Args:
        which: As `exclude` and `include` of `select`.
        argument: The name of the argument, for errors.
        place: What `places(model)` gives.
        model: The model.

    Raises:
        ValueError: If an item means nothing.
    """
    if isinstance(which, (str, keras.layers.Layer)):
        which = (which,)
    variables = model.variables
    if callable(which):
        return {id(v) for v in variables if which(place[id(v)].layer, v)}
    chosen: set[int] = set()
    for item in which or ():
        if isinstance(item, keras.layers.Layer):
            hits = {id(v) for v in item.variables} & place.keys()
        else:
            hits = {id(v) for v in variables if matches(item, place[id(v)].names)}
        if not hits:
            known = dict.fromkeys(
                name for at in place.values() for name in at.names if "/" not in name
            )
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
    largest = sorted(selection.skipped, key=lambda s: -math.prod(s.shape))
    shown = [f"  {s.path} {s.shape}: {s.reason}" for s in largest[:20]]
    return "Nothing in this model can be pruned:\n" + "\n".join(shown)
