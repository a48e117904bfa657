"""Looking again: after a miss, and once before any miss for a grasp that looks doubtful from close by."""

import numpy as np
import pytest
from kinematic_arm import HOME, SCALE, Arm, ArmConfig, Guesses

from simtoreal import frames
from simtoreal.contracts import FloatArray, GraspEstimate, Observation
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.servo import ServoHead
from simtoreal.runtime import run_episode

TARGET = frames.top_down((0.52, 0.05, 0.02), 0.6)
WRONG = frames.top_down((0.48, -0.05, 0.02), 0.0)


class Doubts(Guesses):
    """Is sure of its grasp from afar and doubts it from close by, until it has been back `num_looks` times."""

    def __init__(self, num_looks: int, *poses: FloatArray) -> None:
        super().__init__(*poses)
        self.num_low_looks, self._num_looks, self._was_low = 0, num_looks, False

    def estimate(self, observation: Observation) -> GraspEstimate | None:
        estimate = super().estimate(observation)
        assert estimate is not None
        low = bool(observation.T_base_tcp[2, 3] < 0.15)
        self.num_low_looks += low and not self._was_low
        self._was_low = low
        return estimate._replace(quality=0.1) if low and self.num_low_looks <= self._num_looks else estimate


def heights_of(arm: Arm, policy: GraspPolicy, limit_s: float = 15.0) -> FloatArray:
    """Height of the tool in every period, until the object is lifted."""
    heights: list[float] = []

    def finished(index: int) -> bool:
        heights.append(float(arm.T_base_tcp[2, 3]))
        return arm.rise_m > 0.1 or index > limit_s * SCALE.control_hz

    run_episode(arm, policy, arm.reset(), finished)
    return np.array(heights)


def dips(heights: FloatArray) -> int:
    """How often the tool came down to the table."""
    low = heights < 0.1
    return int(low[0]) + int((low[1:] & ~low[:-1]).sum())


@pytest.mark.parametrize("looks_again", [True, False])
def test_after_a_miss_the_tool_goes_back_to_where_it_saw_everything(looks_again: bool):
    arm, source = Arm(TARGET, ArmConfig(lag_s=0.05)), Guesses(WRONG, TARGET)
    heights = heights_of(arm, GraspPolicy(source, ServoHead(), SCALE, looks_again=looks_again))
    assert arm.rise_m > 0.1
    first_dip = int(np.argmax(heights < 0.03))
    highest_after_m = heights[first_dip : -1 - int(np.argmax(heights[::-1] < 0.03))].max()
    assert (highest_after_m > HOME[2, 3] - 0.10) == looks_again


def test_on_the_way_back_the_jaws_are_open_and_the_tool_first_goes_straight_up():
    arm, source = Arm(TARGET, ArmConfig()), Guesses(WRONG, TARGET)
    policy = GraspPolicy(source, ServoHead(), SCALE, looks_again=True)
    path: list[FloatArray] = []

    def finished(_: int) -> bool:
        if source.misses:
            path.append(np.array([*arm.T_base_tcp[:3, 3], arm.commanded_width_m]))
        return arm.rise_m > 0.1

    run_episode(arm, policy, arm.reset(), finished)
    way_up = np.array(path)[: int(np.argmax(np.array(path)[:, 2] > HOME[2, 3] - 0.10))]
    assert (way_up[1:, 3] > 0.07).all()
    low = way_up[way_up[:, 2] < WRONG[2, 3] + 0.03]
    assert np.linalg.norm(low[:, :2] - WRONG[:2, 3], axis=1).max() < 0.012


def test_a_doubtful_grasp_is_looked_at_again_and_taken_if_it_is_the_best_there_is():
    for num_looks, expected in ((0, 1), (1, 2), (100, 2)):
        arm, source = Arm(TARGET, ArmConfig()), Doubts(num_looks, TARGET)
        policy = GraspPolicy(source, ServoHead(), SCALE, looks_again=True)
        heights_of(arm, policy)
        assert arm.rise_m > 0.1
        assert source.num_low_looks == expected
        assert arm.num_closings == 1


def test_after_a_miss_there_is_no_time_for_doubts():
    arm, source = Arm(TARGET, ArmConfig()), Doubts(100, WRONG, TARGET)
    heights_of(arm, GraspPolicy(source, ServoHead(), SCALE, looks_again=True))
    assert arm.rise_m > 0.1
    assert arm.num_closings == 2
    assert source.num_low_looks == 3  # the first grasp twice, the second once


def test_who_knows_the_scene_does_not_look_again():
    arm, source = Arm(TARGET, ArmConfig()), Doubts(100, TARGET)
    heights = heights_of(arm, GraspPolicy(source, ServoHead(), SCALE))
    assert arm.rise_m > 0.1
    assert dips(heights) == 1


def test_an_arm_that_cannot_go_back_goes_on_after_a_while():
    arm, source = Arm(TARGET, ArmConfig()), Guesses(WRONG, TARGET)
    policy = GraspPolicy(source, ServoHead(), SCALE, looks_again=True)
    stuck_since: list[int] = []

    def finished(index: int) -> bool:
        if source.misses and not stuck_since:
            stuck_since.append(index)
        arm.blocked = bool(stuck_since) and index < stuck_since[0] + 5 * SCALE.control_hz
        return arm.rise_m > 0.1 or index > 20 * SCALE.control_hz

    run_episode(arm, policy, arm.reset(), finished)
    assert arm.rise_m > 0.1
