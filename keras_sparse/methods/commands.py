"""The methods that have a name for the command line and for sweeps."""

from __future__ import annotations

from keras_sparse import methods
from keras_sparse.engine.callback import SparseCallback


def commands() -> dict[str, type[SparseCallback]]:
    """Callbacks by their names, in the order of their rooms.

    ```python
    commands()["rigl"](sparsity=0.9)
    ```
    """
    public = (getattr(methods, name) for name in methods.__all__)
    found = [
        method
        for method in public
        if isinstance(method, type) and issubclass(method, SparseCallback) and method.command
    ]
    found.sort(key=lambda callback: callback.__module__)
    return {str(callback.command): callback for callback in found}
