"""Logs replayed in the simulator: the same commands to its arm, and how far its tool is from where the real one was."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simtoreal.contracts import Action
from simtoreal.envs.bullet_cell import BulletCell
from simtoreal.envs.randomization import Randomization
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import Scene
from simtoreal.envs.world_sample import DynamicsSample, TimingSample, WorldSample
from simtoreal.identification.motion_log import FloatArray, MotionLog

_TABLE_M = -0.25  # far below, and the limits of the workspace with it: a replay must not land on it
_APPROACH_STEPS, _REST_STEPS = 80, 15
_NEAR_M = 0.0005
_LAGS_S = (0.0, 0.02, 0.045, 0.075, 0.11, 0.16, 0.24)


class Settings(NamedTuple):
    """The numbers of the simulated arm that logs speak of."""

    action_latency_s: float
    tracking_lag_s: float

    @property
    def world(self) -> WorldSample:
        """A world that has them, and is nominal otherwise."""
        return WorldSample(
            dynamics=DynamicsSample(tracking_lag_s=self.tracking_lag_s, table_height_m=_TABLE_M),
            timing=TimingSample(action_latency_s=self.action_latency_s),
        )


class ArmReplay:
    """A simulated arm without objects that does what logs say. Use as a context manager."""

    def __init__(self, robot: RobotSpec) -> None:
        self._cell = BulletCell(robot, None)

    def __enter__(self) -> "ArmReplay":
        return self

    def __exit__(self, *_: object) -> None:
        self._cell.disconnect()

    def run(self, log: MotionLog, settings: Settings) -> MotionLog:
        """The log as it would have been with this arm: same commands and times, other tool positions."""
        cell = self._cell
        cell.reset(Scene((0,), settings.world, (), ()))
        self._go_to(log.start_m)
        start_s, start_m = cell.time_s, cell.get_observation().T_base_tcp[:3, 3].copy()
        first_s, period_s = float(log.told_t_s[0]), 1.0 / cell.control_hz
        num = math.ceil((max(log.told_t_s[-1], log.state_t_s[-1]) - first_s) / period_s) + 2
        due = np.searchsorted(log.told_t_s, first_s + period_s * (np.arange(num) + 0.5), side="right") - 1
        targets = log.setpoint_m[due]
        times, positions, before = [first_s], [start_m], log.start_m
        for target in targets:
            cell.send_action(Action(target - before, np.zeros(3), 0.08))
            before = target
            seen = cell.get_observation()
            times.append(first_s + seen.t_s - start_s)
            positions.append(seen.T_base_tcp[:3, 3].copy())
        at = np.stack([np.interp(log.state_t_s, times, np.stack(positions)[:, axis]) for axis in range(3)], axis=1)
        return replace(log, domain="pybullet", position_m=at + (log.start_m - start_m))

    def _go_to(self, position_m: FloatArray) -> None:
        """Moves the tool to where a log begins and lets it come to rest."""
        for _ in range(_APPROACH_STEPS):
            way_m = position_m - self._cell.T_base_tcp_commanded[:3, 3]
            if float(np.linalg.norm(way_m)) < _NEAR_M:
                break
            self._cell.send_action(Action(way_m, np.zeros(3), 0.08))
        for _ in range(_REST_STEPS):
            self._cell.send_action(Action(np.zeros(3), np.zeros(3), 0.08))


def replay_error_m(log: MotionLog, replayed: MotionLog) -> float:
    """Root mean square distance of the two tools over an episode, before the jaws close on anything."""
    free = log.state_t_s < log.jaws_close_s
    apart = (log.position_m - replayed.position_m)[free if free.sum() >= 10 else slice(None)]
    return float(np.sqrt((apart**2).sum(axis=1).mean()))


def matched_lag_s(replay: ArmReplay, log: MotionLog, action_latency_s: float) -> float:
    """The tracking lag with which the simulated arm comes nearest to a log, for a known dead time."""
    errors = [replay_error_m(log, replay.run(log, Settings(action_latency_s, lag_s))) ** 2 for lag_s in _LAGS_S]
    best = int(np.clip(np.argmin(errors), 1, len(_LAGS_S) - 2))
    # The parabola through the least squared error and its neighbours, which are not evenly apart.
    curve = np.polynomial.Polynomial.fit(_LAGS_S[best - 1 : best + 2], errors[best - 1 : best + 2], 2)
    bend = float(curve.deriv(2)(_LAGS_S[best]))
    vertex_s = float(curve.deriv().roots()[0].real) if bend > 0 else _LAGS_S[int(np.argmin(errors))]
    return float(np.clip(vertex_s, _LAGS_S[0], _LAGS_S[-1]))


def middle_of(ranges: Randomization) -> Settings:
    """The middle of what a randomization draws from."""
    timing, dynamics = ranges.timing, ranges.dynamics
    middles = [
        float(np.mean(getattr(group, name).ends(group.nominal(name))))
        for group, name in ((timing, "action_latency_s"), (dynamics, "tracking_lag_s"))
    ]
    return Settings(*middles)
