"""What the pictures of a board show of a camera, and which ones are still missing."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.calibration.detection import BoardView
from simtoreal.camera import CameraModel
from simtoreal.camera_record import FloatArray

GRID = (6, 8)  # rows and columns that an image is divided into
GOOD_COVERAGE_FRAC = 0.75
_ENOUGH_PER_CELL = 3  # corners
_TILTED_RAD, _ENOUGH_TILTED = np.radians(20.0), 2  # views for each of four directions
_NEAR_OVER_FAR = 1.5  # the farthest view should be at least so much farther than the nearest
_SIDES = ("left", "right", "top", "bottom")
_ROW_NAMES, _COLUMN_NAMES = ("top", "middle", "bottom"), ("left", "centre", "right")


class Coverage(NamedTuple):
    """Where corners were seen, how the board was held, and what is missing."""

    counts: NDArray[np.int64]  # (rows, columns) corners in each part of the image
    tilts_rad: FloatArray  # (V, 2) about the camera's vertical and horizontal axis
    distances_m: FloatArray  # (V,)
    missing: tuple[str, ...]  # what to photograph next, in words

    @property
    def frac(self) -> float:
        """Share of the image in which corners were seen."""
        return float((self.counts > 0).mean())


def coverage_of(views: Sequence[BoardView], model: CameraModel, boards: Sequence[FloatArray]) -> Coverage:
    """Coverage of views, given the lens and the pose `T_cam_board` (4, 4) of the board in each."""
    counts = np.zeros(GRID, dtype=np.int64)
    for view in views:
        rows = np.clip((view.corners_px[:, 1] + 0.5) / model.height_px * GRID[0], 0, GRID[0] - 1).astype(int)
        columns = np.clip((view.corners_px[:, 0] + 0.5) / model.width_px * GRID[1], 0, GRID[1] - 1).astype(int)
        np.add.at(counts, (rows, columns), 1)
    normals = np.array([T[:3, 2] for T in boards]).reshape(-1, 3)
    tilts = np.arctan2(normals[:, :2], np.abs(normals[:, 2:]))
    distances = np.array([float(np.linalg.norm(T[:3, 3])) for T in boards])
    missing = [*_missing_parts(counts), *_missing_tilts(tilts), *_missing_distances(distances)]
    return Coverage(counts, tilts, distances, tuple(missing))


def tilt_spread_rad(boards: Sequence[FloatArray]) -> float:
    """The largest angle between two board normals, which is what tells focal length from distance."""
    normals = np.array([T[:3, 2] for T in boards])
    return float(np.arccos(np.clip((normals @ normals.T).min(), -1.0, 1.0)))


def _missing_parts(counts: NDArray[np.int64]) -> list[str]:
    """Ninths of the image with too few corners."""
    found = []
    for i, rows in enumerate(np.array_split(counts, 3, axis=0)):
        for j, part in enumerate(np.array_split(rows, 3, axis=1)):
            if (part >= _ENOUGH_PER_CELL).mean() < 0.5:
                found.append(f"{_ROW_NAMES[i]} {_COLUMN_NAMES[j]}")
    return [f"bring the board into these parts of the image: {', '.join(found)}"] if found else []


def _missing_tilts(tilts: FloatArray) -> list[str]:
    seen = (
        tilts[:, 0] < -_TILTED_RAD,
        tilts[:, 0] > _TILTED_RAD,
        tilts[:, 1] < -_TILTED_RAD,
        tilts[:, 1] > _TILTED_RAD,
    )
    few = [side for side, mask in zip(_SIDES, seen, strict=True) if mask.sum() < _ENOUGH_TILTED]
    return [f"tilt the board by 20 to 45 degrees with its {' / '.join(few)} edge nearer"] if few else []


def _missing_distances(distances_m: FloatArray) -> list[str]:
    if len(distances_m) and distances_m.max() < _NEAR_OVER_FAR * distances_m.min():
        return [
            f"vary the distance: all views lie between {distances_m.min():.2f} and {distances_m.max():.2f} m; add some "
            f"from {0.6 * distances_m.min():.2f} m and some from {1.5 * distances_m.max():.2f} m"
        ]
    return []


def coverage_picture(coverage: Coverage, views: Sequence[BoardView], model: CameraModel) -> NDArray[np.uint8]:
    """Parts of the image by how many corners were seen there, red where none, with every corner as a dot."""
    red, green = np.array([206.0, 92.0, 76.0]), np.array([86.0, 156.0, 110.0])
    share = np.clip(coverage.counts / (2.0 * _ENOUGH_PER_CELL), 0.0, 1.0)[..., None]
    cells = (red * (1.0 - share) + green * share).astype(np.uint8)
    canvas = cv2.resize(cells, (model.width_px, model.height_px), interpolation=cv2.INTER_NEAREST)
    radius = max(1, round(model.width_px / 320))
    for view in views:
        for u, v in view.corners_px:
            cv2.circle(canvas, (round(u), round(v)), radius, (250, 248, 240), -1, cv2.LINE_AA)
    return np.asarray(canvas, dtype=np.uint8)
