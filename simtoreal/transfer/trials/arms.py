"""The three arms of a ledger on the same held-out episodes: the source, trained from nothing, and fine-tuned.

What judges an episode has not seen it: in every fold the strategy is chosen without the episodes held out there, then
trained on all others for as long as validation found right, and only then the held-out ones are looked at.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.trials.folds import Fold
from simtoreal.transfer.trials.selection import Choice, Search, Trial, choose, search
from simtoreal.transfer.tuning.grasp_score import FrameScore, score_real
from simtoreal.transfer.tuning.strategy import SCRATCH, Strategy, load_strategy
from simtoreal.transfer.tuning.trainer import Trainer
from simtoreal.transfer.tuning.training import Lesson, Tuned

ARMS = ("source", SCRATCH, "fine_tuned")
Recipes = Mapping[str, Choice]  # by trained arm
_NOBODY = np.array([], dtype=np.int64)


class ArmScores(NamedTuple):
    """Scores of every arm on the episodes held out in each fold; every episode is held out once."""

    held_out: dict[str, list[FrameScore]]  # by arm
    held_in: list[FrameScore]  # of the fine-tuned nets, on what they were trained on
    fold_of: dict[int, int]  # fold by held-out episode
    chosen: list[str]  # strategy in each fold
    seconds: dict[str, float]  # of training, by arm, all folds together
    scratch: Trial


def run_arms(trainer: Trainer, folds: Sequence[Fold], tried: Search, seed: int) -> ArmScores:
    """Trains what the folds need and scores all arms."""
    from_nothing = search([load_strategy(SCRATCH)], trainer, folds, seed, 0.0).trials[0]
    held_out: dict[str, list[FrameScore]] = {arm: [] for arm in ARMS}
    seconds = dict.fromkeys(ARMS, 0.0)
    held_in: list[FrameScore] = []
    chosen: list[str] = []
    for fold in folds:
        recipes = recipes_of(tried, from_nothing, fold)
        trained = train_fold(trainer, recipes, fold, seed)
        nets = {"source": trainer.domain.source, **{arm: tuned.net for arm, tuned in trained.items()}}
        for arm, net in nets.items():
            held_out[arm] += scores_on(trainer, net, fold.held_out)
        held_in += scores_on(trainer, nets["fine_tuned"], others_of(fold))
        chosen.append(recipes["fine_tuned"].strategy.name)
        for arm, tuned in trained.items():
            seconds[arm] += tuned.seconds
    fold_of = {int(episode): fold.number for fold in folds for episode in fold.held_out}
    return ArmScores(held_out, held_in, fold_of, chosen, seconds, from_nothing)


def recipes_of(tried: Search, from_nothing: Trial, fold: Fold) -> Recipes:
    """What the trained arms do in a fold, decided without the episodes that it holds out."""
    return {
        SCRATCH: choose([from_nothing], without=fold.held_out),
        "fine_tuned": choose(tried.trials, without=fold.held_out),
    }


def train_fold(trainer: Trainer, recipes: Recipes, fold: Fold, seed: int) -> dict[str, Tuned]:
    """The trained arms of a fold, on all that it does not hold out."""
    return {
        arm: train_on(trainer, choice.strategy, choice.steps, others_of(fold), seed + fold.number)
        for arm, choice in recipes.items()
    }


def train_final(trainer: Trainer, choice: Choice, episodes: NDArray[np.int64], seed: int) -> Tuned:
    """What ships: the choice, trained on all episodes."""
    return train_on(trainer, choice.strategy, choice.steps, episodes, seed)


def train_on(trainer: Trainer, strategy: Strategy, steps: int, episodes: NDArray[np.int64], seed: int) -> Tuned:
    """Trains on episodes for a number of steps that others have found right."""
    lesson = Lesson(np.sort(episodes), _NOBODY, seed, steps)
    return trainer.tune(strategy, lesson, f"{strategy.name}, {len(episodes)} episodes")


def scores_on(trainer: Trainer, net: GraspNet, episodes: NDArray[np.int64]) -> list[FrameScore]:
    """Hindsight errors of a net on episodes."""
    domain = trainer.domain
    return score_real(net, domain.real, domain.real.of_episodes(episodes), domain.view)


def others_of(fold: Fold) -> NDArray[np.int64]:
    """What a fold may train on."""
    return np.concatenate([fold.train, fold.validation])
