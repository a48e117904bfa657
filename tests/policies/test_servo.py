"""The scripted servo on a simple arm with latency, lag and a standing error: it arrives, closes, lifts, tries again."""

import itertools
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, FloatArray, GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, HeadInterface, HeadScale
from simtoreal.policies.grasp_policy import GraspPolicy, RandomPolicy
from simtoreal.policies.servo import Phase, ServoConfig, ServoHead
from simtoreal.runtime import run_episode

HOME = frames.top_down((0.45, 0.02, 0.30), 0.0)
SCALE = HeadScale()
OBJECT_M = 0.03  # its width


@dataclass(frozen=True)
class ArmConfig:
    """How bad the arm is."""

    action_latency: int = 0  # periods
    observation_latency: int = 0
    lag_s: float = 0.0
    standing_error_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_m: float = 0.0


class Arm:
    """A kinematic arm over one object that can be held from `T_base_object`, as a `Controller`."""

    control_hz = SCALE.control_hz

    def __init__(self, T_base_object: FloatArray, config: ArmConfig) -> None:
        self.T_base_object, self._config = T_base_object, config
        self.T_base_tcp, self.setpoint, self.width_m = HOME.copy(), HOME.copy(), 0.08
        self.commanded_width_m, self.rise_m, self.num_closings, self.blocked = 0.08, 0.0, 0, False
        self.max_lead_m = 0.0
        self._rng = np.random.default_rng(0)
        self._t_s = 0.0
        self._actions: deque[tuple[FloatArray, float]] = deque([(HOME, 0.08)] * config.action_latency)
        first = self._observe()
        self._observations: deque[Observation] = deque([first] * config.observation_latency)
        self._latest = first

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def stop(self) -> None: ...

    def reset(self) -> Observation:
        return self._latest

    def get_observation(self) -> Observation:
        self._observations.append(self._observe())
        return self._observations.popleft()

    def send_action(self, action: Action) -> Action:
        self.setpoint = self.setpoint.copy()
        self.setpoint[:3, :3] = frames.rotation_from_vector(action.delta_rotation_rad) @ self.setpoint[:3, :3]
        self.setpoint[:3, 3] += action.delta_m
        self.num_closings += action.gripper_width_m < 0.04 <= self.commanded_width_m
        self.commanded_width_m = action.gripper_width_m
        self._actions.append((self.setpoint, action.gripper_width_m))
        self._move(*self._actions.popleft())
        self._t_s += 1.0 / self.control_hz
        self.max_lead_m = max(self.max_lead_m, float(np.linalg.norm(self.setpoint[:3, 3] - self.T_base_tcp[:3, 3])))
        return action

    @property
    def at_object(self) -> bool:
        across = np.linalg.norm(self.T_base_tcp[:2, 3] - self.T_base_object[:2, 3])
        turn = frames.wrap_half_turn(frames.yaw_of(self.T_base_tcp) - frames.yaw_of(self.T_base_object))
        return bool(across < 0.01 and abs(self.T_base_tcp[2, 3] - self.T_base_object[2, 3]) < 0.01 and abs(turn) < 0.15)

    def _move(self, setpoint: FloatArray, width_m: float) -> None:
        if self.blocked:
            return
        share = 1.0 - np.exp(-1.0 / self.control_hz / self._config.lag_s) if self._config.lag_s else 1.0
        held = self.rise_m > 0 or (self.at_object and self.width_m <= OBJECT_M + 1e-9)
        turn = frames.rotation_to_vector(setpoint[:3, :3] @ self.T_base_tcp[:3, :3].T)
        goal = setpoint[:3, 3] + self._config.standing_error_m
        before_m = self.T_base_tcp[2, 3]
        self.T_base_tcp = self.T_base_tcp.copy()
        self.T_base_tcp[:3, 3] += share * (goal - self.T_base_tcp[:3, 3])
        self.T_base_tcp[:3, :3] = frames.rotation_from_vector(share * turn) @ self.T_base_tcp[:3, :3]
        step_m = 0.15 / self.control_hz
        smallest_m = OBJECT_M if held or self.at_object else 0.0
        self.width_m = max(smallest_m, self.width_m + float(np.clip(width_m - self.width_m, -step_m, step_m)))
        self.rise_m += self.T_base_tcp[2, 3] - before_m if held and width_m < OBJECT_M else 0.0

    def _observe(self) -> Observation:
        T = self.T_base_tcp.copy()
        T[:3, 3] += self._rng.normal(0.0, self._config.noise_m, 3)
        return Observation(self._t_s, None, None, np.eye(3), np.eye(4), T, self.width_m, None)


