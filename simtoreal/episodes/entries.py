"""The table of episodes under `meta/episodes`: lerobot's columns, and what is known of an episode beside its frames."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.feature_stats import STATISTICS, Stats
from simtoreal.episodes.features import Schema
from simtoreal.episodes.layout import Layout, Slot
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeInfo
from simtoreal.evaluation.records import to_plain

DESCRIPTION_KEY = b"simtoreal"  # in the metadata of a data file, so that a lost table can be made again


@dataclass(frozen=True)
class StoredFile:
    """Where the rows or the pictures of an episode lie, and what the file must look like."""

    slot: Slot
    sha256: str = ""
    num_bytes: int = 0


@dataclass(frozen=True)
class EpisodeEntry:
    """Everything about one episode of a dataset but its frames."""

    index: int
    num_frames: int
    first_row: int  # of the dataset
    info: EpisodeInfo
    end: EpisodeEnd
    data: StoredFile
    videos: Mapping[str, StoredFile] = field(default_factory=dict)  # by column
    stats: Mapping[str, Stats] = field(default_factory=dict)  # by column

    @property
    def files(self) -> tuple[StoredFile, ...]:
        return (self.data, *self.videos.values())

    def paths(self, layout: Layout) -> Iterator[tuple[Path, StoredFile]]:
        """Where each file of the episode lies."""
        yield layout.data(self.data.slot), self.data
        for key, video in self.videos.items():
            yield layout.video(key, video.slot), video


def arrow_schema(schema: Schema) -> pa.Schema:
    """Types of the columns under `meta/episodes`."""
    integers = ("episode_index", "length", "dataset_from_index", "dataset_to_index")
    slots = ["data", "meta/episodes", *(f"videos/{key}" for key in schema.video_keys)]
    columns: list[tuple[str, pa.DataType]] = [("tasks", pa.list_(pa.string()))]
    columns += [(name, pa.int64()) for name in integers]
    columns += [(f"{slot}/{part}", pa.int64()) for slot in slots for part in ("chunk_index", "file_index")]
    columns += [
        (f"videos/{key}/{side}_timestamp", pa.float64()) for key in schema.video_keys for side in ("from", "to")
    ]
    files = ["data", *(f"videos/{key}" for key in schema.video_keys)]
    columns += [(f"{file}/sha256", pa.string()) for file in files] + [(f"{file}/bytes", pa.int64()) for file in files]
    columns += [("success", pa.bool_())]
    columns += [(name, pa.string()) for name in _TEXTS]
    for key, feature in schema.features().items():
        nested = feature["dtype"] in ("image", "video")
        vector = pa.list_(pa.float64())
        picture = pa.list_(pa.list_(vector))
        columns += [
            (f"stats/{key}/{name}", pa.list_(pa.int64()) if name == "count" else picture if nested else vector)
            for name in STATISTICS
        ]
    return pa.schema(columns)


_TEXTS = ("failure", "note", "domain", "robot", "object_name", "source", "world_sample", "labels", "cameras")


def to_table(entries: Sequence[EpisodeEntry], slot: Slot, schema: Schema) -> pa.Table:
    """The table of one file under `meta/episodes`."""
    columns = arrow_schema(schema)
    return pa.Table.from_pylist([_row(entry, slot, schema) for entry in entries], schema=columns)


def _row(entry: EpisodeEntry, slot: Slot, schema: Schema) -> dict[str, Any]:
    info, end = entry.info, entry.end
    row: dict[str, Any] = {
        "episode_index": entry.index,
        "tasks": [info.task],
        "length": entry.num_frames,
        "dataset_from_index": entry.first_row,
        "dataset_to_index": entry.first_row + entry.num_frames,
        **_slot_columns("meta/episodes", slot),
        **_file_columns("data", entry.data),
        "success": end.success,
        "failure": end.failure,
        "note": end.note,
        "domain": info.domain,
        "robot": info.robot,
        "object_name": info.object_name,
        "source": info.source,
        "world_sample": json.dumps(to_plain(end.world_sample), allow_nan=False),
        "labels": json.dumps(to_plain(end.labels), allow_nan=False),
        "cameras": json.dumps({name: to_plain(asdict(camera)) for name, camera in info.cameras.items()}),
    }
    for key, file in entry.videos.items():
        row |= _file_columns(f"videos/{key}", file)
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": entry.num_frames / schema.fps}
    for key, stats in entry.stats.items():
        row |= {
            f"stats/{key}/{name}": [int(value[0])] if name == "count" else value.tolist()
            for name, value in stats.items()
        }
    return row


def _slot_columns(prefix: str, slot: Slot) -> dict[str, Any]:
    return {f"{prefix}/chunk_index": slot.chunk, f"{prefix}/file_index": slot.file}


def _file_columns(prefix: str, file: StoredFile) -> dict[str, Any]:
    return {
        **_slot_columns(prefix, file.slot),
        f"{prefix}/sha256": file.sha256,
        f"{prefix}/bytes": file.num_bytes,
    }


def describe(entry: EpisodeEntry, schema: Schema) -> str:
    """Everything about an episode but the hash of its data file, to be kept in that file."""
    row = _row(entry, Slot(0, 0), schema)
    return json.dumps({"fps": schema.fps, "schema": schema.to_plain(), "entry": row}, allow_nan=False)


def from_description(text: str | bytes) -> tuple[EpisodeEntry, Schema]:
    """The inverse of `describe`.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        values = json.loads(text)
        schema = Schema.from_plain(values["fps"], values["schema"])
        return from_row(dict(values["entry"]), schema), schema
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"its description of the episode cannot be read: {error!r}") from error


