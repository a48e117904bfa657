"""Making a damaged dataset whole again: what is intact stays, what is broken is set aside, tables are written anew.

Every data file holds a description of its episode, so that the tables can be made again without one another.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from simtoreal.episodes.copying import rewrite_rows
from simtoreal.episodes.entries import EpisodeEntry, StoredFile, describe
from simtoreal.episodes.episode_files import Place
from simtoreal.episodes.episode_writer import stored
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.feature_stats import aggregate
from simtoreal.episodes.features import Schema
from simtoreal.episodes.folder_lock import FolderLock
from simtoreal.episodes.layout import Layout, Slot
from simtoreal.episodes.meta_files import explain_write_errors, sync
from simtoreal.episodes.metadata import (
    Metadata,
    read_entries,
    read_schema,
    read_tasks,
    write_all_entries,
    write_summary,
    write_tasks,
)
from simtoreal.episodes.reader import read_description
from simtoreal.episodes.verify import episode_problems


def repair(folder: Path) -> list[DatasetError]:
    """Makes a dataset whole again and returns what was wrong with it.

    Episodes that are broken, and files that belong to none, are moved to `.simtoreal/set_aside` and nothing is
    deleted; those after them move up. An episode that is whole but was not yet in the table comes back.

    Raises:
        DatasetError: it is no dataset of this package, another process writes to it, or nothing in it is intact.
    """
    layout = Layout(Path(folder))
    if not layout.root.is_dir():
        raise DatasetError("there is no such folder", file=layout.root)
    paths = sorted(layout.root.glob("data/*/*.parquet"))
    if not paths:
        raise DatasetError("holds no data files to repair", file=layout.root)
    lock = FolderLock(layout.private / "lock")
    try:
        return _repair(layout, paths)
    finally:
        lock.release()


def _repair(layout: Layout, paths: Iterable[Path]) -> list[DatasetError]:
    problems: list[DatasetError] = []
    found = _described(layout, paths, problems)
    if not found:
        raise DatasetError(f"no data file can be read: {problems[-1]}", file=layout.root)
    schema = found[0][1]
    known = _table(layout, schema, problems)
    tasks = tuple(dict.fromkeys(entry.info.task for entry, _ in found))
    whole: list[EpisodeEntry] = []
    for entry, its_schema in sorted(found, key=lambda item: item[0].index):
        path, stands_there = layout.data(entry.data.slot), entry.data.slot in known
        if its_schema != schema:
            problems.append(DatasetError("is stored otherwise than the first episode", file=path, episode=entry.index))
            continue
        hashed = replace(entry, data=known[entry.data.slot] if stands_there else stored(path, entry.data.slot))
        # Without a hash from the table, only decoding shows whether the file is whole.
        broken = list(episode_problems(layout, hashed, Metadata(schema, tasks, ()), decode=not stands_there))
        problems += broken
        whole += [] if broken else [hashed]
    if not whole:
        raise DatasetError(f"no episode is intact: {problems[-1]}", file=layout.root)
    _set_aside(layout, whole)
    _write_tables(layout, Metadata(schema, tasks, tuple(_renumbered(layout, whole, Metadata(schema, tasks, ())))))
    return problems


def _table(layout: Layout, schema: Schema, problems: list[DatasetError]) -> dict[Slot, StoredFile]:
    """Data files as the table of episodes knows them, as far as there is one; also says what else is damaged."""
    for read in (read_schema, read_tasks):
        try:
            read(layout)
        except DatasetError as error:
            problems.append(error)
    try:
        table = read_entries(layout, schema)
    except DatasetError:
        return {}  # the tasks, which are among the problems already
    problems += table.problems
    return {entry.data.slot: entry.data for entry in table.entries}


def _described(
    layout: Layout, paths: Iterable[Path], problems: list[DatasetError]
) -> list[tuple[EpisodeEntry, Schema]]:
    """What every data file says of its episode."""
    found = []
    for path in paths:
        try:
            entry, schema = read_description(path)
            found.append((replace(entry, data=StoredFile(_slot_of(path))), schema))
        except DatasetError as error:
            problems.append(error)
    return found


def _slot_of(path: Path) -> Slot:
    try:
        return Slot(int(path.parent.name.removeprefix("chunk-")), int(path.stem.removeprefix("file-")))
    except ValueError as error:
        raise DatasetError("has no name of a data file, such as chunk-000/file-000.parquet", file=path) from error


def _renumbered(layout: Layout, entries: Sequence[EpisodeEntry], metadata: Metadata) -> list[EpisodeEntry]:
    """The episodes in their order, the data files of those that move up rewritten."""
    placed: list[EpisodeEntry] = []
    for entry in entries:
        first_row = sum(other.num_frames for other in placed)
        place = Place(len(placed), first_row, metadata.tasks.index(entry.info.task))
        if (entry.index, entry.first_row) != place[:2]:
            # The table would call a rewritten file changed: without it, a repair that is killed here can be repeated.
            shutil.rmtree(layout.episodes_folder, ignore_errors=True)
            entry = _moved(layout, entry, metadata.schema, place)
        placed.append(entry)
    return placed


def _moved(layout: Layout, entry: EpisodeEntry, schema: Schema, place: Place) -> EpisodeEntry:
    moved = replace(entry, index=place.episode, first_row=place.first_row)
    path, copy = layout.data(entry.data.slot), layout.private / "moved.parquet"
    with explain_write_errors(copy, entry.index):
        rewrite_rows(path, copy, place, describe(moved, schema))
        sync(copy)
        copy.replace(path)
    return replace(moved, data=stored(path, entry.data.slot))


def _set_aside(layout: Layout, whole: list[EpisodeEntry]) -> None:
    kept = {path for entry in whole for path, _ in entry.paths(layout)}
    for path in [*layout.root.glob("data/*/*.parquet"), *layout.root.glob("videos/*/*/*.mp4")]:
        if path not in kept:
            target = layout.private / "set_aside" / path.relative_to(layout.root)
            with explain_write_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(_free(target))
    shutil.rmtree(layout.in_progress, ignore_errors=True)


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.stem}.{number}{path.suffix}")
    return free


def _write_tables(layout: Layout, metadata: Metadata) -> None:
    write_tasks(layout, metadata.tasks)
    write_all_entries(layout, metadata.entries, metadata.schema)
    write_summary(layout, metadata, aggregate(entry.stats for entry in metadata.entries))
