"""Whole episodes are held out, every one once, and never trained on in that fold."""

import numpy as np
import pytest

from simtoreal.transfer.trials.folds import make_folds

NOBODY = np.array([], dtype=np.int64)


@pytest.mark.parametrize("num", [3, 4, 7, 20])
def test_every_episode_is_held_out_once(num: int):
    folds = make_folds(np.arange(num) * 2, NOBODY, 3, seed=1)
    assert sorted(np.concatenate([fold.held_out for fold in folds])) == list(range(0, 2 * num, 2))


@pytest.mark.parametrize("num", [3, 5, 12])
def test_parts_of_a_fold_share_no_episode_and_none_is_empty(num: int):
    for fold in make_folds(np.arange(num), np.array([100, 101]), 3, seed=0):
        parts = [set(fold.train.tolist()), set(fold.validation.tolist()), set(fold.held_out.tolist())]
        assert sum(map(len, parts)) == len(set.union(*parts)) == num + 2
        assert all(parts)
        assert {100, 101} <= parts[0]


def test_the_seed_decides():
    first, again, other = (make_folds(np.arange(12), NOBODY, 3, seed)[0].held_out.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_two_episodes_are_too_few():
    with pytest.raises(ValueError, match=r"2 episodes .* at least 3"):
        make_folds(np.arange(2), NOBODY, 3, 0)