class Guesses:
    """A `GraspSource` that says one grasp after the other, the next one after a miss."""

    def __init__(self, *poses: FloatArray | None) -> None:
        self._poses = list(poses)
        self.misses: list[FloatArray] = []

    def reset(self) -> None: ...

    def estimate(self, observation: Observation) -> GraspEstimate | None:
        pose = self._poses[min(len(self.misses), len(self._poses) - 1)]
        return None if pose is None else GraspEstimate(pose, OBJECT_M, 0.8)

    def missed(self, T_base_tcp: FloatArray) -> None:
        self.misses.append(T_base_tcp)


def grasp(arm: Arm, source: Guesses, limit_s: float = 12.0) -> GraspPolicy:
    policy = GraspPolicy(source, ServoHead(), SCALE)
    run_episode(arm, policy, arm.reset(), lambda i: arm.rise_m > 0.1 or i > limit_s * SCALE.control_hz)
    return policy


ARMS = {
    "ideal": ArmConfig(),
    "laggy": ArmConfig(lag_s=0.25),
    "late": ArmConfig(action_latency=2, observation_latency=2),
    "offset": ArmConfig(standing_error_m=(0.008, -0.006, 0.006)),
    "noisy": ArmConfig(noise_m=0.0003, lag_s=0.1),
    "everything": ArmConfig(2, 2, 0.15, (0.005, 0.004, -0.005), 0.0002),
}


@pytest.mark.parametrize("arm_config", ARMS.values(), ids=ARMS)
@pytest.mark.parametrize("pose", [(0.52, 0.05, 0.02, 0.6), (0.40, -0.10, 0.06, -1.4), (0.58, 0.1, 0.0, 1.5)], ids=str)
def test_servo_lifts_the_object_at_the_first_attempt(arm_config: ArmConfig, pose: tuple[float, float, float, float]):
    target = frames.top_down(pose[:3], pose[3])
    arm = Arm(target, arm_config)
    policy = grasp(arm, Guesses(target))
    assert arm.rise_m > 0.1
    assert arm.num_closings == 1
    assert policy.num_misses == 0


def test_jaws_stay_open_until_the_tool_is_there():
    target = frames.top_down((0.52, 0.05, 0.02), 0.6)
    arm = Arm(target, ArmConfig(lag_s=0.1))
    closed_at = []
    policy = GraspPolicy(Guesses(target), ServoHead(), SCALE)

    def finished(index: int) -> bool:
        if arm.commanded_width_m < 0.04:
            closed_at.append(arm.T_base_tcp)
        return bool(closed_at) or index > 200

    run_episode(arm, policy, arm.reset(), finished)
    assert np.linalg.norm(closed_at[0][:3, 3] - target[:3, 3]) < 0.006


def test_a_miss_is_noticed_told_and_followed_by_another_attempt():
    target = frames.top_down((0.52, 0.05, 0.02), 0.6)
    wrong = frames.top_down((0.48, -0.05, 0.02), 0.0)
    arm, source = Arm(target, ArmConfig(lag_s=0.05)), Guesses(wrong, target)
    policy = grasp(arm, source, limit_s=15.0)
    assert policy.num_misses == len(source.misses) == 1
    assert np.linalg.norm(source.misses[0][:2, 3] - wrong[:2, 3]) < 0.01
    assert arm.num_closings == 2
    assert arm.rise_m > 0.1


def test_every_miss_is_told_once_and_the_arm_rises_and_opens_in_between():
    wrong = frames.top_down((0.48, -0.05, 0.02), 0.0)
    arm, source = Arm(frames.top_down((0.6, 0.1, 0.0), 0.0), ArmConfig()), Guesses(wrong)
    policy = GraspPolicy(source, ServoHead(), SCALE)
    heights, widths = [], []

    def finished(index: int) -> bool:
        heights.append(arm.T_base_tcp[2, 3])
        widths.append(arm.width_m)
        return len(source.misses) == 3

    run_episode(arm, policy, arm.reset(), finished)
    assert policy.num_misses == arm.num_closings == 3
    closed = np.array(widths) < 0.001
    starts = np.flatnonzero(closed[1:] & ~closed[:-1])
    for first, second in itertools.pairwise(starts):
        assert max(widths[first:second]) > 0.06
        assert max(heights[first:second]) > wrong[2, 3] + 0.04


