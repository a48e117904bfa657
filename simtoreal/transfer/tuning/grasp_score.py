"""How well what a net sees fits where something was really held: hindsight error, by frame.

A log tells of one good grasp, and the net may choose another that is as good: whoever recorded it had his own taste.
So what decides on real frames is not the grasp that the net would choose, but what it says of the true one: how its
reading there fits, and how much of the map it holds for better. That is one bounded figure, the *miss*: 0 for a net
that knows the grasp, 1 for one that has no idea. In simulation, where all good grasps are known, the choice is judged.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.contracts import FloatArray
from simtoreal.policies.encoders import GraspNet
from simtoreal.policies.grasp_map import Candidate, Viewpoint, decode, viewpoint_of
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.load import as_grasp_map
from simtoreal.policies.view import ViewSpec, channels, to_tensor
from simtoreal.pretraining.frame_sets import FrameSet
from simtoreal.transfer.data.real_frames import RealFrames, view_rows

_ACROSS_M, _HEIGHT_M, _YAW_RAD = 0.010, 0.015, math.radians(15.0)  # one of these alone is a miss of 0.4
_FAR_M = 0.10  # an error counts as no more than this, and so does a map without a grasp
_RANK_FRAC = 0.02  # of the map held for better than the true grasp: a few objects with a few grasps each
_THERE = 0.5  # cells and bins whose target is at least this hold the true grasp
_GOOD_FRAC = 0.6  # of the best grasp of a simulated frame: as good as any


class FrameScore(NamedTuple):
    """Error of a net on one frame."""

    episode: int
    miss: float  # in [0, 1]
    position_m: float  # of the grasp it would choose, from the nearest true one
    offset_m: tuple[float, float, float]  # prediction minus truth along the axes of the view: right, down, away
    yaw_rad: float  # modulo half a turn
    rank_frac: float  # share of the cells and bins of the map that the net holds for better than the true one


def score_real(net: GraspNet, frames_: RealFrames, index: NDArray[np.int64], view: ViewSpec) -> list[FrameScore]:
    """Scores of real frames by index; those that show nothing held are passed over."""
    grasp_map = as_grasp_map(net)
    scores = []
    for i in index[frames_.has_held[index]]:
        seen, known = frames_.view(int(i)), frames_.known(int(i))
        held = known[known[:, 5] > 0.5]
        answer, viewpoint, rows = grasp_map(to_tensor(seen, view)), viewpoint_of(seen), view_rows(held, seen)
        score = score_map(answer, viewpoint, held[:, :4], rows, int(frames_.episode[i]))
        scores.append(score._replace(miss=hindsight_miss(answer, viewpoint, held[:, :4], rows, score.rank_frac)))
    return scores


def score_simulated(net: GraspNet, frame_set: FrameSet, view: ViewSpec, num: int) -> list[FrameScore]:
    """Scores of the first `num` simulated frames that show a good grasp; each counts as an episode."""
    grasp_map = as_grasp_map(net)
    scores = []
    for i in range(min(num, len(frame_set))):
        rows = frame_set.rows(i)
        if not len(rows) or rows[:, 5].max() < 0.3:
            continue
        rows = rows[rows[:, 5] >= _GOOD_FRAC * rows[:, 5].max()]
        planes = channels(frame_set.rgb[i], frame_set.height_m[i].astype(np.float32), frame_set.valid[i],
                          float(frame_set.edge_m[i]), view.modality)  # fmt: skip
        viewpoint = frame_set.viewpoint(i)
        points = camera.at_height(rows[:, :2], rows[:, 2], viewpoint.K, viewpoint.T_base_view)
        true = np.column_stack([points, rows[:, 3] + viewpoint.yaw_rad])
        scores.append(score_map(grasp_map(planes), viewpoint, true, rows, i))
    return scores


def score_map(
    grasp_map: NDArray[np.float32], viewpoint: Viewpoint, true: FloatArray, rows: NDArray[np.float32], episode: int
) -> FrameScore:
    """Score of the choice that a map (Y, F, h, w) makes, against all true grasps.

    Args:
        true: x, y, z and yaw in the base frame, (G, 4).
        rows: the same in the view, (G, 6).
    """
    found = decode(grasp_map, viewpoint, 1)
    rank = _rank(grasp_map, rows, viewpoint.pixels)
    if not found:
        return FrameScore(episode, 1.0, _FAR_M, (math.nan, math.nan, math.nan), math.pi / 2, rank)
    errors = [_error(found[0], row) for row in true]
    offset, yaw_rad = min(errors, key=_unlikeness)
    right, down, away = (viewpoint.T_base_view[:3, :3].T @ offset).tolist()
    miss = 1.0 - math.exp(-0.5 * _unlikeness((offset, yaw_rad)))
    return FrameScore(episode, miss, min(math.hypot(*offset), _FAR_M), (right, down, away), yaw_rad, rank)


def hindsight_miss(
    grasp_map: NDArray[np.float32],
    viewpoint: Viewpoint,
    true: FloatArray,
    rows: NDArray[np.float32],
    rank_frac: float,
) -> float:
    """Miss of what a map says in the cells where something was held, the best of them if it was held several times."""
    fits = [0.0]
    for row, in_view in zip(true, rows, strict=True):
        there = targets(in_view[None], viewpoint.pixels)[:, 0] >= _THERE
        alone = grasp_map.copy()
        alone[:, 0] = np.where(there, grasp_map[:, 0], -1.0)
        found = decode(alone, viewpoint, 1)
        if found:
            fits.append(math.exp(-0.5 * _unlikeness(_error(found[0], row))))
    return 1.0 - max(fits) * math.exp(-rank_frac / _RANK_FRAC)


_Error = tuple[FloatArray, float]


def _error(found: Candidate, true: FloatArray) -> _Error:
    """Offset (3,) of a prediction from a true grasp in the base frame, and the turn between them."""
    turn = frames.wrap_half_turn(frames.yaw_of(found.T_base_grasp) - float(true[3]))
    return found.T_base_grasp[:3, 3] - true[:3], abs(turn)


def _unlikeness(error: _Error) -> float:
    (dx, dy, dz), yaw = error
    return float((dx**2 + dy**2) / _ACROSS_M**2 + (dz / _HEIGHT_M) ** 2 + (yaw / _YAW_RAD) ** 2)


def _rank(grasp_map: NDArray[np.float32], rows: NDArray[np.float32], pixels: int) -> float:
    """Share of the map that lies above the best of the true cells."""
    there = targets(rows, pixels)[:, 0] >= _THERE
    quality = grasp_map[:, 0]
    return float((quality > quality[there].max()).mean()) if there.any() else 1.0


class EpisodeScores(NamedTuple):
    """Mean errors of each episode, (E,) each."""

    episodes: NDArray[np.int64]
    miss: FloatArray
    position_mm: FloatArray
    yaw_deg: FloatArray
    rank_pc: FloatArray


def by_episode(scores: list[FrameScore]) -> EpisodeScores:
    """Averages the frames of each episode: frames of one episode are not independent, episodes are."""
    episodes = np.array([score.episode for score in scores], dtype=np.int64)
    names = np.unique(episodes)

    def mean(values: list[float]) -> FloatArray:
        column = np.array(values, dtype=np.float64)
        return np.array([column[episodes == name].mean() for name in names])

    return EpisodeScores(
        names,
        mean([score.miss for score in scores]),
        mean([1e3 * score.position_m for score in scores]),
        mean([math.degrees(score.yaw_rad) for score in scores]),
        mean([100.0 * score.rank_frac for score in scores]),
    )


def mean_miss(scores: list[FrameScore]) -> float:
    """Mean over episodes of their mean miss; nan without any."""
    return float(by_episode(scores).miss.mean()) if scores else math.nan


def columns(scores: EpisodeScores) -> Iterator[tuple[str, FloatArray]]:
    """Names and values of the errors."""
    yield from zip(("miss", "position_mm", "yaw_deg", "rank_pc"), scores[1:], strict=True)
