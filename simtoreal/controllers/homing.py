"""The way home: straight up to the height of home, across, and down, no faster than allowed."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.controllers.hardware_settings import MotionLimits

FloatArray = NDArray[np.float64]
_PEAK = 1.5  # of the eased motion over its mean speed


def way_home(T_from: FloatArray, T_home: FloatArray, limits: MotionLimits, period_s: float) -> Iterator[FloatArray]:
    """Setpoints (4, 4), one for each control period, from a pose to home."""
    above = T_from.copy()
    above[2, 3] = max(T_from[2, 3], T_home[2, 3])  # nothing on the table stands in the way of what goes up first
    across = T_home.copy()
    across[2, 3] = above[2, 3]
    for start, end in ((T_from, above), (above, across), (across, T_home)):
        turn_rad = float(np.linalg.norm(frames.rotation_to_vector(start[:3, :3].T @ end[:3, :3])))
        way_m = float(np.linalg.norm(end[:3, 3] - start[:3, 3]))
        duration_s = _PEAK * max(way_m / limits.home_speed_m_s, turn_rad / limits.home_speed_rad_s)
        num_steps = math.ceil(duration_s / period_s)
        for step in range(1, num_steps + 1):
            yield frames.interpolate(start, end, _eased(step / num_steps))


def _eased(share: float) -> float:
    """Begins and ends at rest."""
    return share * share * (3.0 - 2.0 * share)
