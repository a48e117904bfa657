"""The reward: shaping that cannot be farmed, named terms, and events that are worth what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.envs.reward import PotentialReward, RewardConfig, Situation

SHAPING = ("reach", "align", "grip", "lift")
FAR = Situation(0.3, 0.8, False, 0.0, False, False)
NEAR = Situation(0.01, 0.05, False, 0.0, False, False)
HELD = Situation(0.01, 0.05, True, 0.0, False, False)
LIFTED = Situation(0.01, 0.05, True, 0.12, True, False)
STILL = np.zeros(5)

situation = st.builds(
    Situation,
    distance_m=st.floats(0.0, 1.0),
    yaw_error_rad=st.floats(-1.6, 1.6),
    gripped=st.booleans(),
    rise_m=st.floats(-0.01, 0.3),
    success=st.just(False),
    collided=st.just(False),
)


def shaping_return(path: list[Situation], config: RewardConfig) -> float:
    """Sum of the shaping terms along a path of situations."""
    reward = PotentialReward(config)
    reward.reset(path[0])
    total = 0.0
    for now in path[1:]:
        terms = reward.step(now, STILL)
        total += sum(terms[name] for name in SHAPING)
    return total


@given(st.lists(situation, min_size=3, max_size=3), st.lists(situation, min_size=3, max_size=3))
def test_shaping_depends_on_where_a_path_begins_and_ends_and_not_on_the_way(a: list[Situation], b: list[Situation]):
    config = RewardConfig()
    assert shaping_return([FAR, *a, NEAR], config) == pytest.approx(shaping_return([FAR, *b, NEAR], config), abs=1e-9)


def test_going_back_and_forth_earns_nothing():
    config = RewardConfig()
    assert shaping_return([FAR, *([NEAR, FAR] * 20)], config) <= 0.0


def test_progress_is_rewarded_term_by_term():
    reward = PotentialReward(RewardConfig())
    reward.reset(FAR)
    reached = reward.step(NEAR, STILL)
    assert reached["reach"] > 0.3
    assert reached["align"] > 0.1
    assert reached["grip"] == reached["lift"] == 0.0
    held = reward.step(HELD, STILL)
    assert held["grip"] == pytest.approx(RewardConfig().grip)
    lifted = reward.step(LIFTED, STILL)
    assert lifted["lift"] == pytest.approx(RewardConfig().lift)
    assert lifted["success"] == RewardConfig().success


def test_lifting_without_holding_earns_nothing():
    reward = PotentialReward(RewardConfig())
    reward.reset(NEAR)
    assert reward.step(Situation(0.01, 0.05, False, 0.015, False, False), STILL)["lift"] == 0.0


def test_an_object_in_the_air_needs_no_approach_any_more():
    reward = PotentialReward(RewardConfig())
    reward.reset(HELD)
    away = Situation(0.2, 1.0, True, 0.1, False, False)
    terms = reward.step(away, STILL)
    assert terms["reach"] > -0.05
    assert terms["align"] > -0.05


def test_half_a_turn_off_is_aligned_because_the_jaws_are_alike():
    rewards = []
    for yaw in (0.0, np.pi, np.pi / 4):
        reward = PotentialReward(RewardConfig())
        reward.reset(FAR)
        rewards.append(reward.step(Situation(0.01, yaw, False, 0.0, False, False), STILL)["align"])
    assert rewards[0] == pytest.approx(rewards[1])
    assert rewards[2] < rewards[0] - 0.3


def test_collisions_time_and_jerks_cost():
    config = RewardConfig()
    reward = PotentialReward(config)
    reward.reset(NEAR)
    first = reward.step(Situation(0.01, 0.05, False, 0.0, False, True), np.ones(5))
    assert first["collision"] == config.collision < 0
    assert first["time"] == config.time < 0
    assert first["smooth"] == 0.0, "there is no action before the first one"
    assert reward.step(NEAR, np.ones(5))["smooth"] == 0.0
    assert reward.step(NEAR, -np.ones(5))["smooth"] == pytest.approx(4 * config.smooth)


def test_the_action_is_remembered_by_value():
    reward = PotentialReward(RewardConfig())
    reward.reset(NEAR)
    action = np.zeros(5)
    reward.step(NEAR, action)
    action[:] = 1.0
    assert reward.step(NEAR, action)["smooth"] < 0


def test_reset_forgets_the_last_episode():
    reward = PotentialReward(RewardConfig())
    reward.reset(NEAR)
    reward.step(LIFTED, np.ones(5))
    reward.reset(FAR)
    terms = reward.step(FAR, -np.ones(5))
    assert terms["smooth"] == 0.0
    assert abs(sum(terms[name] for name in SHAPING)) < 0.05


def test_a_successful_episode_is_worth_more_than_any_without_success():
    config = RewardConfig()
    best_without = config.reach + config.align + config.grip + config.lift
    reward = PotentialReward(config)
    reward.reset(FAR)
    total = sum(sum(reward.step(item, STILL).values()) for item in (NEAR, HELD, LIFTED))
    assert total > best_without
    assert config.success > best_without, "or a discounting learner would rather hold for ever"
