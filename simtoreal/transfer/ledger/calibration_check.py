"""Whether labels lie where the source sees objects: a camera pose that the robot did not have shifts all of them alike.

A policy that sees graspable things, always beside where the jaws closed and by the same way, was told a wrong camera
pose. Trained on that it would learn to grasp beside every object, and do better on all episodes that err in the same
way: no held-out one would show the harm.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import camera
from simtoreal.contracts import FloatArray
from simtoreal.policies.encoders import GraspNet
from simtoreal.policies.grasp_map import CELL_PX
from simtoreal.policies.load import as_grasp_map
from simtoreal.policies.view import ViewSpec, to_tensor
from simtoreal.transfer.data.real_frames import RealFrames

_REACH = 6  # cells looked at around a label, each way
_MIN_EPISODES = 3
_SUSPICIOUS_M = 0.03  # no careful calibration is off by more
_NEAR_M = 0.02  # this far from a label still counts as there
_FACTOR = 1.5  # the source must see so much more there than where the labels are ...
_SEEN = 0.35  # ... and so much of the best that it sees anywhere


class Shift(NamedTuple):
    """Where the source sees most, seen from the labels."""

    right_m: float  # in the view
    down_m: float
    there: float  # quality that the source sees there, of the best in its map, mean over episodes
    here: float  # where the labels are, or in a cell beside it

    @property
    def size_m(self) -> float:
        return float(np.hypot(self.right_m, self.down_m))


def label_shift(net: GraspNet, frames: RealFrames, view: ViewSpec) -> Shift | None:
    """The shift of labels under which they fit best what a net sees; None where there are too few episodes.

    The qualities around each label are averaged over frames, then over episodes. What else there is to grasp lies
    elsewhere in every episode and averages out.
    """
    grasp_map = as_grasp_map(net)
    index = np.flatnonzero(frames.has_held)
    episodes = np.unique(frames.episode[index])
    if len(episodes) < _MIN_EPISODES:
        return None
    around = {int(i): _around(grasp_map(to_tensor(frames.view(int(i)), view)), frames, int(i)) for i in index}
    per_episode = [np.mean([around[int(i)] for i in index[frames.episode[index] == name]], axis=0) for name in episodes]
    mean = np.mean(per_episode, axis=0)  # (2 * _REACH + 1,) twice
    row, column = np.unravel_index(int(mean.argmax()), mean.shape)
    cell_m = float(frames.edge_m[index].mean()) * CELL_PX / view.pixels
    cells = np.arange(-_REACH, _REACH + 1)
    near = cell_m * np.hypot(cells[:, None], cells) <= _NEAR_M
    here = float(mean[near].max())
    return Shift(float(column - _REACH) * cell_m, float(row - _REACH) * cell_m, float(mean[row, column]), here)


def suspicion(shift: Shift | None) -> str:
    """What is odd about the labels, in words; empty if nothing is."""
    if shift is None or shift.size_m < _SUSPICIOUS_M or shift.there < max(_FACTOR * shift.here, _SEEN):
        return ""
    return (
        f"the camera calibration of the episodes looks wrong: what the policy sees lies {1e3 * shift.right_m:+.0f} mm "
        f"to the right and {1e3 * shift.down_m:+.0f} mm down in the view from where the jaws closed, all over the "
        "episodes; check the hand-eye calibration and import again, or use force=true if the deployed camera is off in "
        "the same way"
    )


def _around(grasp_map: NDArray[np.float32], frames: RealFrames, index: int) -> FloatArray:
    """Best quality of the cells around the label of a frame, of the best in the map; 0 outside."""
    quality = grasp_map[:, 0].max(axis=0).astype(np.float64)
    padded = np.pad(quality / max(float(quality.max()), 1e-9), _REACH)
    view, known = frames.view(index), frames.known(index)
    held = known[known[:, 5] > 0.5][0]
    u, v = camera.project(held[:3], view.K, view.T_base_view).tolist()
    row, column = (int(round((pixel + 0.5) / CELL_PX - 0.5)) for pixel in (v, u))
    row, column = (min(max(cell, 0), len(quality) - 1) for cell in (row, column))
    return np.asarray(padded[row : row + 2 * _REACH + 1, column : column + 2 * _REACH + 1])
