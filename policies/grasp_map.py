"""The dense grasp map: for every cell of the view and every yaw bin, is there a grasp, and exactly where and how wide.

A cell holds `NUM_YAWS` bins because a round object can be grasped from all sides alike: one angle per cell would have
to be an arbitrary choice among equals, and such a label teaches noise. No torch here: a robot's computer needs none.

A grasp is where its tool position (between the finger tips) appears in the view, plus its height; the ray through that
pixel meets that height at one point.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numba
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
_BIN_RAD = math.pi / NUM_YAWS
_SPREAD = 0.35  # of a cell or bin, how quickly the quality falls off outside the one that a grasp lies in


class ViewGrasps(NamedTuple):
    """Grasps as they appear in a view, one row each: (G, 6) u_px, v_px, height_m, yaw_rad, width_m, quality."""

    rows: NDArray[np.float32]


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


def targets(rows: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """Training targets (NUM_YAWS, NUM_FIELDS, h, w) of grasps (G, 6); the best of each cell and bin gives its fields.

    Quality is flat inside the cell and bin a grasp lies in and falls off quickly outside.
    """
    cells = pixels // CELL_PX
    result = np.zeros((NUM_YAWS, NUM_FIELDS, cells, cells), dtype=np.float32)
    if len(rows):
        _splat(rows, result)
    return result


@numba.njit(cache=True)
def _splat(rows, result):  # type: ignore[no-untyped-def]
    cells = result.shape[2]
    for g in range(rows.shape[0]):
        u = (rows[g, 0] + 0.5) / CELL_PX - 0.5
        v = (rows[g, 1] + 0.5) / CELL_PX - 0.5
        b = (rows[g, 3] + math.pi / 2) / _BIN_RAD - 0.5
        for i in range(max(0, int(math.floor(v))), min(cells, int(math.floor(v)) + 2)):
            for j in range(max(0, int(math.floor(u))), min(cells, int(math.floor(u)) + 2)):
                across = max(max(abs(u - j), abs(v - i)) - 0.5, 0.0) / _SPREAD
                for k in range(int(math.floor(b)), int(math.floor(b)) + 2):
                    turn = max(abs(b - k) - 0.5, 0.0) / _SPREAD
                    quality = rows[g, 5] * math.exp(-0.5 * (across * across + turn * turn))
                    a = k % NUM_YAWS
                    if quality > result[a, 0, i, j]:
                        result[a, 0, i, j] = quality
                        result[a, 1, i, j] = rows[g, 4] / WIDTH_SCALE_M
                        result[a, 2, i, j] = rows[g, 2] / HEIGHT_SCALE_M
                        result[a, 3, i, j] = u - j
                        result[a, 4, i, j] = v - i
                        result[a, 5, i, j] = b - k


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
    yaw = (a + fields[:, 5] + 0.5) * _BIN_RAD - math.pi / 2 + viewpoint.yaw_rad
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
    a = min(int(turn / _BIN_RAD), num_yaws - 1)
    top, left = max(i - 1, 0), max(j - 1, 0)
    around = grasp_map[a, 0, top : i + 2, left : j + 2]
    di, dj = np.unravel_index(int(np.argmax(around)), around.shape)
    found = _candidates(grasp_map, np.array([[a, top + di, left + dj]]), viewpoint)
    return found[0] if found else None


def _neighbourhood_max(quality: NDArray[np.float32]) -> NDArray[np.float32]:
    """Largest value among the 3 x 3 x 3 neighbours; yaw wraps around, the borders of the view do not."""
    around = cv2.dilate(np.ascontiguousarray(np.moveaxis(quality, 0, -1)), np.ones((3, 3), np.uint8))  # (h, w, Y)
    around = np.maximum(around, np.maximum(np.roll(around, 1, axis=-1), np.roll(around, -1, axis=-1)))
    return np.asarray(np.moveaxis(around, -1, 0), dtype=np.float32)
