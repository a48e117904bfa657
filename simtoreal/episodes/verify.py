"""Looking for everything that can be wrong with a dataset: every byte, every row, every picture."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from simtoreal.episodes.entries import EpisodeEntry
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.features import Schema
from simtoreal.episodes.layout import IMAGE_PREFIX, Layout
from simtoreal.episodes.meta_files import explain_read_errors, read_json, sha256_of
from simtoreal.episodes.metadata import Metadata, read_metadata
from simtoreal.episodes.reader import RecordedEpisode, check_files

_TIME_TOLERANCE_S = 1e-4  # what lerobot allows between a row's timestamp and its picture's


def verify(layout: Layout, *, decode: bool = False) -> Iterator[DatasetError]:
    """Yields all that is wrong with a dataset, episode by episode.

    Args:
        layout: of the dataset.
        decode: also decode every picture; hashes already say whether the files are those that were written.
    """
    try:
        metadata = read_metadata(layout)
    except DatasetError as error:
        yield error
        return
    yield from metadata.problems
    yield from _summary_problems(layout, metadata)
    first_row = 0  # as it should be
    for index, entry in enumerate(metadata.entries):
        if (entry.index, entry.first_row) != (index, first_row):
            yield DatasetError(
                f"is number {index} and begins at row {first_row}, and the table says row {entry.first_row}",
                file=layout.episodes_folder,
                episode=entry.index,
            )
        yield from episode_problems(layout, entry, metadata, decode=decode)
        first_row += entry.num_frames
    yield from _strangers(layout, metadata)


def episode_problems(
    layout: Layout, entry: EpisodeEntry, metadata: Metadata, *, decode: bool = False
) -> Iterator[DatasetError]:
    """Yields all that is wrong with one episode; where a file is damaged, nothing further."""
    schema = metadata.schema
    damaged = list(_file_problems(layout, entry, schema))
    yield from damaged
    if damaged:
        return
    try:
        episode = RecordedEpisode(layout, entry, schema)
    except DatasetError as error:
        yield error
        return
    try:
        yield from _row_problems(episode, len(metadata.tasks))
        yield from _picture_problems(episode, decode)
    finally:
        episode.close()


def _file_problems(layout: Layout, entry: EpisodeEntry, schema: Schema) -> Iterator[DatasetError]:
    try:
        check_files(layout, entry, schema)
    except DatasetError as error:
        yield error
        return
    for path, stored in entry.paths(layout):
        with explain_read_errors(path, entry.index):
            found = sha256_of(path)
        if found != stored.sha256:
            yield DatasetError("was changed after it was written: its hash differs", file=path, episode=entry.index)


def _row_problems(episode: RecordedEpisode, num_tasks: int) -> Iterator[DatasetError]:
    """Numbers of rows that do not count, times that go backwards, poses that are half known."""
    entry, steps = episode.entry, np.arange(len(episode))
    expected = {
        "frame_index": steps,
        "episode_index": np.full(len(steps), entry.index),
        "index": entry.first_row + steps,
        "timestamp": (steps / episode.schema.fps).astype(np.float32),
    }
    wrong = {name: np.abs(episode.column(name) - values) > _TIME_TOLERANCE_S for name, values in expected.items()}
    wrong["task_index"] = ~np.isin(episode.column("task_index"), np.arange(num_tasks))
    names = ["observation.state", *(f"camera_extrinsics.{name}" for name in episode.schema.cameras)]
    for name in names:
        pose = episode.column(name)[:, : 7 if name == "observation.state" else 16]
        wrong[name] = np.isnan(pose).any(axis=1) & ~np.isnan(pose).all(axis=1)
    wrong["control_timestamp"] = _backwards(episode.column("control_timestamp"), strictly=True)
    for name in ("state", *episode.schema.cameras):
        wrong[f"capture_timestamp.{name}"] = _backwards(episode.column(f"capture_timestamp.{name}"), strictly=False)
    for name, rows in wrong.items():
        if rows.any():
            row = int(np.argmax(rows))
            what = f"column {name!r} cannot be true: {episode.column(name)[row]} ({int(rows.sum())} such rows)"
            yield DatasetError(what, file=episode.path, episode=entry.index, frame=row)


def _backwards(times_s: np.ndarray[Any, np.dtype[Any]], *, strictly: bool) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows whose time lies before the latest one known until there; unknown times are passed over."""
    known = np.flatnonzero(np.isfinite(times_s))
    steps = np.diff(times_s[known])
    rows = np.zeros(len(times_s), dtype=bool)
    rows[known[1:]] = steps <= 0 if strictly else steps < 0
    if strictly:
        rows |= ~np.isfinite(times_s)
    return rows


def _picture_problems(episode: RecordedEpisode, decode: bool) -> Iterator[DatasetError]:
    for name in episode.entry.videos:
        camera = name.removeprefix(IMAGE_PREFIX)
        try:
            found = episode.video(camera).num_frames
        except DatasetError as error:
            yield DatasetError(error.what, file=error.file, episode=episode.entry.index)
            continue
        if found != len(episode):
            path = episode.video(camera).path
            yield DatasetError(f"has {found} pictures for {len(episode)} rows", file=path, episode=episode.entry.index)
    if decode:
        yield from _decoding_problems(episode)


def _decoding_problems(episode: RecordedEpisode) -> Iterator[DatasetError]:
    for index in range(len(episode)):
        try:
            episode.frame(index)
        except DatasetError as error:
            yield DatasetError(error.what, file=error.file, episode=episode.entry.index, frame=index)


def _summary_problems(layout: Layout, metadata: Metadata) -> Iterator[DatasetError]:
    said = read_json(layout.info)
    true = {
        "total_episodes": len(metadata.entries),
        "total_frames": metadata.num_rows,
        "total_tasks": len(metadata.tasks),
    }
    for name, value in true.items():
        if said.get(name) != value:
            yield DatasetError(f"says {name} {said.get(name)!r}, and there are {value}: repair it", file=layout.info)
    try:
        read_json(layout.stats)
    except DatasetError as error:
        yield error


def _strangers(layout: Layout, metadata: Metadata) -> Iterator[DatasetError]:
    """Files that lerobot would read and no episode knows."""
    known = {path for entry in metadata.entries for path, _ in entry.paths(layout)}
    for path in sorted([*layout.root.glob("data/*/*.parquet"), *layout.root.glob("videos/*/*/*.mp4")]):
        if path not in known:
            yield DatasetError("belongs to no episode: left by a recording that was killed? repair it", file=path)
