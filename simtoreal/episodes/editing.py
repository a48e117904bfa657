"""Choosing among episodes, splitting a dataset into several, and putting several together."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from simtoreal.episodes.entries import EpisodeEntry
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.writer import DatasetWriter

SplitBy = Literal["object", "episode"]


@dataclass(frozen=True)
class Criteria:
    """Which episodes to keep; what is None or empty is not looked at.

    `success` does not keep an episode of which nobody said whether it succeeded.
    """

    success: bool | None = None
    domains: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    robots: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    min_frames: int = 0

    def keeps(self, entry: EpisodeEntry) -> bool:
        """Whether an episode is one of them."""
        info, end = entry.info, entry.end
        named = (
            (self.domains, info.domain),
            (self.objects, info.object_name),
            (self.robots, info.robot),
            (self.tasks, info.task),
            (self.failures, end.failure),
        )
        fits = all(not wanted or value in wanted for wanted, value in named)
        return fits and self.success in (None, end.success) and entry.num_frames >= self.min_frames


def select(entries: Sequence[EpisodeEntry], criteria: Criteria) -> list[int]:
    """Positions of the episodes that the criteria keep."""
    return [position for position, entry in enumerate(entries) if criteria.keeps(entry)]


def split(
    entries: Sequence[EpisodeEntry], shares: Mapping[str, float], by: SplitBy, rng: np.random.Generator
) -> dict[str, list[int]]:
    """Positions of the episodes of each part.

    Args:
        entries: the episodes.
        shares: of the episodes that each part shall have, by name; they sum to 1.
        by: `object` keeps all episodes of an object in one part, so that what is measured on another part is measured
            on new objects; parts then have roughly their shares.
        rng: draws who goes where.

    Raises:
        DatasetError: the shares do not sum to 1, an object has no name, or a part would stay empty.
    """
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1.0) > 1e-6:
        raise DatasetError(f"shares must be positive and sum to 1, got {dict(shares)}")
    groups = _groups(entries, by)
    order = [groups[index] for index in rng.permutation(len(groups))]
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for group in sorted(order, key=len, reverse=True):  # large ones first, so that small ones even out the shares
        neediest = max(shares, key=lambda name: shares[name] * len(entries) - len(parts[name]))
        parts[neediest] += group
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise DatasetError(f"part {empty[0]!r} would be empty: {len(groups)} {by}s do not go into these shares")
    return {name: sorted(part) for name, part in parts.items()}


def _groups(entries: Sequence[EpisodeEntry], by: SplitBy) -> list[list[int]]:
    if by == "episode":
        return [[position] for position in range(len(entries))]
    groups: dict[str, list[int]] = {}
    for position, entry in enumerate(entries):
        if not entry.info.object_name:
            raise DatasetError("has no object_name: split by episode instead", episode=entry.index)
        groups.setdefault(entry.info.object_name, []).append(position)
    return [groups[name] for name in sorted(groups)]


def extract(reader: DatasetReader, positions: Iterable[int], out: Path) -> int:
    """Copies episodes into a new dataset and returns how many it holds; to append, see `DatasetWriter.adopt`.

    Raises:
        DatasetError: an episode is damaged, or there is a dataset already.
    """
    return _copy([(reader, positions)], out)


def _copy(sources: Iterable[tuple[DatasetReader, Iterable[int]]], out: Path) -> int:
    with DatasetWriter(out) as writer:
        if writer.num_episodes:
            raise DatasetError("holds a dataset already: choose a new folder", file=out)
        for reader, positions in sources:
            for position in positions:
                writer.adopt(reader[position])
        return writer.num_episodes


def merge(folders: Sequence[Path], out: Path) -> int:
    """Copies the episodes of several datasets into a new one, in their order, and returns how many it holds.

    Raises:
        DatasetError: an episode is damaged, two datasets have other columns, or there is a dataset already.
    """
    with ExitStack() as readers:
        opened = [readers.enter_context(DatasetReader(folder)) for folder in folders]
        return _copy([(reader, range(len(reader))) for reader in opened], out)
