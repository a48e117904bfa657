"""The `dataset` command: what is done with recorded datasets from the command line."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from simtoreal.episodes.editing import Criteria, extract, merge, select, split
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.meta_files import write_json
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.repair import repair
from simtoreal.episodes.settings import DatasetAction, DatasetConfig
from simtoreal.episodes.verify import verify
from simtoreal.progress import Progress

PROBLEMS_NAME = "problems.json"


def dataset(config: DatasetConfig) -> int:
    """Carries the action out; returns 1 where problems were found that are still there."""
    progress, source = Progress(), Path(config.source[0])
    if config.action is DatasetAction.VERIFY:
        found = _report(verify(Layout(source), decode=config.decode), config, progress)
        progress.say(f"{source}: {len(found)} problems" if found else f"{source}: nothing is wrong")
        return int(bool(found))
    if config.action is DatasetAction.REPAIR:
        found = _report(repair(source), config, progress)
        progress.say(f"{source}: whole again; {len(found)} problems were found, see .simtoreal/set_aside there")
    elif config.action is DatasetAction.MERGE:
        progress.say(f"{config.out}: {merge([Path(path) for path in config.source], config.out)} episodes")
    elif config.action is DatasetAction.FILTER:
        with DatasetReader(source) as reader:
            kept = select(reader.entries, criteria_of(config))
            _check(kept, f"no episode of {source} fits")
            progress.say(f"{config.out}: {extract(reader, kept, config.out)} of {len(reader)} episodes")
    else:
        _split(source, config, progress)
    return 0


def criteria_of(config: DatasetConfig) -> Criteria:
    """Which episodes a filter keeps."""
    return Criteria(
        success=config.success,
        domains=config.domains,
        objects=config.objects,
        robots=config.robots,
        tasks=config.tasks,
        failures=config.failures,
        min_frames=config.min_frames,
    )


def _split(source: Path, config: DatasetConfig, progress: Progress) -> None:
    shares = dict(zip(config.parts, config.shares, strict=True))
    with DatasetReader(source) as reader:
        parts = split(reader.entries, shares, config.by.value, np.random.default_rng(config.seed))
        for name, positions in parts.items():
            progress.say(f"{config.out / name}: {extract(reader, positions, config.out / name)} episodes")


def _report(problems: Iterable[DatasetError], config: DatasetConfig, progress: Progress) -> list[DatasetError]:
    found = []
    for problem in problems:
        progress.say(str(problem))
        found.append(problem)
    listed = [{"file": p.file, "episode": p.episode, "frame": p.frame, "what": p.what} for p in found]
    write_json(config.out / PROBLEMS_NAME, {"source": config.source[0], "problems": listed})
    return found


def _check(kept: list[int], otherwise: str) -> None:
    if not kept:
        raise DatasetError(otherwise)
