"""How fast the jaws move and how late they begin, from each time they were told to open or to close."""

from typing import NamedTuple

import numpy as np

from simtoreal.identification.motion_log import FloatArray, MotionLog

_MIN_TRAVEL_FRAC = 0.15  # of the widest opening
_ENDS_FRAC = 0.1  # of a travel, at both ends, where the jaws start and stop
_MIN_POINTS = 4
_REST_S, _REST_M = 0.6, 0.0005


class JawTravel(NamedTuple):
    """One opening or closing."""

    speed_m_s: float  # of the opening width
    dead_time_s: float  # from the command to the beginning of the motion


def jaw_travels(log: MotionLog) -> list[JawTravel]:
    """Every travel of the jaws that was measured well enough."""
    told = log.told_width_m
    if not np.isfinite(told).any():
        return []
    widest_m = float(np.nanmax(told))
    jumps = np.flatnonzero(np.abs(np.diff(told)) > _MIN_TRAVEL_FRAC * widest_m) + 1
    ends_s = np.append(log.told_t_s[jumps[1:]], np.inf) if jumps.size else np.array([])
    travels = [_travel(log, float(log.told_t_s[k]), float(end_s)) for k, end_s in zip(jumps, ends_s, strict=True)]
    return [travel for travel in travels if travel is not None]


def _travel(log: MotionLog, start_s: float, end_s: float) -> JawTravel | None:
    here = (log.state_t_s >= start_s - log.period_s) & (log.state_t_s < end_s) & np.isfinite(log.width_m)
    t_s, width_m = log.state_t_s[here], log.width_m[here]
    if len(t_s) < _MIN_POINTS:
        return None
    whole_m = float(width_m[-1] - width_m[0])
    if abs(whole_m) < 0.01:
        return None
    gone = (width_m - width_m[0]) / whole_m
    moving = _run_between(gone)
    if moving.sum() < _MIN_POINTS:
        return None
    slope, begin_m = np.polyfit(t_s[moving] - start_s, width_m[moving], 1)
    if slope * whole_m <= 0:
        return None
    return JawTravel(abs(float(slope)), float((width_m[0] - begin_m) / slope))


def _run_between(gone: FloatArray) -> np.ndarray:
    """Which samples lie between the ends of a travel, up to the first that has arrived."""
    arrived = np.flatnonzero(gone > 1.0 - _ENDS_FRAC)
    before = np.arange(len(gone)) < (arrived[0] if arrived.size else len(gone))
    return np.asarray(before & (gone > _ENDS_FRAC))


def opening_error_m(log: MotionLog) -> float | None:
    """Measured minus commanded opening of jaws at rest wide open; None where they never were."""
    told = log.told_width_m
    if not np.isfinite(told).any():
        return None
    last = np.searchsorted(log.told_t_s, log.state_t_s, side="right") - 1
    since = np.searchsorted(log.told_t_s, log.state_t_s - _REST_S, side="right") - 1
    steady = (since >= 0) & (told[np.maximum(last, 0)] == told[np.maximum(since, 0)])
    wide = steady & (told[np.maximum(last, 0)] > 0.9 * np.nanmax(told)) & np.isfinite(log.width_m)
    still = wide & (np.abs(np.gradient(log.width_m)) < _REST_M)
    return float(np.median((log.width_m - told[np.maximum(last, 0)])[still])) if still.sum() >= 5 else None
