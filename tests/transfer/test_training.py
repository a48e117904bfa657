"""What a strategy says moves, moves, and nothing else; and what is learned helps on episodes not seen."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from bar_scenes import VIEW

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.tuning.grasp_score import mean_miss, score_real
from simtoreal.transfer.tuning.strategy import (
    Anchors,
    Depths,
    Mixture,
    Start,
    Statistics,
    Strategy,
    Unlabelled,
    load_strategy,
)
from simtoreal.transfer.tuning.training import Domain, Lesson, tune

HEADS = Depths(heads=1.0)
EVERYTHING = Depths(heads=1.0, body=1.0, num_stages=100)
TRAIN, VALIDATION = np.array([0, 1, 2, 3]), np.array([4, 5])
NOBODY = np.array([], dtype=np.int64)


def strategy(**changes: object) -> Strategy:
    nominal: dict[str, object] = {
        "name": "test", "about": "for a test", "steps": 6, "batch_size": 4, "learning_rate": 0.01, "depths": HEADS,
    }  # fmt: skip
    return Strategy(**{**nominal, **changes})  # type: ignore[arg-type]


def changed(before: GraspNet, after: GraspNet) -> set[str]:
    now = after.state_dict()
    return {name for name, value in before.state_dict().items() if not torch.equal(value, now[name])}


@pytest.mark.parametrize("mixed", [False, True])
def test_with_heads_only_everything_else_is_the_same_bit_for_bit(domain: Domain, mixed: bool):
    mixture = Mixture(0.5, 0.5) if mixed else Mixture()
    tuned = tune(strategy(mixture=mixture), domain, Lesson(TRAIN, NOBODY, 0))
    moved = changed(domain.source, tuned.net)
    assert moved == {"readout.weight", "readout.bias", "surface.weight", "surface.bias"}
    assert tuned.num_trainable == sum(domain.source.state_dict()[name].numel() for name in moved)


def test_the_last_stages_move_and_the_first_do_not(domain: Domain):
    tuned = tune(strategy(depths=Depths(1.0, 0.5, num_stages=2)), domain, Lesson(TRAIN, NOBODY, 0))
    stages = {name.split(".")[1] for name in changed(domain.source, tuned.net) if name.startswith("features.")}
    assert stages == {"join", "up_fine"}


def test_staged_unfreezing_reaches_deeper_stages_later(domain: Domain):
    depths = Depths(1.0, 1.0, num_stages=100, unfreeze_frac=0.4)
    found = {}
    for steps in (2, 4, 6):
        tuned = tune(strategy(depths=depths), domain, Lesson(TRAIN, NOBODY, 0, steps=steps))
        found[steps] = {
            name.split(".")[1] for name in changed(domain.source, tuned.net) if name.startswith("features.")
        }
    assert found == {2: set(), 4: {"join"}, 6: {"join", "up_fine"}}


def test_the_source_is_never_changed(domain: Domain):
    before = copy.deepcopy(domain.source)
    tune(strategy(depths=EVERYTHING, statistics=Statistics.LEARN, adapter_rank=0), domain, Lesson(TRAIN, VALIDATION, 0))
    assert not changed(before, domain.source)


def test_zero_shot_is_the_source(domain: Domain):
    tuned = tune(load_strategy("zero_shot"), domain, Lesson(TRAIN, VALIDATION, 0))
    assert not changed(domain.source, tuned.net)
    assert (tuned.steps, tuned.num_trainable) == (0, 0)


def test_normalisation_moves_statistics_and_no_weight(domain: Domain):
    tuned = tune(load_strategy("normalisation"), domain, Lesson(TRAIN, VALIDATION, 0))
    moved = changed(domain.source, tuned.net)
    assert moved
    assert all(name.endswith(("running_mean", "running_var")) for name in moved)


@pytest.mark.parametrize("validation", [NOBODY, VALIDATION], ids=["alone", "stopped"])
def test_adapters_end_as_plain_weights(domain: Domain, validation: np.ndarray):
    tuned = tune(strategy(depths=Depths(), adapter_rank=2, steps=3), domain, Lesson(TRAIN, validation, 0))
    moved = changed(domain.source, tuned.net)
    assert tuned.net.state_dict().keys() == domain.source.state_dict().keys()
    assert all(name.endswith("weight") for name in moved)
    assert "features.stem.0.0.weight" in moved or tuned.steps == 0


def test_the_same_seed_gives_the_same_weights_and_another_does_not(domain: Domain):
    plan = strategy(mixture=Mixture(0.5, 0.0))
    first, again, other = (tune(plan, domain, Lesson(TRAIN, NOBODY, seed)).net for seed in (3, 3, 4))
    assert not changed(first, again)
    assert changed(first, other)


def test_fine_tuning_helps_on_episodes_that_were_not_trained_on(domain: Domain):
    index = domain.real.of_episodes(VALIDATION)
    before = mean_miss(score_real(domain.source, domain.real, index, VIEW))
    plan = strategy(steps=80, batch_size=8, depths=EVERYTHING, unknown_weight=0.3, learning_rate=5e-3)
    tuned = tune(plan, domain, Lesson(TRAIN, VALIDATION, 0))
    after = mean_miss(score_real(tuned.net, domain.real, index, VIEW))
    assert tuned.validation_miss == pytest.approx(after)
    assert after < before - 0.1


def test_where_no_step_helps_nothing_is_changed(domain: Domain):
    plan = strategy(learning_rate=0.2, depths=EVERYTHING, steps=8)
    tuned = tune(plan, domain, Lesson(TRAIN, VALIDATION, 0))
    index = domain.real.of_episodes(VALIDATION)
    before = mean_miss(score_real(domain.source, domain.real, index, VIEW))
    assert tuned.validation_miss <= before
    if tuned.steps == 0:
        assert not changed(domain.source, tuned.net)


def test_from_scratch_does_not_look_at_the_source(domain: Domain):
    plan = strategy(start=Start.SCRATCH, depths=EVERYTHING, statistics=Statistics.LEARN, unknown_weight=1.0)
    worthless = copy.deepcopy(domain.source)
    with torch.no_grad():
        for parameter in worthless.parameters():
            parameter.fill_(7.0)
    first = tune(plan, domain, Lesson(TRAIN, NOBODY, 0)).net
    other = tune(plan, dataclasses.replace(domain, source=worthless), Lesson(TRAIN, NOBODY, 0)).net
    assert not changed(first, other)


def test_anchors_keep_the_weights_near(domain: Domain):
    def how_far(anchors: Anchors) -> float:
        tuned = tune(strategy(anchors=anchors, learning_rate=1e-3), domain, Lesson(TRAIN, NOBODY, 0))
        source = domain.source.state_dict()
        return sum(((value - source[name]) ** 2).sum().item() for name, value in tuned.net.state_dict().items())

    free = how_far(Anchors())
    assert how_far(Anchors(l2sp=1e4)) < 0.5 * free
    assert how_far(Anchors(ewc=1e4)) < 0.7 * free


@pytest.mark.parametrize("kind", [Unlabelled.CONSISTENCY, Unlabelled.SELF_TRAINING])
def test_frames_without_label_change_what_is_learned(domain: Domain, kind: Unlabelled):
    with_them = tune(strategy(unlabelled=kind), domain, Lesson(TRAIN, NOBODY, 0)).net
    without = tune(strategy(), domain, Lesson(TRAIN, NOBODY, 0)).net
    assert {"readout.weight", "readout.bias"} <= changed(with_them, without)


def test_what_is_missing_is_said(domain: Domain):
    alone = dataclasses.replace(domain, simulated=None)
    with pytest.raises(ValueError, match="simulated frames"):
        tune(strategy(mixture=Mixture(0.5, 0.5)), alone, Lesson(TRAIN, NOBODY, 0))
    bare = dataclasses.replace(domain.real, num_grasps=np.zeros_like(domain.real.num_grasps))
    with pytest.raises(ValueError, match="carries a label"):
        tune(strategy(), dataclasses.replace(domain, real=bare), Lesson(TRAIN, NOBODY, 0))