def from_row(row: Mapping[str, Any], schema: Schema) -> EpisodeEntry:
    """The inverse of `to_table` for one row.

    Raises:
        DatasetError: a column is missing or holds what it should not.
    """
    try:
        return _entry(row, schema)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        episode = row.get("episode_index")
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"its entry in the table of episodes cannot be read: {error!r}",
            episode=episode if isinstance(episode, int) else None,
        ) from error


def _entry(row: Mapping[str, Any], schema: Schema) -> EpisodeEntry:
    entry = EpisodeEntry(
        index=int(row["episode_index"]),
        num_frames=int(row["length"]),
        first_row=int(row["dataset_from_index"]),
        info=EpisodeInfo(
            fps=schema.fps,
            cameras={name: _camera(values) for name, values in json.loads(row["cameras"]).items()},
            task=str(row["tasks"][0]),
            domain=str(row["domain"]),
            robot=str(row["robot"]),
            object_name=str(row["object_name"]),
            source=str(row["source"]),
        ),
        end=EpisodeEnd(
            success=None if row["success"] is None else bool(row["success"]),
            failure=str(row["failure"]),
            note=str(row["note"]),
            world_sample=dict(json.loads(row["world_sample"])),
            labels=dict(json.loads(row["labels"])),
        ),
        data=_file(row, "data"),
        videos={key: _file(row, f"videos/{key}") for key in schema.video_keys},
        stats=_stats(row, schema),
    )
    if entry.num_frames < 1 or entry.first_row < 0 or entry.index < 0:
        raise ValueError(f"length, dataset_from_index or episode_index is out of range: {entry.num_frames} frames")
    unknown = [name for name in entry.info.cameras if name not in schema.cameras]
    if unknown:
        raise ValueError(f"cameras {unknown} are not in meta/info.json")
    return entry


def _file(row: Mapping[str, Any], prefix: str) -> StoredFile:
    slot = Slot(int(row[f"{prefix}/chunk_index"]), int(row[f"{prefix}/file_index"]))
    if min(slot) < 0:
        raise ValueError(f"{prefix} names a file of negative number")
    return StoredFile(slot, str(row[f"{prefix}/sha256"]), int(row[f"{prefix}/bytes"]))


def _camera(values: Mapping[str, Any]) -> CameraInfo:
    arrays = {
        name: None if values[name] is None else np.array(values[name], dtype=np.float64).reshape(shape)
        for name, shape in (("K", (3, 3)), ("distortion", (5,)), ("T_mount_cam", (4, 4)))
    }
    if values["mount"] not in ("wrist", "external", "unknown"):
        raise ValueError(f"mount must be wrist, external or unknown, got {values['mount']!r}")
    return CameraInfo(
        width_px=int(values["width_px"]),
        height_px=int(values["height_px"]),
        has_rgb=bool(values["has_rgb"]),
        has_depth=bool(values["has_depth"]),
        mount=values["mount"],
        **arrays,
    )


def _stats(row: Mapping[str, Any], schema: Schema) -> dict[str, Stats]:
    stats: dict[str, Stats] = {}
    for key in schema.features():
        values = {name: row.get(f"stats/{key}/{name}") for name in STATISTICS}
        if values["mean"] is not None:
            stats[key] = {name: np.array(value, dtype=np.float64) for name, value in values.items()}
    return stats
