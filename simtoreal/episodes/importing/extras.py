"""Packages that only some importers need."""

from typing import Any

from simtoreal.episodes.importing.source import SourceError
from simtoreal.extras import load


def need(module: str, what: str) -> Any:
    """Imports a package of the extra `importers`.

    Raises:
        SourceError: it is not installed; the message says how to install it.
    """
    try:
        return load(module, f"reading {what}", "importers")
    except ModuleNotFoundError as error:
        raise SourceError(str(error)) from error
