"""The scripted servo: approach above the grasp, descend, close, lift, and try again after a miss.

It is the baseline every learned head has to beat, and the hand of the privileged oracle.
"""

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, HeadInterface

FloatArray = NDArray[np.float64]
_STILL_M = 0.0008  # in one period


class Phase(Enum):
    """What the servo is doing."""

    APPROACH = "approach"
    DESCEND = "descend"
    RELIEVE = "relieve"
    CLOSE = "close"
    LIFT = "lift"


@dataclass(frozen=True)
class ServoConfig:
    """Distances, tolerances and times of the servo."""

    clearance_m: float = 0.07  # above the grasp, before descending
    lift_m: float = 0.18
    tolerance_m: float = 0.006  # across, before descending
    tolerance_rad: float = 0.08
    sink_m: float = 0.003  # below a low grasp: too high, jaws miss what lies flat; too low, they only meet the table
    sink_more_m: float = 0.004  # after every miss without having met it
    low_m: float = 0.008  # a grasp this low over the nominal table is low
    high_m: float = 0.018  # and this high it is not: deeper is worse on a rim that widens downwards
    near_m: float = 0.01  # to the goal
    held_up_m: float = 0.0008  # a tool that comes to rest this far above its goal has met something
    relief_m: float = 0.0005  # back up from there: jaws that press on a table do not close
    relief_gain: float = 0.4  # of what is left of that, per period
    relief_s: float = 0.4  # at most
    press_m: float = 0.003  # lead of the setpoint over a tool that is held up, at most
    close_s: float = 0.45  # at least this long with the jaws told to close
    steady_s: float = 0.2  # the measurement has not moved for this long
    patience_s: float = 3.0  # in one phase, before going on regardless
    integral_gain: float = 0.15  # of the standing error, per period
    max_correction_m: float = 0.01  # more would press a blocked tool into what blocks it


