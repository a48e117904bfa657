"""Spoiled grasps: off as much as was measured, mostly in the same way for a whole attempt, frozen close up."""

import math

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.contracts import FloatArray, GraspEstimate, Observation
from simtoreal.envs.noisy_grasps import NoisyGrasps
from simtoreal.perception_error import PerceptionError

TRUE = frames.top_down((0.5, 0.0, 0.03), 0.4)
ERROR = PerceptionError((0.2, 0.6), (0.004, 0.012), (0.002, 0.006), (0.1, 0.3), (0.0, 0.0))
WRONG = PerceptionError((0.2,), (0.0,), (0.0,), (0.0,), (0.3,))


class Truth:
    """A source that knows one grasp, or none."""

    def __init__(self, pose: FloatArray | None = TRUE) -> None:
        self.pose, self.misses, self.resets = pose, 0, 0

    def reset(self) -> None:
        self.resets += 1

    def missed(self, T_base_tcp: FloatArray, slipped: bool = False) -> None:
        self.misses += 1

    def estimate(self, observation: Observation) -> GraspEstimate | None:
        return None if self.pose is None else GraspEstimate(self.pose, 0.04, 0.8)


def observation_at(height_m: float, t_s: float = 0.0) -> Observation:
    tool = frames.top_down((0.5, 0.0, height_m), 0.0)
    return Observation(t_s, None, None, np.eye(3), np.eye(4), tool, 0.08, None)


def noisy(error: PerceptionError = ERROR, seed: int = 0, truth: Truth | None = None) -> NoisyGrasps:
    return NoisyGrasps(truth or Truth(), error, np.random.default_rng(seed))


def errors_at(source: NoisyGrasps, height_m: float, num: int) -> np.ndarray:
    """Errors (num, 4) x, y, z, yaw of the first estimate of so many episodes."""
    rows = []
    for _ in range(num):
        source.reset()
        estimate = source.estimate(observation_at(height_m))
        assert estimate is not None
        T = estimate.T_base_grasp
        turn = frames.wrap_half_turn(frames.yaw_of(T) - frames.yaw_of(TRUE))
        rows.append([*(T[:3, 3] - TRUE[:3, 3]), turn])
    return np.array(rows)


@pytest.mark.parametrize(("height_m", "factor"), [(0.13, 1.0), (0.33, 2.0), (0.9, 3.0)])
def test_errors_are_as_large_as_measured_at_that_distance(height_m: float, factor: float):
    spread = errors_at(noisy(), height_m, 1500).std(axis=0)
    # The camera is 10 cm above the tool: the first height is 0.2 m away from the grasp.
    assert spread == pytest.approx(factor * np.array([0.004, 0.004, 0.002, 0.1]), rel=0.1)


def test_the_scale_of_the_errors_can_be_turned_down_to_nothing():
    source = noisy()
    source.scale = 0.0
    assert np.abs(errors_at(source, 0.3, 20)).max() < 1e-12
    source.scale = 0.5
    assert errors_at(source, 0.13, 800).std(axis=0)[0] == pytest.approx(0.002, rel=0.15)


def test_most_of_the_error_is_the_same_from_frame_to_frame():
    source, means, within = noisy(), [], []
    for _ in range(200):
        source.reset()
        found = [source.estimate(observation_at(0.33, 0.05 * step)) for step in range(10)]
        x = np.array([estimate.T_base_grasp[0, 3] for estimate in found if estimate is not None])
        means.append(x.mean())
        within.append(x.var())
    share = np.var(means) / (np.var(means) + np.mean(within))
    assert 0.55 < share < 0.75


def test_a_share_of_the_estimates_is_no_grasp_at_all_and_looks_worse():
    source = noisy(WRONG)
    offsets, qualities = [], []
    for _ in range(600):
        source.reset()
        estimate = source.estimate(observation_at(0.3))
        assert estimate is not None
        offsets.append(float(np.linalg.norm(estimate.T_base_grasp[:2, 3] - TRUE[:2, 3])))
        qualities.append(estimate.quality)
    wrong = np.array(offsets) > 0.02
    assert wrong.mean() == pytest.approx(0.3, abs=0.06)
    assert np.mean(np.array(qualities)[wrong]) < np.mean(np.array(qualities)[~wrong]) - 0.1


def test_close_up_the_estimate_is_frozen_and_ages():
    source = noisy()
    source.reset()
    before = source.estimate(observation_at(0.10, 1.0))
    found = [source.estimate(observation_at(0.04, 1.0 + 0.05 * step)) for step in range(1, 4)]
    assert before is not None
    for step, estimate in enumerate(found, start=1):
        assert estimate is not None
        assert np.array_equal(estimate.T_base_grasp, before.T_base_grasp)
        assert estimate.age_s == pytest.approx(0.05 * step)


def test_a_miss_is_passed_on_and_another_error_is_drawn():
    truth = Truth()
    source = noisy(truth=truth)
    source.reset()
    close = observation_at(0.05)
    before = source.estimate(close)
    source.missed(TRUE)
    after = source.estimate(close)
    assert truth.misses == 1
    assert before is not None
    assert after is not None
    assert not np.allclose(before.T_base_grasp, after.T_base_grasp)


def test_estimates_stay_estimates():
    source = noisy(PerceptionError((0.2,), (0.2,), (0.2,), (3.0,), (0.5,)))
    for _ in range(200):
        source.reset()
        estimate = source.estimate(observation_at(0.3))
        assert estimate is not None
        assert 0.0 <= estimate.quality <= 1.0
        assert 0.0 <= estimate.width_m <= 0.1
        assert estimate.T_base_grasp[2, 2] == -1.0
        assert math.isclose(float(np.linalg.det(estimate.T_base_grasp[:3, :3])), 1.0)


def test_where_there_is_no_grasp_none_is_made_up():
    source = noisy(truth=Truth(None))
    source.reset()
    assert source.estimate(observation_at(0.3)) is None


def test_a_seed_gives_the_same_errors():
    assert np.array_equal(errors_at(noisy(seed=3), 0.3, 5), errors_at(noisy(seed=3), 0.3, 5))
