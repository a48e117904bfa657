"""Arrays on disk by content: written whole or not at all, safe with several processes at once, no pickle."""

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float64]]


def load_arrays(path: Path) -> Arrays | None:
    """Arrays of an .npz, or None where there is none or it is broken (it is then made anew)."""
    if not path.is_file():
        return None
    try:
        # Opened here: of a broken archive, numpy would leave the file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return {key: data[key] for key in data.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile):
        return None


def save_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Writes arrays to an .npz through a temporary file beside it.

    Raises:
        OSError: the folder cannot be written; says which and how to choose another.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes only allow_pickle by keyword
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(
            f"cannot write {path.parent} ({error.strerror}); free space there or set SIMTOREAL_CACHE to another folder"
        ) from error
