"""`auto` takes what is plainly best, and the smaller change where it cannot tell."""

from pathlib import Path

import numpy as np
import pytest

from simtoreal.progress import Progress
from simtoreal.transfer.trials.folds import make_folds
from simtoreal.transfer.trials.selection import Trial, choose, search
from simtoreal.transfer.tuning.strategy import Depths, Strategy, load_strategy
from simtoreal.transfer.tuning.trainer import Trainer
from simtoreal.transfer.tuning.training import Domain

EPISODES = np.array([0, 1, 2, 3, 4, 5])
NOBODY = np.array([], dtype=np.int64)


def trial(name: str, num_trainable: int, miss: list[float], steps: tuple[int, ...] = (10, 30, 20)) -> Trial:
    return Trial(load_strategy(name), num_trainable, steps, np.array([0, 0, 1, 1, 2, 2]), EPISODES, np.array(miss), 1.0)


def test_the_plainly_best_is_chosen_although_it_moves_more():
    small, large = (
        trial("heads", 10, [0.8, 0.7, 0.9, 0.8, 0.7, 0.9]),
        trial("all", 1000, [0.2, 0.2, 0.3, 0.1, 0.2, 0.2]),
    )
    choice = choose([small, large])
    assert choice.strategy.name == "all"
    assert choice.steps == 20
    assert "the best" in choice.why


def test_among_equals_the_smaller_change_is_chosen():
    small, large = (
        trial("heads", 10, [0.5, 0.4, 0.6, 0.5, 0.5, 0.5]),
        trial("all", 1000, [0.4, 0.5, 0.5, 0.6, 0.4, 0.5]),
    )
    choice = choose([large, small])
    assert choice.strategy.name == "heads"
    assert "standard error" in choice.why
    assert "all" in choice.why


def test_between_no_change_and_statistics_alone_no_change_is_smaller():
    misses = [0.5, 0.4, 0.6, 0.5, 0.5, 0.5]
    assert choose([trial("normalisation", 0, misses), trial("zero_shot", 0, misses)]).strategy.name == "zero_shot"


def test_who_will_be_judged_has_no_say():
    first, second = (
        trial("heads", 10, [0.0, 0.0, 0.0, 0.6, 0.6, 0.6]),
        trial("all", 1000, [1.0, 1.0, 1.0, 0.1, 0.1, 0.1]),
    )
    assert choose([first, second], without=np.array([0, 1, 2])).strategy.name == "all"
    assert choose([first, second], without=np.array([3, 4, 5])).strategy.name == "heads"
    with pytest.raises(ValueError, match="no validation episode"):
        choose([first, second], without=EPISODES)


def test_folds_that_found_nothing_better_do_not_shorten_the_others():
    assert choose([trial("heads", 10, [0.5] * 6, steps=(0, 40, 60))]).steps == 50
    assert choose([trial("heads", 10, [0.5] * 6, steps=(0, 0, 0))]).steps == 0


def trainer(domain: Domain, folder: Path, quiet: Progress) -> Trainer:
    return Trainer(domain, "test", folder, quiet)


def learns(name: str, learning_rate: float) -> Strategy:
    everything = Depths(heads=1.0, body=1.0, num_stages=100)
    return Strategy(name, "for a test", steps=60, batch_size=8, learning_rate=learning_rate, depths=everything,
                    unknown_weight=0.3)  # fmt: skip


def test_on_real_trainings_the_strategy_that_learns_beats_the_one_that_cannot(
    domain: Domain, tmp_path: Path, quiet: Progress
):
    folds = make_folds(np.arange(6), NOBODY, 3, 0)[:1]
    strategies = [learns("idle", 1e-8), learns("learns", 5e-3)]
    tried = search(strategies, trainer(domain, tmp_path, quiet), folds, 0, budget_s=1000.0)
    assert [trial.strategy.name for trial in tried.trials] == ["idle", "learns"]
    assert choose(tried.trials).strategy.name == "learns"


def test_what_does_not_fit_the_budget_is_left_out_and_said(domain: Domain, tmp_path: Path, quiet: Progress):
    folds = make_folds(np.arange(6), NOBODY, 3, 0)[:1]
    quick = Strategy("quick", "for a test", steps=1, batch_size=2, depths=Depths(heads=1.0))
    strategies = [load_strategy("zero_shot"), quick, load_strategy("normalisation"), learns("long", 1e-3)]
    tried = search(strategies, trainer(domain, tmp_path, quiet), folds, 0, budget_s=0.0)
    assert [trial.strategy.name for trial in tried.trials][:2] == ["zero_shot", "quick"]
    assert "budget_s=0" in tried.skipped["long"]


def test_a_finished_training_is_taken_from_the_folder(domain: Domain, tmp_path: Path, quiet: Progress):
    folds = make_folds(np.arange(6), NOBODY, 3, 0)[:1]
    quick = Strategy("quick", "for a test", steps=2, batch_size=2, depths=Depths(heads=1.0))
    first = search([quick], trainer(domain, tmp_path, quiet), folds, 0, 10.0).trials[0]
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = search([quick], trainer(domain, tmp_path, quiet), folds, 0, 10.0).trials[0]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    assert again.miss.tolist() == first.miss.tolist()
    assert again.seconds == first.seconds


def test_a_damaged_training_is_named(domain: Domain, tmp_path: Path, quiet: Progress):
    folds = make_folds(np.arange(6), NOBODY, 3, 0)[:1]
    quick = Strategy("quick", "for a test", steps=1, batch_size=2, depths=Depths(heads=1.0))
    search([quick], trainer(domain, tmp_path, quiet), folds, 0, 10.0)
    weights = next(tmp_path.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"quick.*damaged.*delete"):
        search([quick], trainer(domain, tmp_path, quiet), folds, 0, 10.0)
