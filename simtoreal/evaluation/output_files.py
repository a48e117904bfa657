"""Writing results so that a crash never leaves half a file, and a full or read-only disk is said in plain words."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the file system is read-only: choose another folder with out=DIR",
    errno.EACCES: "no permission to write there: choose another folder with out=DIR",
    errno.EPERM: "no permission to write there: choose another folder with out=DIR",
    errno.ENOTDIR: "a file stands where a folder is needed: choose another folder with out=DIR",
    errno.EEXIST: "a file stands where a folder is needed: choose another folder with out=DIR",
    errno.EISDIR: "a folder stands where a file is needed: choose another folder with out=DIR",
}


class RunFolderError(OSError):
    """A run folder cannot be written or read; the message names the file and what to do."""


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turns an `OSError` while writing `path` into a `RunFolderError` that names it and what to do."""
    try:
        yield
    except RunFolderError:
        raise  # already says what to do
    except OSError as error:
        reason = error.strerror or str(error)
        advice = advice_on(error.errno)
        raise RunFolderError(
            f"cannot write {path} ({reason}{_free_space(path)}); {advice}. "
            "What was written before is kept: the same command with resume=true goes on from it."
        ) from error


def advice_on(number: int | None) -> str:
    """What to do about an error of the operating system while writing."""
    return _ADVICE.get(number or 0, "choose another folder with out=DIR")


def make_folder(folder: Path) -> Path:
    """Creates a folder with its parents and proves that it can be written, before hours are spent.

    Raises:
        RunFolderError: it cannot be created or written.
    """
    probe = folder / f".write_test_{os.getpid()}"
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0")
        probe.unlink()
    return folder


def write_text_atomic(path: Path, text: str) -> None:
    """Writes a text file under another name beside it, then renames: readers see the old file or the new one.

    Raises:
        RunFolderError: the folder is full, read-only or not there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explain_write_errors(path):
        try:
            with temporary.open("w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def _free_space(path: Path) -> str:
    """How much is free where `path` would lie, as a half-sentence; nothing if it cannot be told."""
    for folder in (path, *path.parents):
        try:
            return f", {shutil.disk_usage(folder).free / 1e9:.2f} GB free"
        except OSError:
            continue  # not there yet: ask its parent
    return ""
