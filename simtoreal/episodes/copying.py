"""Copying an episode from one dataset into another: pictures stay as they are stored, only numbers of rows change."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simtoreal.episodes.entries import DESCRIPTION_KEY, EpisodeEntry, StoredFile, describe
from simtoreal.episodes.episode_files import Place, open_rows
from simtoreal.episodes.episode_writer import stored
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.layout import Layout, Slot
from simtoreal.episodes.meta_files import explain_read_errors, explain_write_errors, sha256_of
from simtoreal.episodes.reader import RecordedEpisode


def copy_episode(
    episode: RecordedEpisode, target: Layout, place: Place, slot: Slot
) -> tuple[EpisodeEntry, dict[Path, Path]]:
    """Copies the files of an episode into the folder for what is in progress.

    Returns:
        Its entry at the new place, and where each file is and shall lie.

    Raises:
        DatasetError: a file of the episode is damaged, or the copy cannot be written.
    """
    folder, source = target.in_progress, episode.entry
    files: dict[Path, Path] = {}
    with explain_write_errors(folder, place.episode):
        folder.mkdir(parents=True, exist_ok=True)
        for key, video in source.videos.items():
            original = episode.layout.video(key, video.slot)
            _check_hash(original, video, source.index)
            files[folder / f"{key}.mp4"] = target.video(key, slot)
            shutil.copyfile(original, folder / f"{key}.mp4")
        videos = {key: stored(folder / f"{key}.mp4", slot) for key in source.videos}
        entry = replace(
            source,
            stats=episode.description().stats,
            index=place.episode,
            first_row=place.first_row,
            videos=videos,
            data=StoredFile(slot),
        )
        data = folder / "data.parquet"
        rewrite_rows(episode.path, data, place, describe(entry, episode.schema))
        files[data] = target.data(slot)
    return replace(entry, data=stored(data, slot)), files


def rewrite_rows(original: Path, copy: Path, place: Place, description: str) -> None:
    """Copies a data file, an episode's place in its dataset replaced; a few rows at a time.

    Raises:
        DatasetError: the original is damaged.
        OSError: the copy cannot be written.
    """
    with explain_read_errors(original, place.episode), pq.ParquetFile(original) as source:
        columns = source.schema_arrow.remove_metadata()
        with open_rows(copy, columns) as writer:
            row = 0
            for group in range(source.metadata.num_row_groups):
                table = source.read_row_group(group)
                index = np.arange(row, row + len(table))
                for name, values in (
                    ("episode_index", np.full(len(table), place.episode)),
                    ("index", place.first_row + index),
                    ("task_index", np.full(len(table), place.task)),
                ):
                    table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.int64()))
                writer.write_table(table.cast(columns))
                row += len(table)
            writer.add_key_value_metadata({DESCRIPTION_KEY: description})


def _check_hash(path: Path, expected: StoredFile, episode: int) -> None:
    with explain_read_errors(path, episode):
        found = sha256_of(path)
    if found != expected.sha256:
        raise DatasetError("is not the file that was written: its hash differs", file=path, episode=episode)
