"""Packages that only some need, imported where they are used, with an error that says how to get them."""

import importlib
from typing import Any


def load(module: str, what: str, remedy: str) -> Any:
    """Imports a package; `remedy` is an extra of this package, or a sentence.

    Raises:
        ModuleNotFoundError: it is not installed; the message says what to do.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if " " not in remedy:
            remedy = f"pip install 'simtoreal[{remedy}]'"
        raise ModuleNotFoundError(f"{what} needs {error.name}, which is not installed: {remedy}") from error
