"""How far an exported network is from its source: in the numbers of its map, and in the grasps that are read off it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.policies.grasp_map import Candidate, decode, read_again, viewpoint_of
from simtoreal.policies.learned_grasps import GraspMap
from simtoreal.policies.view import View


class Shift(NamedTuple):
    """What became of one frame."""

    position_m: float  # from the source's best grasp to what the export says of it
    angle_rad: float
    quality: float  # likewise, absolute
    worse: float  # what the source thinks of its own choice, minus what it thinks of the export's
    map_difference: float  # largest, in the map's own units


class Parity(NamedTuple):
    """Shifts over many frames; a frame in which one of the two has no grasp, or another one, counts as the worst."""

    shifts: Sequence[Shift]

    def over_frames(self, name: str, percent: float = 95.0) -> float:
        """A percentile over frames, of one field of `Shift`."""
        return float(np.percentile([getattr(shift, name) for shift in self.shifts], percent, method="higher"))

    def to_plain(self) -> dict[str, Any]:
        """Median, 95th percentile and largest of every field, as JSON knows it."""
        return {"num_frames": len(self.shifts)} | {
            name: {f"p{percent:g}": self.over_frames(name, percent) for percent in (50, 95, 100)}
            for name in Shift._fields
        }


_LOST = (1.0, math.pi / 2, 1.0, 1.0)


def measure_parity(source: GraspMap, exported: GraspMap, views: Sequence[View]) -> Parity:
    """Compares two networks on the same views.

    The grasp compared is the best one of the source, and what the export says in its place: a second best elsewhere
    that becomes the best is no shift of metres. Whether it matters is what `worse` says.

    Raises:
        ValueError: there are no views, or a map is not finite.
    """
    if not views:
        raise ValueError("there are no frames to compare the export with its source on")
    return Parity([_shift(source(view), exported(view), view) for view in views])


def _shift(ours: NDArray[np.float32], theirs: NDArray[np.float32], view: View) -> Shift:
    if not np.isfinite(theirs).all():
        raise ValueError("the exported network gives numbers that are not finite; export it with precision=fp32")
    viewpoint, difference = viewpoint_of(view), float(np.abs(ours - theirs).max())
    best, choice = decode(ours, viewpoint, 1), decode(theirs, viewpoint, 1)
    if not best and not choice:
        return Shift(0.0, 0.0, 0.0, 0.0, difference)
    if not best or not choice:
        return Shift(*_LOST, difference)
    same = read_again(theirs, viewpoint, best[0].T_base_grasp)
    instead = read_again(ours, viewpoint, choice[0].T_base_grasp)
    worse = best[0].quality - (instead.quality if instead is not None else 0.0)
    return Shift(*(_LOST[:3] if same is None else _between(best[0], same)), max(worse, 0.0), difference)


def _between(a: Candidate, b: Candidate) -> tuple[float, float, float]:
    turn = frames.wrap_half_turn(frames.yaw_of(b.T_base_grasp) - frames.yaw_of(a.T_base_grasp))
    return math.dist(a.T_base_grasp[:3, 3], b.T_base_grasp[:3, 3]), abs(turn), abs(a.quality - b.quality)
