"""What lies between a setpoint and the joints of a simulated arm: limits of an action, lag, standing error, jaws."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.action_limits import shortened
from simtoreal.contracts import Action
from simtoreal.envs.kinematics import SerialChain, toward
from simtoreal.envs.robot import Gripper, RobotSpec
from simtoreal.envs.world_sample import DynamicsSample

FloatArray = NDArray[np.float64]
_IK_ITERATIONS = 4  # per tick, from the joints of the tick before
_INSTANT_S = 1e-4  # a shorter time constant is no lag at all
_CLOSING_M = 0.001  # jaws this much wider than commanded are on their way, or press on something


class ArmMotion:
    """Where the joints are told to go, tick by tick, while the tool follows its goal as an imperfect arm does."""

    def __init__(self, chain: SerialChain, q_home_rad: FloatArray) -> None:
        self._chain = chain
        self._home = q_home_rad
        self.begin(chain.forward(q_home_rad), DynamicsSample(), 1.0)

    def begin(self, T_base_tcp: FloatArray, dynamics: DynamicsSample, tick_s: float) -> None:
        """Starts an episode at rest, with the arm at home and the tool at a pose."""
        self.q_rad = self._home.copy()
        self.T_target = T_base_tcp
        self._standing_error_m = np.array(dynamics.standing_error_m)
        lag_s = dynamics.tracking_lag_s
        self._share = 1.0 - math.exp(-tick_s / lag_s) if lag_s > _INSTANT_S else 1.0

    def advance(self, T_goal: FloatArray, tip_offset_m: float) -> FloatArray:
        """Joint targets (J,) for the next tick.

        Args:
            T_goal: (4, 4), where the point between the tips shall be.
            tip_offset_m: how far the tips are ahead of the tool frame of the robot, along the approach.
        """
        self.T_target = T_goal if self._share == 1.0 else toward(self.T_target, T_goal, self._share)
        T = self.T_target.copy()
        T[:3, 3] += self._standing_error_m
        if tip_offset_m:
            T[:3, 3] -= tip_offset_m * T[:3, 2]
        self.q_rad = self._chain.inverse(T, self.q_rad, self._home, _IK_ITERATIONS)
        return self.q_rad


class JawMotion:
    """What the jaws are told, and what their measured opening says about what they are doing."""

    def __init__(self, gripper: Gripper) -> None:
        self._gripper = gripper
        ends = np.subtract(gripper.opening.joint_positions[0], gripper.opening.joint_positions[-1])
        self._travel = np.abs(ends) / gripper.max_opening_m  # joint motion per metre of opening
        self.begin(DynamicsSample())

    def begin(self, dynamics: DynamicsSample) -> None:
        """Starts an episode with the jaws open; the world cannot make them stronger or faster than they are."""
        gripper = self._gripper
        self.width_m = self.measured_m = gripper.max_opening_m
        self.efforts = np.multiply(gripper.effort_per_newton, min(dynamics.gripper_force_n, gripper.max_force_n))
        speed_m_s = min(dynamics.gripper_speed_m_s, gripper.max_speed_m_s)
        self.speeds = np.maximum(self._travel * speed_m_s, 0.01)

    def measure(self, finger_joints: Sequence[float]) -> None:
        """Takes the reading of finger joints (G) that is due once per control period."""
        self.measured_m = self._gripper.opening.width_at(finger_joints)

    @property
    def is_closing(self) -> bool:
        return self.measured_m > self.width_m + _CLOSING_M


def limited(action: Action, position_m: FloatArray, table_height_m: float, robot: RobotSpec) -> Action:
    """The nearest action inside the limits of a robot whose setpoint is at `position_m` (3,).

    Raises:
        ValueError: a component is not finite, or a vector has not three of them.
    """
    short = shortened(action, robot.max_delta_m, robot.max_delta_rotation_rad)
    delta, start_m, floor_m = short.delta_m.tolist(), position_m.tolist(), (0, 0, table_height_m)
    inside = []
    for value, start, low, high, floor in zip(
        delta, start_m, robot.workspace_low_m, robot.workspace_high_m, floor_m, strict=True
    ):
        inside.append(min(max(start + value, low + floor), high + floor) - start)
    width_m = min(max(short.gripper_width_m, 0.0), robot.gripper.max_opening_m)
    return Action(np.array(inside), short.delta_rotation_rad, width_m)


def solve_home(chain: SerialChain, robot: RobotSpec) -> FloatArray:
    """Joint positions (J,) with the tool at the robot's home, pointing down.

    Raises:
        ValueError: the arm does not reach it.
    """
    start = np.array(robot.home_joint_positions_rad)
    goal = frames.top_down(robot.home_position_m, 0.0)
    q = start
    for _ in range(20):
        q = chain.inverse(goal, q, start, num_iterations=10)
    error = float(np.abs(chain.forward(q) - goal).max())
    if error > 2e-3:
        raise ValueError(
            f"{robot.name}: home_position_m {robot.home_position_m} cannot be reached pointing down "
            f"(off by {error:.3f}); choose another or give a better home_joint_positions_rad"
        )
    return q
