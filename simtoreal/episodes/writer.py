"""Writing a dataset: one episode at a time, each of them whole or not there.

What is written of an episode lies in a folder of its own until `finish`; then its files get their names, and last the
table of episodes is replaced by one that has it. A process killed before that last step has lost this episode and no
other one.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from simtoreal.episodes.copying import copy_episode
from simtoreal.episodes.entries import EpisodeEntry
from simtoreal.episodes.episode_files import Place
from simtoreal.episodes.episode_writer import EpisodeWriter
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.feature_stats import Stats, aggregate
from simtoreal.episodes.features import (
    DEPTH_UNIT_M,
    MAX_DEPTH_UNIT_M,
    Schema,
    check_camera_names,
    check_fps,
    columns_of,
)
from simtoreal.episodes.folder_lock import FolderLock
from simtoreal.episodes.layout import Layout, Slot
from simtoreal.episodes.meta_files import explain_write_errors, sync
from simtoreal.episodes.metadata import (
    Metadata,
    read_metadata,
    read_schema,
    write_entries,
    write_info,
    write_summary,
    write_tasks,
)
from simtoreal.episodes.reader import RecordedEpisode
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeFrame, EpisodeInfo
from simtoreal.provenance import CONFIG_FILE


@dataclass(frozen=True)
class WriterSettings:
    """What a new dataset is begun with; one that is appended to keeps its own."""

    lossless_rgb: bool = False  # PNG instead of H.264
    depth_unit_m: float = DEPTH_UNIT_M  # step of the stored depth

    def __post_init__(self) -> None:
        if not 0 < self.depth_unit_m <= MAX_DEPTH_UNIT_M:
            raise DatasetError(f"depth_unit_m must lie in (0, {MAX_DEPTH_UNIT_M}], got {self.depth_unit_m}")


class DatasetWriter:
    """Makes a LeRobotDataset v3.0 folder, or appends to one that this package made. Use as a context manager.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, DatasetWriter(Path(folder) / "grasps") as writer:
    ...     with writer.episode(EpisodeInfo(fps=20.0, cameras={})) as episode:
    ...         episode.add(EpisodeFrame(t_s=0.0, images={}, gripper_width_m=0.08))
    ...         number = episode.finish(EpisodeEnd(success=True))
    ...     writer.num_episodes
    1

    Raises:
        DatasetError: another writer has the folder, it holds something else, or it cannot be written.
    """

    def __init__(self, folder: Path, settings: WriterSettings | None = None) -> None:
        self.layout = Layout(Path(folder))
        self._settings = settings or WriterSettings()
        self._metadata: Metadata | None = None
        self._stats: dict[str, Stats] = {}  # over all episodes
        self._open: EpisodeWriter | None = None
        with explain_write_errors(self.layout.root):
            _check_may_hold_a_dataset(self.layout)
            self._lock = FolderLock(self.layout.private / "lock")
        try:
            self._take_over()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def num_episodes(self) -> int:
        return len(self._metadata.entries) if self._metadata else 0

    @property
    def num_frames(self) -> int:
        return self._metadata.num_rows if self._metadata else 0

    @property
    def entries(self) -> tuple[EpisodeEntry, ...]:
        """The episodes so far."""
        return self._metadata.entries if self._metadata else ()

    def episode(self, info: EpisodeInfo) -> EpisodeWriter:
        """Begins an episode.

        Raises:
            DatasetError: one is open already, or it has other cameras or another rate than the dataset.
        """
        if self._open is not None:
            raise DatasetError("an episode is open: finish or discard it first", file=self.layout.root)
        self._check_info(info)
        self._open = EpisodeWriter(self, info)
        return self._open

    def write(self, info: EpisodeInfo, frames: Iterable[EpisodeFrame], end: EpisodeEnd) -> int:
        """Writes a whole episode and returns its index."""
        with self.episode(info) as episode:
            for frame in frames:
                episode.add(frame)
            return episode.finish(end)

    def adopt(self, episode: RecordedEpisode) -> int:
        """Takes over an episode of another dataset as it is stored, and returns its index here.

        Raises:
            DatasetError: an episode is open, or the other dataset has other columns.
        """
        if self._open is not None:
            raise DatasetError("an episode is open: finish or discard it first", file=self.layout.root)
        if self._metadata is not None and episode.schema != self._metadata.schema:
            raise DatasetError(
                f"is stored otherwise than {self.layout.root}: {episode.schema} instead of {self._metadata.schema}",
                file=episode.path,
                episode=episode.entry.index,
            )
        place, slot = self.place_of(episode.info), self.next_slot()
        try:
            entry, files = copy_episode(episode, self.layout, place, slot)
            self.commit(entry, episode.schema, files)
        finally:
            shutil.rmtree(self.layout.in_progress, ignore_errors=True)
        return entry.index

    def close(self) -> None:
        """Discards an episode that is still open, and lets others write. Safe to call again."""
        if self._open is not None:
            self._open.discard()
        self._lock.release()

    def schema_for(self, info: EpisodeInfo, first: EpisodeFrame) -> Schema:
        """See `simtoreal.episodes.episode_writer.Dataset`."""
        if self._metadata is not None:
            return self._metadata.schema
        joints = first.joint_positions_rad
        return Schema(
            fps=float(info.fps),
            cameras={name: columns_of(camera, self._settings.lossless_rgb) for name, camera in info.cameras.items()},
            num_joints=info.num_joints if info.num_joints is not None else 0 if joints is None else len(joints),
            depth_unit_m=self._settings.depth_unit_m,
        )

    def place_of(self, info: EpisodeInfo) -> Place:
        """See `simtoreal.episodes.episode_writer.Dataset`."""
        tasks = self._metadata.tasks if self._metadata else ()
        task = tasks.index(info.task) if info.task in tasks else len(tasks)
        return Place(self.num_episodes, self.num_frames, task)

    def next_slot(self) -> Slot:
        """See `simtoreal.episodes.episode_writer.Dataset`."""
        numbers = [file.slot.number for entry in self.entries for file in entry.files]
        return Slot.at(max(numbers, default=-1) + 1)

    def closed(self, episode: EpisodeWriter) -> None:
        """See `simtoreal.episodes.episode_writer.Dataset`."""
        if self._open is episode:
            self._open = None

    def commit(self, entry: EpisodeEntry, schema: Schema, files: dict[Path, Path]) -> None:
        """See `simtoreal.episodes.episode_writer.Dataset`."""
        before = self._metadata or Metadata(schema, (), ())
        tasks = before.tasks if entry.info.task in before.tasks else (*before.tasks, entry.info.task)
        after = replace(before, tasks=tasks, entries=(*before.entries, entry))
        try:
            for source, target in files.items():
                with explain_write_errors(target, entry.index):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    sync(source)
                    source.replace(target)
                    sync(target.parent)
            if self._metadata is None:
                write_info(self.layout, before)
            if after.tasks != before.tasks:
                write_tasks(self.layout, after.tasks)
            write_entries(self.layout, after.entries, schema)
        except DatasetError:
            for target in files.values():
                target.unlink(missing_ok=True)
            raise
        self._metadata = after
        self._stats = aggregate([self._stats, entry.stats])
        write_summary(self.layout, after, self._stats)

    def _check_info(self, info: EpisodeInfo) -> None:
        check_fps(info.fps)
        check_camera_names(info.cameras)
        if self._metadata is None:
            return
        schema = self._metadata.schema
        if info.fps != schema.fps:
            raise DatasetError(
                f"has {info.fps} frames per second, and the dataset {schema.fps}",
                file=self.layout.root,
                episode=self.num_episodes,
            )
        for name, camera in info.cameras.items():
            problem = _mismatch(name, camera, schema)
            if problem:
                raise DatasetError(problem, file=self.layout.root, episode=self.num_episodes)

    def _take_over(self) -> None:
        """Reads what is there, and clears away what a killed writer left."""
        with explain_write_errors(self.layout.in_progress):
            shutil.rmtree(self.layout.in_progress, ignore_errors=True)
            for half_written in self.layout.info.parent.rglob(".*.tmp"):
                half_written.unlink()
        has_table = any(self.layout.episodes_folder.glob("*/*.parquet"))
        if self.layout.info.exists():
            read_schema(self.layout)  # raises where somebody else wrote it
        if not has_table and sum(1 for _ in self.layout.root.glob("data/*/*.parquet")) <= 1:
            return  # killed in its very first episode
        if not has_table or not self.layout.info.exists():
            raise DatasetError("has lost its table of episodes or its info: repair it", file=self.layout.root)
        metadata = read_metadata(self.layout, with_stats=True)
        if metadata.problems:
            raise DatasetError(f"is damaged and cannot be appended to; repair it first: {metadata.problems[0]}")
        self._metadata = metadata
        self._stats = aggregate(entry.stats for entry in metadata.entries)
        write_summary(self.layout, metadata, self._stats)


def _mismatch(name: str, camera: CameraInfo, schema: Schema) -> str:
    """Why a camera does not fit into a dataset; empty where it does."""
    stored = schema.cameras.get(name)
    if stored is None:
        return f"has a camera {name!r}, and the dataset only {', '.join(schema.cameras) or 'none'}"
    given = columns_of(camera, stored.rgb == "png")
    same_size = (given.width_px, given.height_px) == (stored.width_px, stored.height_px)
    if same_size and given.rgb in (None, stored.rgb) and given.has_depth <= stored.has_depth:
        return ""
    return f"camera {name!r} delivers {given}, and the dataset stores {stored}"


def _check_may_hold_a_dataset(layout: Layout) -> None:
    layout.root.mkdir(parents=True, exist_ok=True)
    others = [path.name for path in layout.root.iterdir() if path.name != CONFIG_FILE]
    if others and not layout.private.exists() and not layout.info.exists():
        raise DatasetError(f"holds other files ({others[0]}): choose a new or empty folder", file=layout.root)
