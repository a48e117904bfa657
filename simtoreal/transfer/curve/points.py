"""The points of a curve: an arm trained on some episodes of a nested row, and judged by others; in worker processes."""

import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from simtoreal.evaluation.output_files import make_folder, write_text_atomic
from simtoreal.evaluation.workers import results, worker_pool
from simtoreal.progress import Progress
from simtoreal.transfer.trials.arms import scores_on, train_on
from simtoreal.transfer.trials.folds import Fold
from simtoreal.transfer.trials.selection import choose, search
from simtoreal.transfer.tuning.grasp_score import by_episode
from simtoreal.transfer.tuning.strategy import Strategy, as_plain
from simtoreal.transfer.tuning.trainer import Trainer, hash_of
from simtoreal.transfer.tuning.training import Domain, Tuned

_VALIDATION_FRAC = 0.25
_VERSION = 1
_shared: dict[str, Any] = {}  # of one worker process


class Split(NamedTuple):
    """How a seed divides the episodes."""

    row: NDArray[np.int64]  # to train on, in an order; a size takes the first ones
    held_out: NDArray[np.int64]


class Task(NamedTuple):
    """One point to find."""

    arm: str
    size: int
    seed: int


class Point(NamedTuple):
    """What was found."""

    arm: str
    size: int
    seed: int
    strategy: str
    steps: int
    seconds: float  # of training, choosing included
    episodes: list[int]  # that judged
    miss: list[float]  # of each


@dataclass(frozen=True)
class Work:
    """All that finding points needs; goes to worker processes as it is."""

    domain: Domain
    made_of: str
    folder: Path
    arms: dict[str, tuple[Strategy, ...]]  # strategies to choose from
    splits: dict[int, Split]
    budget_s: float
    judgeable: NDArray[np.int64]

    def trainer(self, progress: Progress) -> Trainer:
        return Trainer(self.domain, self.made_of, self.folder / "trainings", progress)


def make_split(judgeable: NDArray[np.int64], others: NDArray[np.int64], held_out_frac: float, seed: int) -> Split:
    """Held out are only episodes that can judge; the row mixes in the others, since they were recorded all the same."""
    rng = np.random.default_rng((seed, 31))
    order = rng.permutation(judgeable)
    num = min(max(1, round(held_out_frac * len(order))), len(order) - 1)
    return Split(rng.permutation(np.concatenate([order[num:], others])), np.sort(order[:num]))


def find_points(work: Work, tasks: Sequence[Task], workers: int) -> Iterator[Point]:
    """Every point as it is found; what was found before comes from the run folder."""
    missing = []
    for task in tasks:
        known = _read(_path(work, task))
        if known is None:
            missing.append(task)
        else:
            yield known
    if workers == 1 or len(missing) < 2:
        for task in missing:
            yield find_point(work, task)
        return
    with worker_pool(min(workers, len(missing)), _open, work) as pool:
        yield from results([pool.submit(_find, task) for task in missing])


def find_point(work: Work, task: Task) -> Point:
    """Trains and judges one point, and keeps it."""
    trainer = work.trainer(Progress(Console(file=io.StringIO())))
    tuned, strategy, seconds = train_point(work, task, trainer)
    scores = by_episode(scores_on(trainer, tuned.net, work.splits[task.seed].held_out))
    point = Point(*task, strategy, tuned.steps, seconds, scores.episodes.tolist(), scores.miss.tolist())
    make_folder(work.folder / "points")
    write_text_atomic(_path(work, task), json.dumps(point._asdict()) + "\n")
    return point


def train_point(work: Work, task: Task, trainer: Trainer) -> tuple[Tuned, str, float]:
    """The net of a point, its strategy, and the time that training and choosing took.

    A quarter of the episodes stops the training and chooses the strategy, then all are trained on. Of fewer than two
    there is none to spare: the first strategy that trains at all takes all of its steps. Of none, it is the source.
    """
    if not task.size:
        source = work.domain.source
        return Tuned(source, 0, math.nan, 0, sum(p.numel() for p in source.parameters()), 0.0), "zero_shot", 0.0
    chosen = work.splits[task.seed].row[: task.size]
    strategies = work.arms[task.arm]
    judging = chosen[np.isin(chosen, work.judgeable)]
    if len(judging) < 2:
        strategy = next((one for one in strategies if one.steps), strategies[0])
        tuned = train_on(trainer, strategy, strategy.steps, chosen, task.seed)
        return tuned, strategy.name, tuned.seconds
    validation = judging[: max(1, round(_VALIDATION_FRAC * len(judging)))]
    fold = Fold(task.seed, np.sort(np.setdiff1d(chosen, validation)), np.sort(validation), np.array([], dtype=np.int64))
    tried = search(strategies, trainer, [fold], task.seed, work.budget_s)
    choice = choose(tried.trials)
    tuned = train_on(trainer, choice.strategy, choice.steps, chosen, task.seed)
    return tuned, choice.strategy.name, tuned.seconds + sum(trial.seconds for trial in tried.trials)


def _open(work: Work) -> None:
    torch.set_num_threads(1)
    _shared["work"] = work


def _find(task: Task) -> Point:
    return find_point(_shared["work"], task)


def _path(work: Work, task: Task) -> Path:
    split = work.splits[task.seed]
    made_of = [_VERSION, work.made_of, *task, [as_plain(one) for one in work.arms[task.arm]], work.budget_s,
               split.row[: task.size].tolist(), split.held_out.tolist()]  # fmt: skip
    key = hash_of(json.dumps(made_of, default=str))
    return work.folder / "points" / f"{task.arm}-{task.size}-{task.seed}-{key}.json"


def _read(path: Path) -> Point | None:
    if not path.is_file():
        return None
    try:
        return Point(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to find that point again") from error
