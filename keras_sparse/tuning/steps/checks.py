"""What a study of batch sizes can be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import is_number, one_of, wrong
from keras_sparse.tuning.space import LogUniform, Range, ReverseLogUniform, check_space

_RATE: dict[str, Range] = {"learning_rate": LogUniform(1e-4, 1)}
_BOTH: dict[str, Range] = {**_RATE, "momentum": ReverseLogUniform(0.9, 0.9999)}
SPACES: Mapping[str, dict[str, Range]] = {"sgd": _RATE, "momentum": _BOTH, "nesterov": _BOTH}
_SEARCHABLE = ("learning_rate", "momentum", "decay_steps", "end_learning_rate_factor")
_FIXED = {
    "batch_size": "the fewest steps over batch sizes are those of the largest one",
    "sparsity": "the fewest steps over sparsities are those of the dense model",
}


def several(name: str, values: Any) -> list[Any]:
    """A list of different values.

    Raises:
        ValueError: If it is another thing, or empty.
    """
    found = list(values) if isinstance(values, (Sequence, np.ndarray)) else []
    numbers = all(is_number(each) for each in found) and not isinstance(values, str)
    if not numbers or not found or len(set(found)) < len(found):
        raise wrong(name, values, "a list of different numbers")
    return found


def checked_data(data: Any) -> tuple[Any, Any, Any, Any]:
    """Training and validation data.

    Raises:
        ValueError: If they are no four arrays that belong together.
    """
    four = isinstance(data, (tuple, list)) and len(data) == 4
    if not four or not all(hasattr(each, "shape") for each in data):
        raise wrong("data", data, "(x_train, y_train, x_validation, y_validation), four arrays")
    for x, y in (data[:2], data[2:]):
        if len(x) != len(y) or not len(x):
            raise wrong("data", data, "arrays with one entry per sample")
    return data[0], data[1], data[2], data[3]


def checked_space(space: Any, optimizer: str) -> dict[str, Range]:
    """Ranges of settings of an optimizer.

    Args:
        space: The ranges by name; `None` for the source's.
        optimizer: `"sgd"`, `"momentum"` or `"nesterov"`.

    Raises:
        ValueError: If one cannot be searched, batch size and sparsity above all.
    """
    found = check_space("search_space", SPACES[optimizer] if space is None else space)
    for name in found:
        if name in _FIXED:
            raise ValueError(
                f"{name} cannot be searched: {_FIXED[name]}. It is fixed in each cell; give "
                f"{'batch_sizes' if name == 'batch_size' else 'sparsities'}=... instead."
            )
        one_of("search_space", name, _SEARCHABLE)
    if optimizer == "sgd" and "momentum" in found:
        cure = "Give optimizer='momentum'."
        raise wrong("search_space", "momentum", "of settings that plain SGD has", cure)
    return found
