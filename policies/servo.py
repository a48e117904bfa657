"""The scripted servo: approach above the grasp, descend, close, lift, and try again after a miss.

It is the baseline every learned head has to beat, their teacher, and the hand of the privileged oracle. What it does
follows from what `HeadInterface` shows to every head and from nothing else, so that a head can learn it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, HeadInterface

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ServoConfig:
    """Distances, tolerances and times of the servo."""

    clearance_m: float = 0.07  # above the grasp, before descending
    lift_m: float = 0.18
    tolerance_m: float = 0.006  # across, before descending from the full clearance
    tolerance_rad: float = 0.08
    slack_below: float = 4.0  # the tolerances of a tool that is down already, in units of those above
    depth_tolerance_m: float = 0.004
    close_s: float = 0.45  # at least this long with the jaws told to close
    steady_s: float = 0.2  # the measurement has not moved for this long
    blocked_s: float = 0.4  # a tool that has not moved for this long on its way down has met something
    patience_s: float = 3.0  # afterwards the tolerances widen, and jaws that move on are no reason to wait


class ServoHead:
    """Moves the setpoint straight to where it should be, and makes up for what lead remains when the arm is still."""

    def __init__(self, config: ServoConfig | None = None) -> None:
        self.config = config or ServoConfig()

    def reset(self) -> None:
        """Nothing to forget: what a head remembers is in the interface."""

    def act(self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface) -> FloatArray:
        """One action vector (ACTION_DIM,) in [-1, 1]."""
        if interface.is_closing and not interface.is_empty(observation):
            return self._hold(interface)
        error, yaw_error = interface.errors(observation, estimate.T_base_grasp)
        descends = self._may_descend(error, yaw_error, observation, interface)
        if descends and self._is_down(error, interface):
            return _action(np.zeros(3), 0.0, jaws=-1.0)
        if not descends:
            across_m = math.hypot(error[0], error[1])
            # Far away, stay high: what stands between may be as tall as the object.
            error[2] += self.config.clearance_m + min(0.5 * max(across_m - 0.03, 0.0), 0.05)
        lead, yaw_lead = interface.lead(observation)
        step = (error - lead + interface.standing(observation)) / interface.scale.max_delta_m
        step /= max(1.0, float(np.abs(step).max()))
        return _action(0.6 * step if descends else step, (yaw_error - yaw_lead) / interface.scale.max_yaw_rad, jaws=1.0)

    def _may_descend(
        self, error: FloatArray, yaw_error: float, observation: Observation, interface: HeadInterface
    ) -> bool:
        config = self.config
        above_m = -float(error[2])
        # The lower, the more it may be off: a tool on its way down should not turn back for a trifle.
        down = 1.0 - min(max(above_m / config.clearance_m, 0.0), 1.0)
        impatience = max(interface.open_s - config.patience_s, 0.0)
        slack = (1.0 + (config.slack_below - 1.0) * down) * (1.0 + 2.0 * impatience)
        aligned = math.hypot(error[0], error[1]) < slack * config.tolerance_m
        aligned &= abs(yaw_error) < slack * config.tolerance_rad
        # After a miss the tool is down with its jaws closed: up and open first.
        is_open = observation.gripper_width_m > 0.8 * interface.scale.max_opening_m or impatience > 0.0
        return aligned and is_open and above_m < config.clearance_m + 0.03

    def _is_down(self, error: FloatArray, interface: HeadInterface) -> bool:
        config = self.config
        blocked = interface.still_s > config.blocked_s and -error[2] < config.clearance_m - 0.02
        return bool(abs(error[2]) < config.depth_tolerance_m or blocked)

    def _hold(self, interface: HeadInterface) -> FloatArray:
        """Waits until the jaws are still, then lifts."""
        config = self.config
        steady = interface.closed_s > config.close_s and interface.still_s > config.steady_s
        lifts = steady or interface.commanded_rise_m > 0.005 or interface.closed_s > config.patience_s
        rise_m = config.lift_m - interface.commanded_rise_m if lifts else 0.0
        return _action(np.array([0.0, 0.0, rise_m / interface.scale.max_delta_m]), 0.0, jaws=-1.0)


def _action(step: FloatArray, turn: float, jaws: float) -> FloatArray:
    """An action vector (ACTION_DIM,) in [-1, 1]; `step` (3,) in units of the largest."""
    action = np.empty(ACTION_DIM)
    action[:3], action[3], action[4] = step, turn, jaws
    return np.clip(action, -1.0, 1.0)
