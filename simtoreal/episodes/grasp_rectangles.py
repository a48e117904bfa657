"""Grasp rectangles in an image: corners, centre with angle, and the metric that two of them agree by.

A rectangle lies in pixels with u to the right and v down. `angle_rad` turns from +u towards +v to the direction that
the jaws open in; it is the same after half a turn. `opening_px` is the extent in that direction, `jaw_px` across it.

Metric: intersection over union above 0.25 and angles within 30 degrees, modulo 180 (Jiang, Moseson, Saxena 2011).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.frames import wrap_half_turn

FloatArray = NDArray[np.float64]
LABEL = "grasp_rectangles"  # key in EpisodeEnd.labels
MIN_IOU, MAX_ANGLE_RAD = 0.25, math.radians(30.0)


class GraspRectangle(NamedTuple):
    """One rectangle by its centre."""

    center_px: tuple[float, float]  # u, v
    angle_rad: float  # in [-pi/2, pi/2)
    opening_px: float
    jaw_px: float

    def corners(self) -> FloatArray:
        """Corners (4, 2) u, v; the edge from the first to the second is the direction of opening."""
        along = 0.5 * self.opening_px * np.array([math.cos(self.angle_rad), math.sin(self.angle_rad)])
        across = 0.5 * self.jaw_px * np.array([-math.sin(self.angle_rad), math.cos(self.angle_rad)])
        return np.asarray(self.center_px) + np.stack([-along - across, along - across, along + across, -along + across])


def from_corners(corners_px: ArrayLike) -> GraspRectangle:
    """The rectangle of four corners (4, 2), as Cornell has them.

    Raises:
        ValueError: there are not four finite corners, or two that belong to an edge coincide.
    """
    corners = np.asarray(corners_px, dtype=np.float64)
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise ValueError(f"a rectangle has four finite corners u, v; got {np.array2string(corners, threshold=8)}")
    along = 0.5 * (corners[1] - corners[0] + corners[2] - corners[3])
    across = 0.5 * (corners[2] - corners[1] + corners[3] - corners[0])
    opening, jaw = float(np.hypot(*along)), float(np.hypot(*across))
    if opening < 1e-6 or jaw < 1e-6:
        raise ValueError(f"the rectangle has no area: {corners.tolist()}")
    u, v = corners.mean(axis=0)
    return GraspRectangle((float(u), float(v)), wrap_half_turn(math.atan2(along[1], along[0])), opening, jaw)


def from_jacquard(line: str) -> GraspRectangle:
    """The rectangle of a line `x;y;theta_deg;opening_px;jaw_px`; theta grows counterclockwise as one sees the image.

    Raises:
        ValueError: the line does not hold five finite numbers, or an extent is not positive.
    """
    values = [float(part) for part in line.strip().split(";")]
    if len(values) != 5 or not np.isfinite(values).all() or min(values[3:]) <= 0:
        raise ValueError(f"a line is x;y;theta_deg;opening_px;jaw_px with positive extents, got {line.strip()[:80]!r}")
    u, v, theta_deg, opening, jaw = values
    return GraspRectangle((u, v), wrap_half_turn(-math.radians(theta_deg)), opening, jaw)


def iou(a: GraspRectangle, b: GraspRectangle) -> float:
    """Intersection over union of two rectangles, in [0, 1]."""
    shared, _ = cv2.intersectConvexConvex(a.corners().astype(np.float32), b.corners().astype(np.float32))
    union = a.opening_px * a.jaw_px + b.opening_px * b.jaw_px - shared
    return min(max(float(shared) / union, 0.0), 1.0)


def angle_between_rad(a: GraspRectangle, b: GraspRectangle) -> float:
    """Angle between the directions of opening, in [0, pi/2]."""
    return abs(wrap_half_turn(a.angle_rad - b.angle_rad))


def agrees(rectangle: GraspRectangle, positives: Iterable[GraspRectangle]) -> bool:
    """The rectangle metric: whether it agrees with any of the positives."""
    return any(
        angle_between_rad(rectangle, positive) <= MAX_ANGLE_RAD and iou(rectangle, positive) > MIN_IOU
        for positive in positives
    )


def to_label(rectangle: GraspRectangle, camera: str, positive: bool = True, frame: int = 0) -> dict[str, Any]:
    """A rectangle as `EpisodeEnd.labels["grasp_rectangles"]` lists it."""
    return {
        "camera": camera,
        "frame": frame,
        "center_px": list(rectangle.center_px),
        "angle_rad": rectangle.angle_rad,
        "opening_px": rectangle.opening_px,
        "jaw_px": rectangle.jaw_px,
        "positive": positive,
    }


def from_label(label: Mapping[str, Any]) -> GraspRectangle:
    """The inverse of `to_label`.

    Raises:
        ValueError: a key is missing or holds something else.
    """
    try:
        u, v = (float(value) for value in label["center_px"])
        return GraspRectangle((u, v), float(label["angle_rad"]), float(label["opening_px"]), float(label["jaw_px"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not the label of a grasp rectangle ({error!r}): {label}") from error
