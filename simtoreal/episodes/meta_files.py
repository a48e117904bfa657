"""The small files of a dataset: JSON and parquet read without trust, and written so that a crash leaves the old one."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq

from simtoreal.episodes.errors import DatasetError
from simtoreal.evaluation.output_files import advice_on

MAX_JSON_BYTES = 64 * 2**20
_NUMBER = re.compile(r"\[errno (\d+)\]", re.IGNORECASE)


@contextmanager
def explain_write_errors(path: Path, episode: int | None = None, frame: int | None = None) -> Iterator[None]:
    """Turns what goes wrong while writing into a `DatasetError` that says where, why and what to do."""
    try:
        yield
    except (OSError, av.FFmpegError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        told = _NUMBER.search(reason)  # Arrow's errors have it in their text alone
        number = int(told[1]) if told else getattr(error, "errno", None)
        raise DatasetError(
            f"cannot be written ({reason}); {advice_on(number)}. The episodes finished before are kept",
            file=path,
            episode=episode,
            frame=frame,
        ) from error


def write_json(path: Path, values: Any) -> None:
    """Replaces a JSON file.

    Raises:
        DatasetError: the disk is full or went away.
    """
    text = json.dumps(values, indent=4, ensure_ascii=False, allow_nan=False)
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, table: pa.Table) -> None:
    """Replaces a parquet file.

    Raises:
        DatasetError: the disk is full or went away.
    """
    with _replacing(path) as temporary:
        pq.write_table(table, temporary, compression="snappy", write_page_checksum=True)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file or the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hash of a file's content, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DatasetError: there is none, it is damaged, or one of its keys comes twice.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DatasetError(f"is larger than {MAX_JSON_BYTES} bytes, which no such file is", file=path)
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except FileNotFoundError as error:
        raise DatasetError("there is no such file", file=path) from error
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, DatasetError) and error.file is not None:
            raise
        raise DatasetError(f"is damaged ({error})", file=path) from error
    if not isinstance(values, dict):
        raise DatasetError(f"must hold an object, got {type(values).__name__}", file=path)
    return values


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"the key {twice!r} comes twice")
    return values


@contextmanager
def explain_read_errors(path: Path, episode: int | None = None) -> Iterator[None]:
    """Turns what pyarrow and the file system say of a file into a `DatasetError` that names it."""
    try:
        yield
    except DatasetError:
        raise  # already says what is wrong
    except FileNotFoundError as error:
        raise DatasetError("there is no such file", file=path, episode=episode) from error
    # Arrow's errors are of many kinds, and a text that is no text is found only when it becomes a str.
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()
        raise DatasetError(f"is damaged ({reason[0] if reason else error!r})", file=path, episode=episode) from error


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Some columns of a small parquet file, row by row.

    Raises:
        DatasetError: it is not there or damaged, or a column is missing.
    """
    with explain_read_errors(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        missing = set(columns) - set(file.schema_arrow.names)
        if missing:
            raise DatasetError(f"lacks the columns {', '.join(sorted(missing))}", file=path)
        rows: list[dict[str, Any]] = file.read(columns=list(columns)).to_pylist()
        return rows
