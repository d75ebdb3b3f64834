"""Packages that only a part of this one needs."""

from __future__ import annotations

import importlib


class MissingExtraError(ImportError):
    """A package of an extra is not installed; the message says how to install it."""


def check_extra(extra: str, *modules: str) -> None:
    """Checks that the packages of an extra are installed, before anything is done with them.

    Args:
        extra: The extra's name, such as `"onnx"`.
        *modules: What is going to be imported.

    Raises:
        MissingExtraError: If one of them cannot be imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingExtraError(
                f"That needs {', '.join(modules)}, of which {module} cannot be imported ({error}). "
                f"Install them with: pip install 'keras-sparse[{extra}]'"
            ) from error
