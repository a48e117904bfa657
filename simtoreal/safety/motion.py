"""Steps of a setpoint that obey limits of length, acceleration and place at once.

A step is *allowed* if the setpoint can still come to rest inside its box, and within its budget of motion, by shrinking
every component by a fixed amount per period. That braking step is always there to fall back on, and all limits are
convex; so the nearest step between it and the wanted one obeys every limit, in this period and in all that follow.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Caps(NamedTuple):
    """What a step (3,) must obey."""

    lengths: Sequence[tuple[str, float]]  # longest step, by the name of the limit
    max_change: float  # between two steps in a row
    below: FloatArray  # (3,) room towards the lower corner, infinite where there is no box
    above: FloatArray  # (3,) room towards the upper corner


class Shaped(NamedTuple):
    """A step that may be sent, and the limits that made it so with the value that they met."""

    step: FloatArray  # (3,)
    acted: Sequence[tuple[str, float, float]]  # name, value, limit


FREE = np.full(3, math.inf)


def braking_step(distance: float, slower: float) -> float:
    """The longest step from which rest is reached within `distance`, each step `slower` than the one before.

    >>> braking_step(0.06, 0.01)  # 3 + 2 + 1
    0.03
    """
    if not math.isfinite(distance):
        return distance
    if distance <= 0.0:
        return 0.0
    whole = math.floor(0.5 * (math.sqrt(1.0 + 8.0 * distance / slower) - 1.0) + 1e-9)
    return (distance + 0.5 * slower * whole * (whole + 1)) / (whole + 1)


def slower_by(max_change: float) -> float:
    """What each component may always lose per period without the whole exceeding the change allowed."""
    return max_change / math.sqrt(3.0)


def shape(wanted: FloatArray, previous: FloatArray, caps: Caps) -> Shaped:
    """The step nearest to `wanted` that may follow `previous`; both (3,)."""
    acted: list[tuple[str, float, float]] = []
    slower = slower_by(caps.max_change)
    name, longest = min(caps.lengths, key=lambda cap: cap[1])
    length = float(np.linalg.norm(wanted))
    step = wanted
    if length > longest:
        acted.append((name, length, longest))
        step = wanted * (longest / length)
    lowest = np.array([-braking_step(room, slower) for room in caps.below.tolist()])
    highest = np.array([braking_step(room, slower) for room in caps.above.tolist()])
    inside = np.clip(step, lowest, highest)
    if not np.array_equal(inside, step):
        worst = int(np.argmax(np.abs(inside - step)))
        acted.append(("workspace", float(step[worst]), float(inside[worst])))
    change = float(np.linalg.norm(inside - previous))
    if change > caps.max_change:
        acted.append(("acceleration", change, caps.max_change))
        brake = np.sign(previous) * np.maximum(np.abs(previous) - slower, 0.0)
        inside = brake + _share(brake - previous, inside - brake, caps.max_change) * (inside - brake)
    return Shaped(inside, acted)


def _share(start: FloatArray, way: FloatArray, radius: float) -> float:
    """How much of `way` from `start` stays within `radius` of the origin."""
    a, b = float(way @ way), float(start @ way)
    c = float(start @ start) - radius * radius
    if a < 1e-18:
        return 0.0
    return min(max((-b + math.sqrt(max(b * b - a * c, 0.0))) / a, 0.0), 1.0) * (1.0 - 1e-12)
