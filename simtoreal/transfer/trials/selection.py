"""`strategy=auto`: strategies tried on the same episodes, and the smallest change among those as good as the best."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import FloatArray
from simtoreal.transfer.trials.folds import Fold
from simtoreal.transfer.tuning.grasp_score import by_episode, score_real
from simtoreal.transfer.tuning.strategy import Statistics, Strategy
from simtoreal.transfer.tuning.trainer import Trainer
from simtoreal.transfer.tuning.training import Lesson


class Trial(NamedTuple):
    """One strategy in all folds: how it did on the episodes that stopped it."""

    strategy: Strategy
    num_trainable: int
    steps: tuple[int, ...]  # of each fold, where the validation episodes were best
    folds: NDArray[np.int64]  # (V,) fold of each value below
    episodes: NDArray[np.int64]  # (V,)
    miss: FloatArray  # (V,)
    seconds: float

    @property
    def change(self) -> tuple[int, int]:
        """Size of the change, for comparing: how many weights move, then whether statistics do."""
        return self.num_trainable, int(self.strategy.statistics is not Statistics.KEEP)


class Choice(NamedTuple):
    """What was chosen, and why."""

    strategy: Strategy
    steps: int  # to take
    mean_miss: float  # on the validation episodes
    why: str


class Search(NamedTuple):
    """Everything that was tried."""

    trials: list[Trial]
    skipped: dict[str, str]  # by strategy, why


def search(
    strategies: Sequence[Strategy], trainer: Trainer, folds: Sequence[Fold], seed: int, budget_s: float
) -> Search:
    """Carries out strategies in every fold as long as the budget lasts; the first two are always tried.

    What a training took when it was carried out is what counts, so that a run that goes on decides as it did.
    """
    trials: list[Trial] = []
    skipped: dict[str, str] = {}
    spent_s = slowest_s = 0.0
    for strategy in strategies:
        expected_s = len(folds) * strategy.steps * slowest_s
        if len(trials) >= 2 and spent_s + expected_s > budget_s:
            skipped[strategy.name] = (
                f"would take about {expected_s:.0f} s, and {max(budget_s - spent_s, 0.0):.0f} s "
                f"of budget_s={budget_s:g} were left"
            )
            continue
        trial = _try(strategy, trainer, folds, seed)
        spent_s += trial.seconds
        if strategy.steps:
            slowest_s = max(slowest_s, trial.seconds / (len(folds) * strategy.steps))
        trials.append(trial)
    return Search(trials, skipped)


def _try(strategy: Strategy, trainer: Trainer, folds: Sequence[Fold], seed: int) -> Trial:
    steps, where, episodes, misses = [], [], [], []
    num_trainable, seconds = 0, 0.0
    for fold in folds:
        lesson = Lesson(fold.train, fold.validation, seed + fold.number)
        tuned = trainer.tune(strategy, lesson, f"{strategy.name} {fold.number + 1}/{len(folds)}")
        domain = trainer.domain
        found = by_episode(score_real(tuned.net, domain.real, domain.real.of_episodes(fold.validation), domain.view))
        steps.append(tuned.steps)
        where.append(np.full(len(found.episodes), fold.number))
        episodes.append(found.episodes)
        misses.append(found.miss)
        num_trainable, seconds = tuned.num_trainable, seconds + tuned.seconds
    return Trial(
        strategy, num_trainable, tuple(steps), np.concatenate(where), np.concatenate(episodes),
        np.concatenate(misses), seconds,
    )  # fmt: skip


def choose(trials: Sequence[Trial], without: NDArray[np.int64] | None = None) -> Choice:
    """The smallest change that is not worse than the best by more than one standard error of their difference.

    Args:
        trials: on the same validation episodes.
        without: episodes that must have no say, because they will judge what is chosen.

    Raises:
        ValueError: no episode is left that could decide.
    """
    kept = ~np.isin(trials[0].episodes, [] if without is None else without)
    if not kept.any():
        raise ValueError("no validation episode is left to choose by")
    episodes = trials[0].episodes[kept]
    per_episode = [_episode_means(trial.miss[kept], episodes) for trial in trials]
    means = [float(values.mean()) for values in per_episode]
    best = int(np.argmin(means))
    good_enough = [
        i
        for i, values in enumerate(per_episode)
        if _mean_excess(values, per_episode[best]) <= _error(values, per_episode[best])
    ]
    chosen = min(good_enough, key=lambda i: (trials[i].change, means[i]))
    why = f"{trials[chosen].strategy.name}: miss {means[chosen]:.3f} on {len(per_episode[0])} validation episodes, "
    if chosen == best:
        why += "the best, and no smaller change comes within one standard error of it"
    else:
        why += (
            f"within one standard error ({_error(per_episode[chosen], per_episode[best]):.3f}) of the best, "
            f"{trials[best].strategy.name} with {means[best]:.3f}, and the smallest change of those"
        )
    return Choice(trials[chosen].strategy, _median_steps(trials[chosen]), means[chosen], why)


def _median_steps(trial: Trial) -> int:
    """Typical number of steps of the folds that found any better than none."""
    taken = [steps for steps in trial.steps if steps > 0]
    return round(float(np.median(taken))) if taken else 0


def _episode_means(values: FloatArray, episodes: NDArray[np.int64]) -> FloatArray:
    return np.array([values[episodes == episode].mean() for episode in np.unique(episodes)])


def _mean_excess(values: FloatArray, best: FloatArray) -> float:
    return float((values - best).mean())


def _error(values: FloatArray, best: FloatArray) -> float:
    """Standard error of a paired difference; 0 with one pair, which says nothing of its own spread."""
    return float((values - best).std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
