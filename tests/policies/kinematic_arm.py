"""A simple arm with latency, lag and a standing error over one object, and grasps that are told instead of seen."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from simtoreal import frames
from simtoreal.contracts import Action, FloatArray, GraspEstimate, Observation
from simtoreal.head_interface import HeadScale

HOME = frames.top_down((0.45, 0.02, 0.30), 0.0)
SCALE = HeadScale()
OBJECT_M = 0.03  # its width
STICKING_M = 0.0035


@dataclass(frozen=True)
class ArmConfig:
    """How bad the arm is."""

    action_latency: int = 0  # periods
    observation_latency: int = 0
    lag_s: float = 0.0
    standing_error_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise_m: float = 0.0
    floor_m: float = -1.0  # of the tool; jaws that press on it by more than `STICKING_M` of lead do not move
    give: float = 0.0  # how far an arm bends on the floor, per metre that it is told to go deeper
    reach_m: float = 0.01  # the object is held if the tool closes no farther above or below it


class Arm:
    """A kinematic arm over one object that can be held from `T_base_object`, as a `Controller`."""

    control_hz = SCALE.control_hz

    def __init__(self, T_base_object: FloatArray, config: ArmConfig) -> None:
        self.T_base_object, self._config = T_base_object, config
        self.T_base_tcp, self.setpoint, self.width_m = HOME.copy(), HOME.copy(), 0.08
        self.commanded_width_m, self.rise_m, self.blocked = 0.08, 0.0, False
        self.max_lead_m = 0.0
        self.T_closings: list[FloatArray] = []  # where the tool was when the jaws were told to close
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
        if action.gripper_width_m < 0.04 <= self.commanded_width_m:
            self.T_closings.append(self.T_base_tcp)
        self.commanded_width_m = action.gripper_width_m
        self._actions.append((self.setpoint, action.gripper_width_m))
        self._move(*self._actions.popleft())
        self._t_s += 1.0 / self.control_hz
        self.max_lead_m = max(self.max_lead_m, float(np.linalg.norm(self.setpoint[:3, 3] - self.T_base_tcp[:3, 3])))
        return action

    @property
    def num_closings(self) -> int:
        return len(self.T_closings)

    @property
    def at_object(self) -> bool:
        across = np.linalg.norm(self.T_base_tcp[:2, 3] - self.T_base_object[:2, 3])
        turn = frames.wrap_half_turn(frames.yaw_of(self.T_base_tcp) - frames.yaw_of(self.T_base_object))
        beside = abs(self.T_base_tcp[2, 3] - self.T_base_object[2, 3]) < self._config.reach_m
        return bool(across < 0.01 and beside and abs(turn) < 0.15)

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
        sticks = setpoint[2, 3] < self._config.floor_m - STICKING_M and self.T_base_tcp[2, 3] <= self._config.floor_m
        bent_m = self._config.give * max(self._config.floor_m - setpoint[2, 3], 0.0)
        self.T_base_tcp[2, 3] = max(self.T_base_tcp[2, 3], self._config.floor_m - bent_m)
        self.T_base_tcp[:3, :3] = frames.rotation_from_vector(share * turn) @ self.T_base_tcp[:3, :3]
        step_m = 0.0 if sticks else 0.15 / self.control_hz
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

    def missed(self, T_base_tcp: FloatArray, slipped: bool = False) -> None:
        self.misses.append(T_base_tcp)
