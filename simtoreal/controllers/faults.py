"""Faults to order, around any controller: what drivers, cables, cameras and clocks do on a bad day."""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from simtoreal.contracts import Action, Controller, Observation


class FaultKind(StrEnum):
    """What goes wrong."""

    SLOW_OBSERVATION = "slow_observation"  # get_observation blocks
    SLOW_ACTION = "slow_action"  # send_action blocks
    DROPPED_ACTION = "dropped_action"  # one does not arrive; the next carries where the setpoint should be
    NAN_POSE = "nan_pose"
    NAN_WIDTH = "nan_width"
    FROZEN_CAMERA = "frozen_camera"
    BLACK_CAMERA = "black_camera"
    NO_DEPTH = "no_depth"
    DISCONNECT = "disconnect"
    SILENT_SENSOR = "silent_sensor"  # the same observation, capture time and all, again and again
    WRONG_SHAPE = "wrong_shape"
    MILLIMETRES = "millimetres"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_BACK = "clock_back"
    STRONG_GRIP = "strong_grip"


class Fault(NamedTuple):
    """One fault: from which control period on, for how many, and how much of it."""

    kind: FaultKind
    at_step: int
    num_steps: int = 1_000_000
    size_s: float = 0.3  # of delays and jumps


class FaultyController:
    """A `Controller` around another one that misbehaves as it is told.

    Args:
        controller: that works.
        fault: what happens, counted in actions since the last reset.
        sleep: how delays pass.
    """

    def __init__(self, controller: Controller, fault: Fault | None, sleep: Callable[[float], None]) -> None:
        self.fault = fault
        self.began_s: float | None = None  # when the fault was first met, on the inner controller's clock
        self._inner = controller
        self._sleep = sleep
        self._step = 0
        self._owed_m, self._owed_rad = np.zeros(3), np.zeros(3)
        self._kept: Observation | None = None

    @property
    def control_hz(self) -> float:
        return self._inner.control_hz

    @property
    def time_s(self) -> float:
        return float(self._inner.time_s)  # type: ignore[attr-defined]

    @property
    def gripper_force_n(self) -> float:
        force_n = float(getattr(self._inner, "gripper_force_n", 0.0))
        return force_n + 500.0 if self._meets(FaultKind.STRONG_GRIP) else force_n

    def connect(self) -> None:
        self._inner.connect()

    def disconnect(self) -> None:
        self._inner.disconnect()

    def reset(self) -> Observation:
        self._begin()
        return self._spoiled(self._inner.reset())

    def get_observation(self) -> Observation:
        self._raise_if_lost()
        if self._meets(FaultKind.SLOW_OBSERVATION):
            self._sleep(self._size_s)
        return self._spoiled(self._inner.get_observation())

    def send_action(self, action: Action) -> Action:
        self._raise_if_lost()
        if self._meets(FaultKind.SLOW_ACTION):
            self._sleep(self._size_s)
        lost, self._step = self._meets(FaultKind.DROPPED_ACTION), self._step + 1
        wanted = Action(
            action.delta_m + self._owed_m, action.delta_rotation_rad + self._owed_rad, action.gripper_width_m
        )
        if lost:
            self._owed_m, self._owed_rad = wanted.delta_m, wanted.delta_rotation_rad
            wanted = wanted._replace(delta_m=np.zeros(3), delta_rotation_rad=np.zeros(3))
            self._inner.send_action(wanted)
            return action
        sent = self._inner.send_action(wanted)
        # What an arm does not take at once it gets later: setpoints are absolute on the wire.
        self._owed_m = wanted.delta_m - sent.delta_m
        self._owed_rad = wanted.delta_rotation_rad - sent.delta_rotation_rad
        return action._replace(gripper_width_m=sent.gripper_width_m)

    def stop(self) -> None:
        self._inner.stop()

    def _begin(self) -> None:
        self._step = 0
        self._kept = None
        self._owed_m, self._owed_rad = np.zeros(3), np.zeros(3)
        self.began_s = None

    @property
    def _size_s(self) -> float:
        return self.fault.size_s if self.fault is not None else 0.0

    def _meets(self, kind: FaultKind) -> bool:
        fault = self.fault
        if fault is None or fault.kind is not kind or not 0 <= self._step - fault.at_step < fault.num_steps:
            return False
        self.began_s = self.time_s if self.began_s is None else self.began_s
        return True

    def _raise_if_lost(self) -> None:
        if self._meets(FaultKind.DISCONNECT):
            raise ConnectionResetError("the cable is out")

    def _spoiled(self, seen: Observation) -> Observation:
        kept, self._kept = self._kept, seen
        if kept is not None and self._meets(FaultKind.SILENT_SENSOR):
            self._kept = kept
            return kept
        if kept is not None and self._meets(FaultKind.FROZEN_CAMERA):
            self._kept = kept
            return seen._replace(rgb=kept.rgb, depth_m=kept.depth_m)
        for kind, spoil in _SPOILS.items():
            if self._meets(kind):
                return spoil(seen, self._size_s)
        return seen


def _black(seen: Observation, _: float) -> Observation:
    return seen._replace(rgb=None if seen.rgb is None else np.zeros_like(seen.rgb))


def _without_depth(seen: Observation, _: float) -> Observation:
    return seen._replace(depth_m=None if seen.depth_m is None else np.full_like(seen.depth_m, np.nan))


def _in_millimetres(seen: Observation, _: float) -> Observation:
    T = seen.T_base_tcp.copy()
    T[:3, 3] *= 1000.0
    return seen._replace(T_base_tcp=T, gripper_width_m=1000.0 * seen.gripper_width_m)


_SPOILS: dict[FaultKind, Callable[[Observation, float], Observation]] = {
    FaultKind.NAN_POSE: lambda seen, _: seen._replace(T_base_tcp=np.full((4, 4), np.nan)),
    FaultKind.NAN_WIDTH: lambda seen, _: seen._replace(gripper_width_m=math.nan),
    FaultKind.BLACK_CAMERA: _black,
    FaultKind.NO_DEPTH: _without_depth,
    FaultKind.WRONG_SHAPE: lambda seen, _: seen._replace(T_base_tcp=np.eye(3)),
    FaultKind.MILLIMETRES: _in_millimetres,
    FaultKind.CLOCK_AHEAD: lambda seen, size_s: seen._replace(t_s=seen.t_s + size_s),
    FaultKind.CLOCK_BACK: lambda seen, size_s: seen._replace(t_s=seen.t_s - size_s),
}
