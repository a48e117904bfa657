"""The dense grasp map: for every cell of the view and every yaw bin, is there a grasp, and exactly where and how wide.

A cell holds `NUM_YAWS` bins because a round object can be grasped from all sides alike: one angle per cell would have
to be an arbitrary choice among equals, and such a label teaches noise. Neither torch nor numba here: a robot's computer
needs none, and what only training needs is in `grasp_targets`.

A grasp is where its tool position (between the finger tips) appears in the view, plus its height; the ray through that
pixel meets that height at one point.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.policies.view import View

FloatArray = NDArray[np.float64]
NUM_YAWS = 12  # over half a turn
CELL_PX = 4
FIELDS = ("quality", "width", "height", "du", "dv", "dyaw")  # outputs per yaw bin, in this order
NUM_FIELDS = len(FIELDS)
WIDTH_SCALE_M = 0.08
HEIGHT_SCALE_M = 0.1
BIN_RAD = math.pi / NUM_YAWS
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_NEXT, _PREVIOUS = (np.roll(np.arange(NUM_YAWS), shift) for shift in (-1, 1))  # half a turn closes the circle


class Candidate(NamedTuple):
    """One decoded grasp."""

    T_base_grasp: FloatArray  # (4, 4)
    width_m: float
    quality: float
    pixel: tuple[float, float]  # (u, v) in the view


@dataclass(frozen=True)
class Viewpoint:
    """The virtual camera of a view."""

    K: FloatArray
    T_base_view: FloatArray
    yaw_rad: float
    pixels: int


def viewpoint_of(view: View) -> Viewpoint:
    """The virtual camera of a view."""
    return Viewpoint(view.K, view.T_base_view, view.yaw_rad, view.rgb.shape[0])


def in_view(
    positions_m: FloatArray, yaws_rad: FloatArray, widths_m: FloatArray, qualities: FloatArray, viewpoint: Viewpoint
) -> NDArray[np.float32]:
    """Grasps of a planner (N, ...) as rows (G, 6) of the view; those outside are left out."""
    uv = camera.project(positions_m, viewpoint.K, viewpoint.T_base_view)
    inside = np.isfinite(uv).all(axis=1) & (uv > -0.5).all(axis=1) & (uv < viewpoint.pixels - 0.5).all(axis=1)
    yaw = (yaws_rad - viewpoint.yaw_rad + math.pi / 2) % math.pi - math.pi / 2
    rows = np.column_stack([uv, positions_m[:, 2], yaw, widths_m, qualities])
    return rows[inside].astype(np.float32)


def decode(grasp_map: NDArray[np.float32], viewpoint: Viewpoint, num: int) -> list[Candidate]:
    """The best grasps of a map (NUM_YAWS, NUM_FIELDS, h, w) whose qualities are in [0, 1], best first.

    Only local maxima over neighbouring cells and bins are returned, so the list is diverse.
    """
    quality = grasp_map[:, 0]
    peaks = np.argwhere(quality >= _neighbourhood_max(quality))
    order = np.argsort(-quality[tuple(peaks.T)], kind="stable")[:num]
    chosen = peaks[order]
    return _candidates(grasp_map, chosen, viewpoint)


def _candidates(grasp_map: NDArray[np.float32], chosen: NDArray[np.int64], viewpoint: Viewpoint) -> list[Candidate]:
    """The grasps of some cells (N, 3) of yaw bin, row and column; those whose ray misses their height are left out."""
    if len(chosen) == 0:
        return []
    a, i, j = chosen.T
    fields = grasp_map[a, :, i, j]  # (N, NUM_FIELDS)
    u = (j + fields[:, 3] + 0.5) * CELL_PX - 0.5
    v = (i + fields[:, 4] + 0.5) * CELL_PX - 0.5
    yaw = (a + fields[:, 5] + 0.5) * BIN_RAD - math.pi / 2 + viewpoint.yaw_rad
    points = camera.at_height(
        np.column_stack([u, v]), fields[:, 2] * HEIGHT_SCALE_M, viewpoint.K, viewpoint.T_base_view
    )
    widths_m = np.clip(fields[:, 1], 0.0, 1.2) * WIDTH_SCALE_M
    columns = (points, yaw, widths_m, fields[:, 0], u, v)
    return [
        Candidate(frames.top_down(point, turn), width_m, quality, (pixel_u, pixel_v))
        for point, turn, width_m, quality, pixel_u, pixel_v in zip(*(c.tolist() for c in columns), strict=True)
        if math.isfinite(sum(point))
    ]


def read_again(grasp_map: NDArray[np.float32], viewpoint: Viewpoint, T_base_grasp: FloatArray) -> Candidate | None:
    """What a map says now about a grasp that was decoded before: in its own yaw bin, in its cell or the ones around it.

    A round object looks alike from all sides, and its local maximum turns with the camera; whoever follows the maximum
    turns with it for ever.

    Returns:
        The best there, None if the grasp is out of view.
    """
    num_yaws, _, rows, columns = grasp_map.shape
    uv = camera.project(T_base_grasp[None, :3, 3], viewpoint.K, viewpoint.T_base_view)[0]
    if not np.isfinite(uv).all():
        return None
    j, i = (int(round((float(x) + 0.5) / CELL_PX - 0.5)) for x in uv)
    if not (0 <= i < rows and 0 <= j < columns):
        return None
    turn = (frames.yaw_of(T_base_grasp) - viewpoint.yaw_rad + math.pi / 2) % math.pi
    a = min(int(turn / BIN_RAD), num_yaws - 1)
    top, left = max(i - 1, 0), max(j - 1, 0)
    around = grasp_map[a, 0, top : i + 2, left : j + 2]
    di, dj = np.unravel_index(int(np.argmax(around)), around.shape)
    found = _candidates(grasp_map, np.array([[a, top + di, left + dj]]), viewpoint)
    return found[0] if found else None


def _neighbourhood_max(quality: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest value among the 3 x 3 x 3 neighbours; yaw wraps around, the borders of the view do not."""
    around = cv2.dilate(np.ascontiguousarray(quality.transpose(1, 2, 0)), _NEIGHBOURS)  # (h, w, Y)
    around = np.maximum(around, np.maximum(around[..., _NEXT], around[..., _PREVIOUS]))
    return np.asarray(around.transpose(2, 0, 1), dtype=np.float32)
