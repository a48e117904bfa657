"""How far one action may go: the same for simulated arms, for hardware and for the fake."""

import math
from collections.abc import Sequence

import numpy as np

from simtoreal.contracts import Action, FloatArray


def shortened(action: Action, max_delta_m: float, max_delta_rotation_rad: float) -> Action:
    """The action with its translation and its rotation shortened, not turned, to what one period allows.

    Raises:
        ValueError: a component is not finite, or a vector has not three of them.
    """
    delta_m = _shortened("delta_m", action.delta_m, max_delta_m)
    turn_rad = _shortened("delta_rotation_rad", action.delta_rotation_rad, max_delta_rotation_rad)
    width_m = float(action.gripper_width_m)
    if not math.isfinite(width_m):
        raise ValueError(f"action: gripper_width_m must be finite, got {width_m}")
    return Action(delta_m, turn_rad, width_m)


def _shortened(name: str, vector: Sequence[float] | FloatArray, longest: float) -> FloatArray:
    values = [float(value) for value in vector]
    length = math.hypot(*values)
    if len(values) != 3 or not math.isfinite(length):
        raise ValueError(f"action: {name} must be three finite numbers, got {values}")
    share = longest / length if length > longest else 1.0
    return np.array([value * share for value in values])
