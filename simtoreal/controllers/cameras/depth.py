"""Depth as sensors deliver it, in metres."""

import numpy as np
from numpy.typing import NDArray


def metres(steps: NDArray[np.uint16], unit_m: float) -> NDArray[np.float32]:
    """Depth in metres (H, W) of the steps (H, W) of a sensor, nan where there is no return."""
    depth_m = steps.astype(np.float32) * np.float32(unit_m)
    depth_m[steps == 0] = np.nan
    return depth_m
