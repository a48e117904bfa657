"""How the opening between the pads of a gripper maps to its finger joints."""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_ON_LINE = 1e-3  # metres or radians, whichever the finger joints move in


class Line(NamedTuple):
    """`position = slope * previous + intercept`, of a finger joint that follows the one before it."""

    slope: float
    intercept: float


@dataclass(frozen=True)
class OpeningMap:
    """Openings, the finger joints at each, and how far the tips have moved along the approach; linear between rows.

    Raises:
        ValueError: there are fewer than two rows, the openings do not grow, or a joint turns back on the way.
    """

    widths_m: tuple[float, ...]
    joint_positions: tuple[tuple[float, ...], ...]  # per row, one per finger joint
    tip_offsets_m: tuple[float, ...]  # relative to the tool frame of the robot

    def __post_init__(self) -> None:
        if len(self.widths_m) < 2 or any(b <= a for a, b in itertools.pairwise(self.widths_m)):
            raise ValueError(f"gripper.opening_map needs two or more rows of growing width_m, got {self.widths_m}")
        if len({len(row) for row in self.joint_positions}) != 1:
            raise ValueError("gripper.opening_map: every row needs the same number of joint_positions")
        for j, column in enumerate(self._columns):
            steps = np.diff(column)
            if not ((steps > 0).all() or (steps < 0).all() or (steps == 0).all()):
                raise ValueError(f"gripper.opening_map: joint {j} must move one way as width_m grows, got {column}")
        if not self._moving:
            raise ValueError("gripper.opening_map: no joint moves with width_m")

    @property
    def _columns(self) -> tuple[tuple[float, ...], ...]:
        return tuple(zip(*self.joint_positions, strict=True))

    @cached_property
    def _moving(self) -> tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...]:
        """Index, rising positions and their openings of every joint that moves."""
        moving = []
        for j, column in enumerate(self._columns):
            if column[-1] != column[0]:
                order = slice(None) if column[-1] > column[0] else slice(None, None, -1)
                moving.append((j, column[order], self.widths_m[order]))
        return tuple(moving)

    @property
    def num_joints(self) -> int:
        """How many finger joints each row has."""
        return len(self.joint_positions[0])

    @cached_property
    def moves_tips(self) -> bool:
        """Whether the tips move along the approach as the jaws close."""
        return len(set(self.tip_offsets_m)) > 1

    def joints_at(self, width_m: float) -> FloatArray:
        """Finger joint positions (G,) at an opening, clipped to the ends of the map."""
        return np.array([_interpolate(width_m, self.widths_m, column) for column in self._columns])

    def width_at(self, finger_joints: Sequence[float] | FloatArray) -> float:
        """Opening from measured finger joints (G,): the mean over the joints that move with it."""
        widths = [_interpolate(float(finger_joints[j]), positions, widths) for j, positions, widths in self._moving]
        return sum(widths) / len(widths)

    def tip_offset_at(self, width_m: float) -> float:
        """How far the tips have moved along the approach at an opening."""
        return _interpolate(width_m, self.widths_m, self.tip_offsets_m)

    def lines(self) -> tuple[Line, ...]:
        """How each finger joint follows the one before it, which is all that one motor and a linkage can do.

        Raises:
            ValueError: a joint does not move with the one before it, or not along a straight line.
        """
        lines = []
        for j, (first, second) in enumerate(itertools.pairwise(np.asarray(self._columns))):
            slope, intercept = np.polyfit(first, second, 1)
            if abs(slope) < 1e-6 or np.abs(slope * first + intercept - second).max() > _ON_LINE:
                raise ValueError(
                    f"gripper.coupled: joint {j + 1} of opening_map must follow joint {j} along a straight line, "
                    f"got {second.tolist()} for {first.tolist()}; correct the rows or set coupled: false"
                )
            lines.append(Line(float(slope), float(intercept)))
        return tuple(lines)


def _interpolate(x: float, xs: tuple[float, ...], ys: tuple[float, ...]) -> float:
    """`numpy.interp` for one number, at a tenth of its cost; nan comes out as nan."""
    if not x > xs[0]:
        return ys[0] if x == x else x
    if x >= xs[-1]:
        return ys[-1]
    i = bisect_right(xs, x)
    share = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
    return ys[i - 1] + share * (ys[i] - ys[i - 1])