def test_the_setpoint_does_not_run_away_from_an_arm_that_is_blocked():
    target = frames.top_down((0.52, 0.05, 0.02), 0.6)
    arm = Arm(target, ArmConfig())
    arm.blocked = True
    policy = GraspPolicy(Guesses(target), ServoHead(), SCALE)
    run_episode(arm, policy, arm.reset(), lambda index: index > 20 * SCALE.control_hz)
    reach_m = float(np.linalg.norm(target[:3, 3] - HOME[:3, 3]))
    assert arm.max_lead_m < reach_m + np.sqrt(3) * ServoConfig().max_correction_m + ServoConfig().lift_m


def test_an_arm_that_was_blocked_for_a_while_still_gets_there():
    target = frames.top_down((0.52, 0.05, 0.02), 0.6)
    arm = Arm(target, ArmConfig())
    arm.blocked = True
    policy = GraspPolicy(Guesses(target), ServoHead(), SCALE)

    def finished(index: int) -> bool:
        arm.blocked = index < 30
        return arm.rise_m > 0.1 or index > 300

    run_episode(arm, policy, arm.reset(), finished)
    assert arm.rise_m > 0.1


def test_with_nothing_to_see_the_arm_waits_with_open_jaws():
    arm = Arm(frames.top_down((0.52, 0.05, 0.02), 0.6), ArmConfig())
    policy = GraspPolicy(Guesses(None), ServoHead(), SCALE)
    run_episode(arm, policy, arm.reset(), lambda index: index >= 20)
    assert np.allclose(arm.T_base_tcp, HOME)
    assert arm.commanded_width_m == SCALE.max_opening_m


def test_a_gripper_of_another_size_is_driven_over_its_whole_opening():
    target = frames.top_down((0.52, 0.05, 0.02), 0.6)
    arm = Arm(target, ArmConfig())
    wide = HeadScale(max_opening_m=0.1)
    policy = GraspPolicy(Guesses(target), ServoHead(), wide)
    widths = []
    run_episode(arm, policy, arm.reset(), lambda i: widths.append(arm.commanded_width_m) or i > 80)  # type: ignore[func-returns-value]
    assert max(widths[1:]) == 0.1
    assert min(widths) == 0.0


def test_actions_of_the_servo_are_inside_the_unit_box():
    head, interface = ServoHead(), HeadInterface(SCALE)
    interface.reset()
    rng = np.random.default_rng(0)
    for step in range(300):
        tool = frames.top_down(rng.uniform((0.3, -0.2, 0.0), (0.7, 0.2, 0.4)), rng.uniform(-3, 3))
        observation = Observation(step / 20, None, None, np.eye(3), np.eye(4), tool, rng.uniform(0, 0.08), None)
        pose = frames.top_down(rng.uniform((0.3, -0.2, 0.0), (0.7, 0.2, 0.1)), rng.uniform(-3, 3))
        action = head.act(observation, GraspEstimate(pose, 0.03, 0.5), interface)
        assert action.shape == (ACTION_DIM,)
        assert np.abs(action).max() <= 1.0 + 1e-9
        interface.sent(interface.action(action, observation))


def test_reset_starts_a_new_episode_from_the_beginning():
    target = frames.top_down((0.52, 0.05, 0.02), 0.6)
    policy = GraspPolicy(Guesses(target), ServoHead(), SCALE)
    rises = []
    for _ in range(2):
        arm = Arm(target, ArmConfig(lag_s=0.1))
        run_episode(arm, policy, arm.reset(), lambda i, arm=arm: arm.rise_m > 0.1 or i > 240)
        rises.append((arm.rise_m, arm._t_s))
    assert rises[0] == rises[1]
    policy.reset()
    head = policy.head
    assert isinstance(head, ServoHead)
    assert head.phase is Phase.APPROACH


def random_walk(policy: RandomPolicy) -> NDArray[np.float64]:
    arm = Arm(frames.top_down((0.52, 0.05, 0.02), 0.6), ArmConfig())
    run_episode(arm, policy, arm.reset(), lambda index: index >= 40)
    return arm.T_base_tcp


def test_random_policy_repeats_with_its_seed_and_moves():
    policy = RandomPolicy(SCALE)
    policy.seed((3, 4))
    first = random_walk(policy)
    second = random_walk(policy)
    policy.seed((3, 4))
    assert np.array_equal(first, random_walk(policy))
    assert not np.allclose(first, second)
    assert np.linalg.norm(first[:3, 3] - HOME[:3, 3]) > 0.02
