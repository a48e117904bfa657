"""Whether an observation may be acted on: finite, rigid, inside the limits, new enough, by a camera that sees."""

import math
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.contracts import Observation
from simtoreal.safety.events import SafetyEvent
from simtoreal.safety.limits import SafetyLimits

_BLACK = 3  # of 255; a dark room with a working sensor is brighter
_RIGID = 1e-3
_EVERY_PX = 4  # pixels looked at, in both directions
_NAN = math.nan


class ObservationWatch:
    """Looks at every observation of an episode.

    Age is counted from the quickest observation of the episode, so that a controller's clock need not be the guard's: a
    latency that is always there is for identification to find, one that grows is a fault.
    """

    def __init__(self, limits: SafetyLimits) -> None:
        self._limits = limits
        self.begin()

    def begin(self) -> None:
        """Starts an episode."""
        self._offset_s = math.inf  # least seen of guard's clock minus capture time
        self._last: tuple[float, float] | None = None  # guard's clock, capture time
        self._joints: tuple[float, NDArray[np.float64]] | None = None
        self._sighted_s: float | None = None
        self._picture: tuple[int, NDArray[np.float64]] | None = None  # its sum, where the tool was when it came

    def problem(self, observation: Observation, now_s: float) -> SafetyEvent | None:
        """The first limit that an observation breaks, or None."""
        checks: tuple[Callable[[Observation, float], SafetyEvent | None], ...] = (
            self._finite, self._clock, self._tool, self._joint_limits, self._blind, self._frozen,
        )  # fmt: skip
        for check in checks:
            event = check(observation, now_s)
            if event is not None:
                return event
        return None

    def _finite(self, seen: Observation, now_s: float) -> SafetyEvent | None:
        parts: dict[str, ArrayLike | None] = {
            "t_s": seen.t_s,
            "T_base_tcp": seen.T_base_tcp,
            "gripper_width_m": seen.gripper_width_m,
            "joint_positions_rad": seen.joint_positions_rad,
            "K": seen.K,
            "T_base_cam": seen.T_base_cam,
        }
        for name, value in parts.items():
            if value is not None and not np.isfinite(value).all():
                return _stop("finite_observation", now_s, detail=f"{name} is not finite")
        R = seen.T_base_tcp[:3, :3]
        if seen.T_base_tcp.shape != (4, 4) or float(np.abs(R @ R.T - np.eye(3)).max()) > _RIGID:
            return _stop("rigid_pose", now_s, detail="T_base_tcp is no rotation and translation")
        return None

    def _clock(self, seen: Observation, now_s: float) -> SafetyEvent | None:
        limit_s = self._limits.max_observation_age_s
        last, self._last = self._last, (now_s, seen.t_s)
        if last is not None:
            passed_s, captured_s = now_s - last[0], seen.t_s - last[1]
            if captured_s < 0.0:
                return _stop("clock", now_s, captured_s, 0.0, "capture times run back")
            if captured_s - passed_s > limit_s:
                return _stop("clock", now_s, captured_s - passed_s, limit_s, "capture times run ahead of the clock")
        self._offset_s = min(self._offset_s, now_s - seen.t_s)
        age_s = now_s - seen.t_s - self._offset_s
        if age_s > limit_s:
            return _stop("observation_age_s", now_s, age_s, limit_s)
        return None

    def _tool(self, seen: Observation, now_s: float) -> SafetyEvent | None:
        limits = self._limits
        tilt_rad = math.acos(min(max(-float(seen.T_base_tcp[2, 2]), -1.0), 1.0))
        if tilt_rad > limits.max_tilt_rad:
            return _stop("tilt_rad", now_s, tilt_rad, limits.max_tilt_rad, "the tool does not point down")
        return None

    def _joint_limits(self, seen: Observation, now_s: float) -> SafetyEvent | None:
        limits, q = self._limits, seen.joint_positions_rad
        if q is None or not limits.joint_low_rad or len(q) < len(limits.joint_low_rad):
            return None
        q = np.array(q[: len(limits.joint_low_rad)])
        for joint, (value, low, high) in enumerate(zip(q, limits.joint_low_rad, limits.joint_high_rad, strict=True)):
            if not low <= value <= high:
                return _stop(
                    "joint_position_rad", now_s, float(value), low if value < low else high, f"joint {joint + 1}"
                )
        before, self._joints = self._joints, (seen.t_s, q)
        if before is None or seen.t_s - before[0] < 1e-3:
            self._joints = before or self._joints
            return None
        speeds = np.abs(q - before[1]) / (seen.t_s - before[0])
        fastest = int(np.argmax(speeds))
        if speeds[fastest] > limits.max_joint_speed_rad_s:
            speed, limit = float(speeds[fastest]), limits.max_joint_speed_rad_s
            return _stop("joint_speed_rad_s", now_s, speed, limit, f"joint {fastest + 1}")
        return None

    def _blind(self, seen: Observation, now_s: float) -> SafetyEvent | None:
        if not _is_blind(seen):
            self._sighted_s = now_s
            return None
        if self._sighted_s is None:
            return _stop("blind_s", now_s, detail="the first picture of the episode is black or without depth")
        blind_s = now_s - self._sighted_s
        if blind_s > self._limits.max_blind_s:
            return _stop("blind_s", now_s, blind_s, self._limits.max_blind_s, "pictures are black or without depth")
        return None

    def _frozen(self, seen: Observation, now_s: float) -> SafetyEvent | None:
        picture = seen.rgb if seen.rgb is not None else seen.depth_m
        if picture is None or _is_blind(seen):  # of which all are the same
            return None
        checksum, at_m = zlib.crc32(picture.tobytes()), seen.T_base_tcp[:3, 3]
        if self._picture is None or self._picture[0] != checksum:
            self._picture = checksum, at_m.copy()
            return None
        moved_m = float(np.linalg.norm(at_m - self._picture[1]))
        if moved_m > self._limits.frozen_after_m:
            limit_m = self._limits.frozen_after_m
            return _stop("frozen_camera_m", now_s, moved_m, limit_m, "the tool moves, the picture stays bit by bit")
        return None


def _is_blind(seen: Observation) -> bool:
    dark = seen.rgb is not None and int(seen.rgb[::_EVERY_PX, ::_EVERY_PX].max(initial=0)) <= _BLACK
    return dark or (seen.depth_m is not None and not np.isfinite(seen.depth_m[::_EVERY_PX, ::_EVERY_PX]).any())


def _stop(name: str, now_s: float, value: float = _NAN, limit: float = _NAN, detail: str = "") -> SafetyEvent:
    return SafetyEvent(name, value, limit, now_s, stops=True, detail=detail)
