"""Packages that only some importers need."""

import importlib
from types import ModuleType

from simtoreal.episodes.importing.source import SourceError


def need(module: str, what: str) -> ModuleType:
    """Imports a package of the extra `importers`.

    Raises:
        SourceError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SourceError(
            f"reading {what} needs {error.name}, which is not installed: pip install 'simtoreal[importers]'"
        ) from error
