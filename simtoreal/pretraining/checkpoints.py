"""Checkpoints of a training in progress: replaced whole, read without running any code."""

import os
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint beside its place, then moves it there: a kill leaves the old one.

    Raises:
        OSError: the folder cannot be written; names it and says what to do.
    """
    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        partial.unlink(missing_ok=True)
        raise OSError(
            f"cannot write {path}: {error}; free space or choose another out=, then go on with resume=true"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint at a path, None where there is none.

    Raises:
        ValueError: the file is truncated or is no checkpoint; says which to remove.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file
        raise ValueError(
            f"{path} is not a readable checkpoint ({type(error).__name__}); it may be cut off: remove it and start over"
        ) from error
    return state
