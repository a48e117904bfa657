"""One episode as it is written: everything in a folder of its own until `finish`."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from simtoreal.episodes.entries import EpisodeEntry, StoredFile, describe
from simtoreal.episodes.episode_files import EpisodeFiles, Place
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.features import Schema
from simtoreal.episodes.layout import Layout, Slot
from simtoreal.episodes.meta_files import explain_write_errors, sha256_of
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame, EpisodeInfo
from simtoreal.episodes.rows import RowChecker
from simtoreal.episodes.video_files import probe


class Dataset(Protocol):
    """What an episode needs of the dataset that it will belong to."""

    layout: Layout

    def schema_for(self, info: EpisodeInfo, first: EpisodeFrame) -> Schema:
        """The columns of the dataset; the first frame of a new one decides whether there are joints."""
        ...

    def place_of(self, info: EpisodeInfo) -> Place:
        """Where the episode comes to lie."""
        ...

    def next_slot(self) -> Slot:
        """Where its files come to lie."""
        ...

    def commit(self, entry: EpisodeEntry, schema: Schema, files: dict[Path, Path]) -> None:
        """Makes the files of an episode part of the dataset.

        Args:
            entry: of the episode.
            schema: of the dataset.
            files: where they are and where they shall lie.

        Raises:
            DatasetError: the disk is full or went away; the dataset is as it was.
        """
        ...

    def closed(self, episode: "EpisodeWriter") -> None:
        """Told by an episode that it is finished or discarded."""
        ...


class EpisodeWriter:
    """One episode as it is recorded; `with` discards it unless `finish` was called.

    Raises:
        DatasetError: on leaving `with`, if neither `finish` nor `discard` was called.
    """

    def __init__(self, dataset: Dataset, info: EpisodeInfo) -> None:
        self.info = info
        self._place = dataset.place_of(info)
        self.index = self._place.episode
        self._dataset = dataset
        self._files: EpisodeFiles | None = None
        self._schema: Schema | None = None
        self._checker: RowChecker | None = None
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            self.discard()
            if error is None:
                raise DatasetError("was left without finish(end) or discard()", episode=self.index)

    @property
    def num_frames(self) -> int:
        return self._files.num_frames if self._files is not None else 0

    def add(self, frame: EpisodeFrame) -> None:
        """Adds the next frame.

        Raises:
            DatasetError: a value cannot be true (the frame is left out, and the episode may go on), or the disk is
                full (the episode is lost).
        """
        files, checker = self._prepared(frame)
        number = files.num_frames
        try:
            checker.check(frame)
            pictures = files.pictures_of(frame)
        except DatasetError as error:
            raise DatasetError(error.what, file=self._dataset.layout.root, episode=self.index, frame=number) from error
        try:
            with explain_write_errors(files.data.parent, self.index, number):
                files.add(frame, pictures)
        except DatasetError:
            self.discard()
            raise

    def finish(self, end: EpisodeEnd) -> int:
        """Makes the episode part of the dataset and returns its index.

        Raises:
            DatasetError: it has no frames, or the disk is full; the dataset is as it was before the episode.
        """
        if self._files is None or self._schema is None:
            raise DatasetError("has no frames", file=self._dataset.layout.root, episode=self.index)
        layout, slot = self._dataset.layout, self._dataset.next_slot()
        files, schema = self._files, self._schema
        try:
            with explain_write_errors(layout.in_progress, self.index):
                files.close_videos()
                entry = EpisodeEntry(
                    index=self.index,
                    num_frames=files.num_frames,
                    first_row=self._place.first_row,
                    info=self.info,
                    end=end,
                    data=StoredFile(slot),
                    videos={key: stored(path, slot) for key, path in files.videos.items()},
                    stats=files.stats(),
                )
                files.close_rows(describe(entry, schema))
                self._files = None
                entry = replace(entry, data=stored(files.data, slot))
            _check_videos(files, schema, self.index)
            targets = {path: layout.video(key, slot) for key, path in files.videos.items()}
            self._dataset.commit(entry, schema, {**targets, files.data: layout.data(slot)})
        finally:
            self.discard()
        return self.index

    def discard(self) -> None:
        """Forgets the episode. Safe to call again, and after `finish`."""
        if self._is_open:
            self._is_open = False
            files, self._files = self._files, None
            try:
                if files is not None:
                    files.abandon()
            finally:
                shutil.rmtree(self._dataset.layout.in_progress, ignore_errors=True)
                self._dataset.closed(self)

    def _prepared(self, first: EpisodeFrame) -> tuple[EpisodeFiles, RowChecker]:
        if not self._is_open:
            raise DatasetError("is finished: begin another one", episode=self.index)
        if self._files is None or self._checker is None:
            folder = self._dataset.layout.in_progress
            self._schema = self._dataset.schema_for(self.info, first)
            with explain_write_errors(folder, self.index):
                folder.mkdir(parents=True, exist_ok=True)
                self._files = EpisodeFiles(folder, self._schema, self._place)
            self._checker = RowChecker(self._schema)
        return self._files, self._checker


def stored(path: Path, slot: Slot) -> StoredFile:
    """What the table says of a file that comes to lie in a slot."""
    return StoredFile(slot, sha256_of(path), path.stat().st_size)


def _check_videos(files: EpisodeFiles, schema: Schema, episode: int) -> None:
    """A video that lost its end to a full disk must not count as written."""
    for path in files.videos.values():
        found = probe(path, schema.fps)["num_frames"]
        if found != files.num_frames:
            raise DatasetError(f"holds {found} of {files.num_frames} frames", file=path, episode=episode)
