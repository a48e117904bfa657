"""What starting from the source saved, for a ledger: the curve of `simtoreal curve` with few points and no new choices.

Every fold is a seed of its own: quarters, halves and the whole of what it may train on, nested, judged by what it holds
out. Strategy and steps are those that the fold chose with all episodes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.curve.learning_curve import Measured, Saved, fit_curves, what_was_saved
from simtoreal.transfer.trials.arms import Recipes, others_of, recipes_of, scores_on, train_on
from simtoreal.transfer.trials.folds import Fold
from simtoreal.transfer.trials.selection import Search, Trial
from simtoreal.transfer.tuning.grasp_score import by_episode
from simtoreal.transfer.tuning.strategy import SCRATCH
from simtoreal.transfer.tuning.trainer import Trainer

_SHARES = (0.25, 0.5, 1.0)
_TUNED = "fine_tuned"


def measure_saved(
    trainer: Trainer, folds: Sequence[Fold], tried: Search, from_nothing: Trial, seed: int
) -> dict[str, Any] | None:
    """Factors of real data and time with intervals, as plain values; None where there is but one size.

    Args:
        trainer: keeps what was trained before.
        folds: as the ledger judges by.
        tried: what the strategy of each fold is chosen from.
        from_nothing: the trial of training from scratch.
        seed: of the command.
    """
    num = min(len(others_of(fold)) for fold in folds)
    sizes = sorted({max(1, round(share * num)) for share in _SHARES})
    recipes = [recipes_of(tried, from_nothing, fold) for fold in folds]
    if len(sizes) < 2:
        return None
    columns = {_TUNED: [0, *sizes], SCRATCH: sizes}
    arms: dict[str, dict[int, Measured]] = {arm: {} for arm in columns}
    for fold, recipe in zip(folds, recipes, strict=True):
        for arm in columns:
            arms[arm][fold.number] = _measure(trainer, fold, (arm, recipe), (columns[arm], seed))
    curves = fit_curves(arms, columns, np.random.default_rng((seed, 43)))
    points = {arm: {"sizes": columns[arm], "miss": curves[arm].mean[0].tolist()} for arm in columns}
    return {**as_plain_saved(what_was_saved(curves[_TUNED], curves[SCRATCH])), "points": points}


def as_plain_saved(saved: Saved) -> dict[str, Any]:
    """Factors as plain values for JSON."""
    return {
        **saved._asdict(),
        "data": saved.data._asdict(),
        "time": saved.time._asdict(),
        "num_needed": saved.num_needed._asdict(),
    }


def _measure(trainer: Trainer, fold: Fold, arm: tuple[str, Recipes], plan: tuple[Sequence[int], int]) -> Measured:
    """One arm in one fold, at every size."""
    (name, recipes), (sizes, seed) = arm, plan
    real = trainer.domain.real
    row = np.random.default_rng((seed, fold.number, 47)).permutation(others_of(fold))
    held = np.isin(row, np.unique(real.episode[real.has_held]))
    row = np.concatenate([row[held], row[~held]])  # from a failure alone nothing can be learned
    misses, seconds = [], []
    units: NDArray[np.int64] = fold.held_out
    for size in sizes:
        episodes = others_of(fold) if size == max(sizes) else row[:size]
        net, taken_s = _net(trainer, (name, recipes), episodes if size else row[:0], seed + fold.number)
        found = by_episode(scores_on(trainer, net, fold.held_out))
        units = found.episodes
        misses.append(found.miss)
        seconds.append(taken_s)
    return Measured(tuple(map(str, units)), np.stack(misses, axis=1), np.array(seconds))


def _net(trainer: Trainer, arm: tuple[str, Recipes], episodes: NDArray[np.int64], seed: int) -> tuple[GraspNet, float]:
    name, recipes = arm
    if not len(episodes):
        return trainer.domain.source, 0.0
    tuned = train_on(trainer, recipes[name].strategy, recipes[name].steps, episodes, seed)
    return tuned.net, tuned.seconds
