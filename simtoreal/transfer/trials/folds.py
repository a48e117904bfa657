"""Who is held out: always whole episodes, and every episode once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Episodes = NDArray[np.int64]
MIN_EPISODES = 3  # with something held: one to train on, one to stop by, one to judge by
_VALIDATION_FRAC = 0.25


class Fold(NamedTuple):
    """One way to divide the episodes; `held_out` is looked at once, when everything else is decided."""

    number: int
    train: Episodes
    validation: Episodes  # for early stopping and the choice of a strategy
    held_out: Episodes


def make_folds(episodes: Episodes, only_training: Episodes, num_folds: int, seed: int) -> list[Fold]:
    """Folds of the episodes that can be judged; the others, failures for one, are only ever trained on.

    Raises:
        ValueError: there are too few episodes.
    """
    if len(episodes) < MIN_EPISODES:
        raise ValueError(f"{len(episodes)} episodes can be judged, and at least {MIN_EPISODES} are needed")
    rng = np.random.default_rng((seed, 29))
    order = rng.permutation(episodes)
    folds = []
    for number, held_out in enumerate(np.array_split(order, min(num_folds, len(order)))):
        rest = rng.permutation(np.setdiff1d(order, held_out))
        num_validation = max(1, round(_VALIDATION_FRAC * len(rest)))
        train = np.concatenate([rest[num_validation:], only_training])
        folds.append(Fold(number, np.sort(train), np.sort(rest[:num_validation]), np.sort(held_out)))
    return folds
