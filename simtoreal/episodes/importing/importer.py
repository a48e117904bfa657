"""`simtoreal import`: episodes of a recording one by one into a dataset, those that are there already skipped.

A broken episode is reported and the others are imported. Stopped at any time, the same command goes on behind the last
whole episode.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.importing.formats import open_source
from simtoreal.episodes.importing.settings import ImportConfig, Needed
from simtoreal.episodes.importing.source import EpisodeSource, SourceEpisode, SourceError, source_id
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.metadata import read_metadata
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame
from simtoreal.episodes.verify import episode_problems
from simtoreal.episodes.writer import DatasetWriter, WriterSettings
from simtoreal.progress import Bar, Progress

REPORT = "import.json"
EXIT_SOME_BROKEN = 1
_TOLD = 20
ADVICE = {
    Needed.CALIBRATION: "K of every camera: give cameras.NAME.K in the mapping",
    Needed.HAND_EYE: "the pose of every camera: give cameras.NAME.mount and T_mount_cam in the mapping",
    Needed.POSE: "the tool pose: give tool in the mapping",
    Needed.GRIPPER: "the gripper opening: give gripper in the mapping",
    Needed.JOINTS: "joint positions: give joints in the mapping",
    Needed.DEPTH: "depth images of every camera: give cameras.NAME.depth in the mapping",
    Needed.ACTION: "actions: give action or command in the mapping",
    Needed.SUCCESS: "whether it succeeded: give success=true or success=false, or success in the mapping",
}


@dataclass
class Outcome:
    """What became of the episodes of a recording."""

    imported: int = 0
    skipped: int = 0
    frames: int = 0
    broken: dict[str, str] = field(default_factory=dict)  # by name of the episode
    remarks: dict[str, list[str]] = field(default_factory=dict)
    lacking: set[Needed] = field(default_factory=set)


def import_episodes(config: ImportConfig, progress: Progress | None = None) -> int:
    """Imports a recording; returns 0, or 1 if some episodes could not be imported.

    Raises:
        ConfigError: a setting or a mapping cannot be used.
        SourceError: the recording cannot be read at all.
        DatasetError: the dataset cannot be written.
    """
    progress = progress or Progress()
    source = open_source(config)
    progress.say(f"{source.path}:")
    for assumption in source.assumptions:
        progress.say(f"  assumed: {assumption}")
    names = list(itertools.islice(source.names(), config.max_episodes))
    if not names:
        raise SourceError("there is no episode in it", source.path)
    outcome = Outcome()
    with DatasetWriter(config.out, WriterSettings(config.lossless_rgb, config.depth_unit_m)) as writer:
        _Run(source, writer, config, outcome, progress).all(names)
        total = writer.num_episodes
    _verify(config.out, {source_id(source.path, name) for name in names}, progress)
    _report(config.out, source, outcome)
    _tell(progress, config, outcome, total)
    if not total:
        raise SourceError(f"no episode could be imported: {next(iter(outcome.broken.values()))}")
    return EXIT_SOME_BROKEN if outcome.broken else 0


@dataclass(frozen=True)
class _Run:
    """One recording on its way into a dataset."""

    source: EpisodeSource
    writer: DatasetWriter
    config: ImportConfig
    outcome: Outcome
    progress: Progress

    def all(self, names: Sequence[str]) -> None:
        """Imports what is not there yet."""
        there = {entry.info.source for entry in self.writer.entries}
        left = [name for name in names if source_id(self.source.path, name) not in there]
        self.outcome.skipped = len(names) - len(left)
        if len(left) == 1:
            self._one(left[0], None)  # its frames are counted instead
            return
        with self.progress.task("import", len(left)) as bar:
            for name in left:
                self._one(name, bar)
                bar.advance(1, f"{len(self.outcome.broken)} broken")

    def _one(self, name: str, episodes: Bar | None) -> None:
        try:
            episode = self.source.open(name)
            with self._frame_counter(episode, episodes) as count:
                self._write(episode, count)
        except SourceError as error:
            self.outcome.broken[name] = str(error)
        except DatasetError as error:
            if isinstance(error.__cause__, OSError):
                raise  # the disk, not the episode
            self.outcome.broken[name] = str(SourceError(error.what, self.source.path, name, error.frame))
        else:
            self.outcome.imported += 1
            if told := list(episode.remarks()):
                self.outcome.remarks[name] = told

    @contextmanager
    def _frame_counter(self, episode: SourceEpisode, episodes: Bar | None) -> Iterator[Callable[[int], None]]:
        """What to call with the number of a frame: a bar of its own, or a note on the bar of the episodes."""
        if episodes is not None:
            yield lambda number: None if number % 10 else episodes.advance(0, f"frame {number}")
            return
        with self.progress.task("import, frames", episode.num_frames or 1) as bar:
            yield lambda number: bar.advance()

    def _write(self, episode: SourceEpisode, count: Callable[[int], None]) -> None:
        has = dict.fromkeys(Needed, False)
        with self.writer.episode(episode.info) as written:
            for frame in episode.frames:
                written.add(frame)
                _note(frame, has)
                count(written.num_frames)
            end = episode.end()
            lacking = _lacking(episode, end, has)
            needed = [ADVICE[need] for need in self.config.require if need in lacking]
            if needed:
                raise SourceError(f"it lacks {'; '.join(needed)}", Path(episode.info.source))
            num_frames = written.num_frames
            written.finish(end)
        self.outcome.frames += num_frames
        self.outcome.lacking |= lacking


def _verify(out: Path, sources: set[str], progress: Progress) -> None:
    """Reads back every byte of what was imported, now or before.

    Raises:
        DatasetError: something is not as it was written.
    """
    layout = Layout(out)
    if not layout.info.exists():
        return  # nothing could be imported
    metadata = read_metadata(layout)
    for problem in metadata.problems:
        raise problem
    entries = [entry for entry in metadata.entries if entry.info.source in sources]
    with progress.task("verify", len(entries)) as bar:
        for entry in entries:
            for problem in episode_problems(layout, entry, metadata):
                raise problem
            bar.advance()


def _note(frame: EpisodeFrame, has: dict[Needed, bool]) -> None:
    """Remembers what any frame has."""
    images = frame.images.values()
    has[Needed.POSE] |= frame.T_base_tcp is not None
    has[Needed.GRIPPER] |= frame.gripper_width_m is not None
    has[Needed.JOINTS] |= frame.joint_positions_rad is not None
    has[Needed.ACTION] |= frame.commanded is not None
    has[Needed.DEPTH] |= bool(images) and all(image.depth_m is not None for image in images)


def _lacking(episode: SourceEpisode, end: EpisodeEnd, has: dict[Needed, bool]) -> set[Needed]:
    cameras = episode.info.cameras.values()
    has[Needed.CALIBRATION] = all(camera.K is not None for camera in cameras)
    has[Needed.HAND_EYE] = all(camera.T_mount_cam is not None for camera in cameras)
    has[Needed.SUCCESS] = end.success is not None
    return {need for need, there in has.items() if not there}


def _report(out: Path, source: EpisodeSource, outcome: Outcome) -> None:
    """Adds to `import.json` what was assumed and what was found, source by source."""
    path = out / REPORT
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = {}
    entry: dict[str, Any] = {
        "assumptions": list(source.assumptions),
        "imported": outcome.imported,
        "skipped": outcome.skipped,
        "broken": outcome.broken,
        "remarks": outcome.remarks,
        "lacking": sorted(outcome.lacking),
    }
    content = {**(earlier if isinstance(earlier, dict) else {}), str(source.path.resolve()): entry}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _tell(progress: Progress, config: ImportConfig, outcome: Outcome, total: int) -> None:
    for line in _lines(outcome):
        progress.say(line)
    progress.say(
        f"{outcome.imported} episodes with {outcome.frames} frames imported, {outcome.skipped} were there already, "
        f"{len(outcome.broken)} are broken; {config.out} holds {total}"
    )


def _lines(outcome: Outcome) -> Iterator[str]:
    told = [(name, remark) for name, remarks in outcome.remarks.items() for remark in remarks]
    yield from (f"  {name}: {remark}" for name, remark in told[:_TOLD])
    yield from (f"  broken: {problem}" for problem in itertools.islice(outcome.broken.values(), _TOLD))
    left_out = max(len(told) - _TOLD, 0) + max(len(outcome.broken) - _TOLD, 0)
    if left_out:
        yield f"  and {left_out} more, in {REPORT}"
    for need in sorted(outcome.lacking):
        yield f"  lacking: {ADVICE[need]}"
