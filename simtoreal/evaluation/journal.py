"""Finished episodes on disk as they finish, so that Ctrl-C, `kill -9` or a full disk lose at most the running ones."""

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from simtoreal.evaluation.output_files import RunFolderError, explain_write_errors, make_folder
from simtoreal.evaluation.records import EpisodeRecord, to_plain

JOURNAL_NAME = "episodes.jsonl"


class EpisodeJournal:
    """Appends one JSON line per finished episode to `episodes.jsonl`; the first line says which run it belongs to.

    Use as a context manager. With `resume`, `records` holds what an earlier run finished; a half-written last line is
    cut off and damaged lines are counted, their episodes simply run again. Without `resume` an earlier journal is
    kept under a numbered name, never overwritten.

    Args:
        folder: the run folder, created if absent.
        fingerprint: everything that changes outcomes (seed, objects, bundle hash, randomization), plain values.
        resume: go on from an earlier run.

    Raises:
        RunFolderError: the folder cannot be written, or the earlier run had another fingerprint.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], *, resume: bool) -> None:
        self.path = make_folder(folder) / JOURNAL_NAME
        self.records: list[EpisodeRecord] = []
        self.num_damaged_lines = 0
        self._fingerprint = to_plain(fingerprint)
        with explain_write_errors(self.path):
            if resume and self.path.exists():
                self._take_over()
            else:
                _set_aside(self.path)
            # unbuffered, so that a failed write leaves nothing behind that would fail again on closing
            self._stream = self.path.open("ab", buffering=0)
        if not self._stream.tell():
            self._write_line({"fingerprint": self._fingerprint})

    def __enter__(self) -> "EpisodeJournal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def append(self, record: EpisodeRecord) -> None:
        """Adds a finished episode; it is on its way to disk when this returns.

        Raises:
            RunFolderError: the disk is full or went away.
        """
        self._write_line(record.to_dict())
        self.records.append(record)

    @property
    def finished(self) -> set[tuple[str, int]]:
        """The (arm, episode) pairs that need not run again."""
        return {(record.arm, record.episode) for record in self.records}

    def by_arm(self) -> dict[str, list[EpisodeRecord]]:
        """Records of each arm in order of episode; where an episode was run twice, the later run counts."""
        latest = {(record.arm, record.episode): record for record in self.records}
        arms: dict[str, list[EpisodeRecord]] = {record.arm: [] for record in self.records}
        for (arm, _), record in sorted(latest.items()):
            arms[arm].append(record)
        return arms

    def _write_line(self, values: Mapping[str, Any]) -> None:
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        with explain_write_errors(self.path):
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _take_over(self) -> None:
        """Reads the earlier journal and cuts off a half-written last line, so that appending starts on a new one."""
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if len(complete) < len(content):
            with self.path.open("r+b") as stream:
                stream.truncate(len(complete))
        lines = complete.splitlines()
        if not lines:
            return
        self._check_fingerprint(lines[0])
        for line in lines[1:]:
            try:
                self.records.append(EpisodeRecord.from_dict(_parse(line)))
            except ValueError:
                self.num_damaged_lines += 1

    def _check_fingerprint(self, header: bytes) -> None:
        try:
            earlier = dict(_parse(header)["fingerprint"])
        except (ValueError, TypeError, KeyError) as error:
            raise RunFolderError(
                f"{self.path} does not begin with its settings: choose another folder with out=DIR"
            ) from error
        keys = sorted(earlier.keys() | self._fingerprint.keys())
        changed = [key for key in keys if earlier.get(key) != self._fingerprint.get(key)]
        if changed:
            told = "; ".join(f"{key} was {earlier.get(key)!r}, now {self._fingerprint.get(key)!r}" for key in changed)
            raise RunFolderError(
                f"{self.path} belongs to another evaluation ({told}): use the same settings, "
                "choose another folder with out=DIR, or start afresh with resume=false"
            )


def _parse(line: bytes) -> dict[str, Any]:
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError(f"not a record: {line[:80]!r}")
    return values


def _set_aside(path: Path) -> None:
    if not path.exists():
        return
    number = 1
    while (kept := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(kept)