class ServoHead:
    """Moves the setpoint straight to where it should be, and corrects the standing error once the arm is still."""

    def __init__(self, config: ServoConfig | None = None) -> None:
        self.config = config or ServoConfig()
        self.reset()

    def reset(self) -> None:
        self.phase = Phase.APPROACH
        self._phase_s = 0.0
        self._still_s = 0.0
        self._settled_s = 0.0
        self._correction = np.zeros(3)
        self._previous: FloatArray | None = None
        self._T_closed: FloatArray | None = None
        self._reach_m = self.config.sink_m  # how far a low grasp is sunk
        self._held_up = False

    def act(self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface) -> FloatArray:
        """One action vector (ACTION_DIM,) in [-1, 1]."""
        self._notice(observation, interface)
        self._next_phase(observation, estimate, interface)
        goal = self._goal(observation, estimate)
        return self._toward(goal, observation, interface)

    def retry(self) -> None:
        """Told that the jaws hold nothing: open, rise and start again, lower if there was nothing in the way."""
        if self.phase in (Phase.CLOSE, Phase.LIFT) and not self._held_up:
            self._reach_m += self.config.sink_more_m
        self._enter(Phase.APPROACH)

    def _notice(self, observation: Observation, interface: HeadInterface) -> None:
        period_s = 1.0 / interface.scale.control_hz
        interface.begin(observation)
        assert interface.T_base_tcp_commanded is not None
        setpoint_m = interface.T_base_tcp_commanded[:3, 3]
        reading = np.array([*observation.T_base_tcp[:3, 3], observation.gripper_width_m, *setpoint_m])
        change = np.full(7, np.inf) if self._previous is None else np.abs(reading - self._previous)
        self._still_s = 0.0 if change[:4].max() > _STILL_M else self._still_s + period_s
        # A late arm is still at first, although its setpoint has long been on its way: that is no standing error.
        self._settled_s = 0.0 if change.max() > _STILL_M else self._settled_s + period_s
        self._phase_s += period_s
        self._previous = reading

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._phase_s = 0.0
        self._still_s = 0.0
        self._settled_s = 0.0

    def _next_phase(self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface) -> None:
        config = self.config
        error, yaw_error = interface.errors(observation, estimate.T_base_grasp)
        error[2] -= self._sink(estimate)
        across = math.hypot(error[0], error[1])
        impatient = self._phase_s > config.patience_s
        if self.phase is Phase.APPROACH:
            aligned = across < config.tolerance_m and abs(yaw_error) < config.tolerance_rad
            # After a miss the tool is down with its jaws closed: up and open first.
            is_open = observation.gripper_width_m > 0.8 * interface.scale.max_opening_m
            ready = error[2] < 0.03 - config.clearance_m and is_open
            if ((aligned and ready) or impatient) and error[2] > -config.clearance_m - 0.03:
                self._enter(Phase.DESCEND)
        elif self.phase is Phase.DESCEND:
            if across > 4 * config.tolerance_m and not impatient:
                self._enter(Phase.APPROACH)
            elif self._has_come_to_rest(error[2]) or impatient:
                self._arrive(observation, error[2])
        else:
            self._next_phase_below(observation, impatient)

    def _next_phase_below(self, observation: Observation, impatient: bool) -> None:
        config = self.config
        if self.phase is Phase.RELIEVE:
            assert self._T_closed is not None
            risen = observation.T_base_tcp[2, 3] > self._T_closed[2, 3] - 0.3 * config.relief_m
            if risen or self._phase_s > config.relief_s:
                self._enter(Phase.CLOSE)
        elif self.phase is Phase.CLOSE:
            steady = self._still_s > config.steady_s or impatient
            if steady and self._phase_s > config.close_s:
                self._enter(Phase.LIFT)

    def _sink(self, estimate: GraspEstimate) -> float:
        config = self.config
        share = (config.high_m - float(estimate.T_base_grasp[2, 3])) / (config.high_m - config.low_m)
        return self._reach_m * min(max(share, 0.0), 1.0)

    def _has_come_to_rest(self, error_z_m: float) -> bool:
        # Far from its goal a late arm may only not have started yet.
        return self._still_s > self.config.steady_s * (1.0 if abs(error_z_m) < self.config.near_m else 2.0)

    def _arrive(self, observation: Observation, error_z_m: float) -> None:
        self._T_closed = observation.T_base_tcp.copy()
        self._held_up = error_z_m < -self.config.held_up_m
        if self._held_up:
            self._T_closed[2, 3] += self.config.relief_m
        self._enter(Phase.RELIEVE if self._held_up else Phase.CLOSE)

    def _goal(self, observation: Observation, estimate: GraspEstimate) -> FloatArray:
        if self.phase in (Phase.RELIEVE, Phase.CLOSE, Phase.LIFT) and self._T_closed is not None:
            goal = self._T_closed.copy()
            goal[2, 3] += self.config.lift_m if self.phase is Phase.LIFT else 0.0
            return goal
        goal = estimate.T_base_grasp.copy()
        goal[2, 3] -= self._sink(estimate)
        if self.phase is Phase.APPROACH:
            across = math.dist(goal[:2, 3], observation.T_base_tcp[:2, 3])
            # Far away, stay high: what stands between may be as tall as the object.
            goal[2, 3] += self.config.clearance_m + min(0.5 * max(across - 0.03, 0.0), 0.05)
        return goal

    def _toward(self, goal: FloatArray, observation: Observation, interface: HeadInterface) -> FloatArray:
        error, yaw_error = interface.errors(observation, goal)
        lead, yaw_lead = interface.lead(observation)
        if self._settled_s > 0.1 and self.phase not in (Phase.RELIEVE, Phase.CLOSE):
            self._correction += self.config.integral_gain * error
        limit = self.config.max_correction_m
        self._correction = np.clip(self._correction, -limit, limit)
        step = (error - lead + self._correction) / interface.scale.max_delta_m
        if self.phase is Phase.CLOSE:
            step = np.zeros(3)
        elif self.phase is Phase.RELIEVE:
            up_m = max(self.config.relief_gain * error[2], -lead[2] - self.config.press_m)
            step = np.array([0.0, 0.0, up_m / interface.scale.max_delta_m])
        action = np.zeros(ACTION_DIM)
        action[:3] = step / max(1.0, float(np.abs(step).max()))
        if self.phase is Phase.DESCEND:
            action[:3] *= 0.6
        turn = yaw_error - yaw_lead
        action[3] = 0.0 if self.phase is Phase.CLOSE else np.clip(turn / interface.scale.max_yaw_rad, -1.0, 1.0)
        action[4] = -1.0 if self.phase in (Phase.CLOSE, Phase.LIFT) else 1.0
        return action
