"""The scripted servo: approach above the grasp, descend, close, lift, and try again after a miss.

Flat things are what it takes most care of: jaws a little too high miss them, and jaws that press on the table do not
close. So it reaches lower for what lies low, waits until the tool is at rest, and eases off whatever holds it up.

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
    tolerance_m: float = 0.012  # across, before descending from the full clearance
    tolerance_rad: float = 0.16
    slack_below: float = 2.0  # the tolerances of a tool that is down already, in units of those above
    sink_m: float = 0.003  # below a low grasp
    sink_more_m: float = 0.004  # after every miss
    low_m: float = 0.008  # a grasp this low over the nominal table is low
    high_m: float = 0.018  # and this high it is not: deeper is worse on a rim that widens downwards
    near_m: float = 0.01  # to the goal; farther from it a late arm may only not have started yet
    held_up_m: float = 0.002  # a tool that comes to rest this far above its goal has met something
    relief_m: float = 0.0005  # back up from there
    rise_m: float = 0.003  # so much farther a tool may be that was near before it eased
    relief_gain: float = 0.4  # of what is left of that, per period
    relief_s: float = 0.4  # at most
    press_m: float = 0.003  # lead of the setpoint over a tool that is held up, at most
    close_s: float = 0.45  # at least this long with the jaws told to close
    steady_s: float = 0.2  # the measurement has not moved for this long
    patience_s: float = 3.0  # afterwards the tolerances widen, and jaws that move on are no reason to wait


class ServoHead:
    """Moves the setpoint straight to where it should be, and makes up for what lead remains when the arm is still."""

    def __init__(self, config: ServoConfig | None = None) -> None:
        self.config = config or ServoConfig()

    def act(self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface) -> FloatArray:
        """One action vector (ACTION_DIM,) in [-1, 1]."""
        if interface.is_closing and not interface.is_empty(observation):
            return self._hold(interface)
        error, yaw_error = interface.errors(observation, estimate.T_base_grasp)
        sink_m = self._sink(estimate, interface)
        error[2] -= sink_m
        descends = self._may_descend(error, yaw_error, observation, interface)
        if descends and self._is_down(error, observation, interface):
            held_up = bool(error[2] < -self.config.held_up_m)
            # A low grasp may press on the table without being held up: an arm has errors of its own.
            ease_m = self._ease(held_up, observation, interface) if held_up or sink_m > 0.0 else 0.0
            up = np.array([0.0, 0.0, ease_m / interface.scale.max_delta_m])
            # Far above its goal a tool that has eased would only go down again, until time is up: it closes meanwhile.
            waits = ease_m > (0.0 if self._is_near(error) else interface.scale.max_delta_m)
            return _action(up, 0.0, jaws=1.0 if waits else -1.0)
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

    def _sink(self, estimate: GraspEstimate, interface: HeadInterface) -> float:
        config = self.config
        share = (config.high_m - float(estimate.T_base_grasp[2, 3])) / (config.high_m - config.low_m)
        return (config.sink_m + config.sink_more_m * interface.num_misses) * min(max(share, 0.0), 1.0)

    def _is_down(self, error: FloatArray, observation: Observation, interface: HeadInterface) -> bool:
        config = self.config
        if self._has_eased(observation, interface) and self._is_near(error, config.rise_m):
            return True
        is_below = -float(error[2]) < config.clearance_m - 0.02
        return is_below and interface.still_s > config.steady_s * (1.0 if self._is_near(error) else 2.0)

    def _is_near(self, error: FloatArray, more_m: float = 0.0) -> bool:
        return abs(float(error[2])) < self.config.near_m + more_m

    def _has_eased(self, observation: Observation, interface: HeadInterface) -> bool:
        return float(observation.T_base_tcp[2, 3]) - interface.lowest_m > 0.7 * self.config.relief_m

    def _ease(self, held_up: bool, observation: Observation, interface: HeadInterface) -> float:
        """How far the setpoint goes up for a tool that came to rest; 0 when it has risen a little."""
        config = self.config
        if self._has_eased(observation, interface) or interface.still_s > 2.0 * config.steady_s + config.relief_s:
            return 0.0
        left_m = interface.lowest_m + config.relief_m - float(observation.T_base_tcp[2, 3])
        over_m = -float(interface.lead(observation)[0][2]) - config.press_m if held_up else 0.0
        return max(config.relief_gain * left_m, over_m)

    def _hold(self, interface: HeadInterface) -> FloatArray:
        """Waits until the jaws are still, then lifts."""
        config = self.config
        steady = interface.closed_s > config.close_s and interface.still_s > config.steady_s
        lifts = steady or interface.has_lifted or interface.closed_s > config.patience_s
        rise_m = config.lift_m - interface.commanded_rise_m if lifts else 0.0
        return _action(np.array([0.0, 0.0, rise_m / interface.scale.max_delta_m]), 0.0, jaws=-1.0)


def _action(step: FloatArray, turn: float, jaws: float) -> FloatArray:
    """An action vector (ACTION_DIM,) in [-1, 1]; `step` (3,) in units of the largest."""
    action = np.empty(ACTION_DIM)
    action[:3], action[3], action[4] = step, turn, jaws
    return np.clip(action, -1.0, 1.0)
