"""One writer at a time: a lock that the kernel lets go of when its process ends, however it ends."""

import fcntl
import os
from pathlib import Path
from typing import IO

from simtoreal.episodes.errors import DatasetError


class FolderLock:
    """Holds `path` locked until `release`.

    Raises:
        DatasetError: another writer, of this process or another, holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: IO[str] | None = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._stream.seek(0)
            holder = self._stream.read(32).strip() or "?"
            self._stream.close()
            raise DatasetError(
                f"process {holder} is writing to this dataset: wait until it is done, or choose another folder",
                file=path.parent.parent,
            ) from error
        self._stream.truncate(0)
        self._stream.write(str(os.getpid()))
        self._stream.flush()

    def release(self) -> None:
        """Lets others write; safe to call again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
