"""What a dataset says of itself: `meta/info.json`, the tasks, the table of episodes, the statistics over all of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from simtoreal.episodes.entries import EpisodeEntry, arrow_schema, from_row, to_table
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.feature_stats import Stats, to_plain
from simtoreal.episodes.features import Schema
from simtoreal.episodes.layout import (
    CODEBASE_VERSION,
    DATA_FILE_MB,
    DATA_PATH,
    EPISODES_PER_FILE,
    FILES_PER_CHUNK,
    VIDEO_FILE_MB,
    VIDEO_PATH,
    Layout,
    Slot,
)
from simtoreal.episodes.meta_files import read_json, read_rows, write_json, write_table

FORMAT = 1  # of what this package adds to lerobot's format
_TASK_COLUMN = "__index_level_0__"  # where pandas keeps an index without a name


@dataclass(frozen=True)
class Metadata:
    """Everything of a dataset but its frames; `problems` are entries that cannot be read."""

    schema: Schema
    tasks: tuple[str, ...]
    entries: tuple[EpisodeEntry, ...]
    problems: tuple[DatasetError, ...] = field(default=())

    @property
    def num_rows(self) -> int:
        return sum(entry.num_frames for entry in self.entries)


def read_metadata(layout: Layout, *, with_stats: bool = False) -> Metadata:
    """Reads what a dataset says of itself; entries that cannot be read are among its problems.

    Raises:
        DatasetError: it is not a dataset, of another version or of somebody else, or nothing of it can be read.
    """
    return read_entries(layout, read_schema(layout), with_stats=with_stats)


def read_entries(layout: Layout, schema: Schema, *, with_stats: bool = False) -> Metadata:
    """Reads the table of episodes and the tasks, with the columns already known.

    Raises:
        DatasetError: the tasks cannot be read.
    """
    entries: list[EpisodeEntry] = []
    problems: list[DatasetError] = []
    for path in sorted(layout.episodes_folder.glob("chunk-*/file-*.parquet")):
        try:
            _read_file(path, schema, with_stats, (entries, problems))
        except DatasetError as error:
            problems.append(error)
    return Metadata(schema, read_tasks(layout), tuple(entries), tuple(problems))


def _read_file(
    path: Path, schema: Schema, with_stats: bool, found: tuple[list[EpisodeEntry], list[DatasetError]]
) -> None:
    names = [name for name in arrow_schema(schema).names if with_stats or not name.startswith("stats/")]
    for row in read_rows(path, names):
        try:
            entry = from_row(row, schema)
            if any(other.index == entry.index for other in found[0][-1:]):
                raise DatasetError("two episodes have this number", episode=entry.index)
            found[0].append(entry)
        except DatasetError as error:
            found[1].append(DatasetError(error.what, file=path, episode=error.episode))


def read_schema(layout: Layout) -> Schema:
    """What the episodes of a dataset have in common.

    Raises:
        DatasetError: the folder is not a dataset that this package wrote, or its info is damaged.
    """
    check_is_dataset(layout)
    info = read_json(layout.info)
    version = info.get("codebase_version")
    if version != CODEBASE_VERSION:
        raise DatasetError(
            f"is a dataset of version {version!r}, and {CODEBASE_VERSION!r} is read: "
            "bring it over with `simtoreal import source=DIR out=DIR`",
            file=layout.info,
        )
    ours = info.get("simtoreal")
    if not isinstance(ours, dict):
        raise DatasetError(
            "was not written by simtoreal: bring it over with `simtoreal import source=DIR out=DIR`", file=layout.info
        )
    if ours.get("format") != FORMAT:
        raise DatasetError(
            f"has format {ours.get('format')!r} of simtoreal, and {FORMAT} is read: update simtoreal", file=layout.info
        )
    try:
        schema = Schema.from_plain(info.get("fps"), ours)  # type: ignore[arg-type]  # checked there
    except DatasetError as error:
        raise DatasetError(error.what, file=layout.info) from error
    _check_features(info, schema, layout.info)
    return schema


def check_is_dataset(layout: Layout) -> None:
    """Raises `DatasetError` that says what the folder is instead of a dataset."""
    if not layout.root.is_dir():
        raise DatasetError("there is no such folder", file=layout.root)
    if not layout.info.is_file():
        if next(layout.root.glob("data/*/*.parquet"), None) is not None:
            raise DatasetError("has lost its meta/info.json: repair it", file=layout.root)
        begun = layout.private.is_dir()
        what = "holds no finished episode yet" if begun else "is not a LeRobotDataset: it has no meta/info.json"
        raise DatasetError(what, file=layout.root)


def _check_features(info: dict[str, Any], schema: Schema, path: Path) -> None:
    found, expected = info.get("features"), schema.features()
    if not isinstance(found, dict):
        raise DatasetError("lacks its features", file=path)
    for name in sorted(found.keys() ^ expected.keys()):
        where = "is not" if name in expected else "is"
        raise DatasetError(f"column {name!r} {where} among the features, against the section simtoreal", file=path)
    for name, feature in expected.items():
        said = found[name] if isinstance(found[name], dict) else {}
        for key in ("dtype", "shape"):
            if said.get(key) != feature[key]:
                raise DatasetError(
                    f"column {name!r} has {key} {said.get(key)!r}, and the section simtoreal says {feature[key]!r}",
                    file=path,
                )
    for key, template in (("data_path", DATA_PATH), ("video_path", VIDEO_PATH if schema.video_keys else None)):
        if info.get(key) != template:
            raise DatasetError(f"{key} must be {template!r}, got {info.get(key)!r}", file=path)


def read_tasks(layout: Layout) -> tuple[str, ...]:
    """The task of each task_index.

    Raises:
        DatasetError: the table is not there or damaged.
    """
    tasks = {row["task_index"]: row[_TASK_COLUMN] for row in read_rows(layout.tasks, ["task_index", _TASK_COLUMN])}
    if tasks.keys() != set(range(len(tasks))) or not all(isinstance(task, str) for task in tasks.values()):
        raise DatasetError("task_index must count from 0 and every task be a text", file=layout.tasks)
    return tuple(tasks[index] for index in range(len(tasks)))


def write_tasks(layout: Layout, tasks: Sequence[str]) -> None:
    """The table of tasks, with the tasks as what pandas takes for the index, as lerobot looks them up."""
    described = [
        {"name": name, "field_name": name or _TASK_COLUMN, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in (("task_index", "int64", "int64"), (None, "unicode", "object"))
    ]
    pandas = {
        "index_columns": [_TASK_COLUMN],
        "column_indexes": [],
        "columns": described,
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    columns = pa.schema([("task_index", pa.int64()), (_TASK_COLUMN, pa.string())], {"pandas": json.dumps(pandas)})
    table = pa.Table.from_pydict({"task_index": list(range(len(tasks))), _TASK_COLUMN: list(tasks)}, schema=columns)
    write_table(layout.tasks, table)


def write_entries(layout: Layout, entries: Sequence[EpisodeEntry], schema: Schema) -> None:
    """Writes the last file of the table of episodes: with its new name the last episode belongs to the dataset."""
    number = (len(entries) - 1) // EPISODES_PER_FILE
    slot = Slot.at(number)
    write_table(layout.episodes(slot), to_table(entries[number * EPISODES_PER_FILE :], slot, schema))


def write_all_entries(layout: Layout, entries: Sequence[EpisodeEntry], schema: Schema) -> None:
    """Writes the table of episodes anew."""
    last = max((len(entries) - 1) // EPISODES_PER_FILE, 0)
    for number in range(last + 1):
        write_entries(layout, entries[: (number + 1) * EPISODES_PER_FILE], schema)
    for path in layout.episodes_folder.glob("chunk-*/file-*.parquet"):
        if path not in {layout.episodes(Slot.at(number)) for number in range(last + 1)}:
            path.unlink()


def write_summary(layout: Layout, metadata: Metadata, stats: Mapping[str, Stats]) -> None:
    """`meta/info.json` and `meta/stats.json`: what follows from the episodes, and is written after them.

    Args:
        stats: over all episodes of `metadata`, as `aggregate` gives them.
    """
    write_info(layout, metadata)
    write_json(layout.stats, to_plain(stats))


def write_info(layout: Layout, metadata: Metadata) -> None:
    """`meta/info.json`."""
    schema, entries = metadata.schema, metadata.entries
    write_json(
        layout.info,
        {
            "codebase_version": CODEBASE_VERSION,
            "robot_type": entries[0].info.robot if entries else "",
            "total_episodes": len(entries),
            "total_frames": metadata.num_rows,
            "total_tasks": len(metadata.tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": int(schema.fps) if schema.fps == int(schema.fps) else schema.fps,
            "splits": {"train": f"0:{len(entries)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if schema.video_keys else None,
            "features": schema.features(),
            "simtoreal": {"format": FORMAT, **schema.to_plain()},
        },
    )
