"""Whether a camera's calibration fits its motion: features of the still scene, followed from one picture to another.

Where a camera on the wrist goes is known from forward kinematics and its mount, so it is known where a point of the
scene must appear next: exactly where there is depth, and where there is none for a point of one plane whose height is
chosen to fit best. What is left is the drift, in pixels. A camera beside the cell has to see the same scene all along.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import camera
from simtoreal.episodes.arm_tracks import FloatArray
from simtoreal.episodes.grasp_views import PosedImage, pixels_of

_FEATURES = {"maxCorners": 120, "qualityLevel": 0.01, "minDistance": 6}
_WINDOW = {"winSize": (21, 21), "maxLevel": 4}
_BACK_PX = 0.7  # features that do not come back to where they began were lost


@dataclass(frozen=True)
class DriftLimits:
    """Which pairs of pictures say something, and how much drift is too much."""

    moved_m: float = 0.025  # of the camera, between two pictures that are compared
    max_moved_m: float = 0.08
    max_turned_rad: float = 0.3
    min_features: int = 12
    min_flow_px: float = 2.0  # median: a scene that hardly moves says little
    max_pairs: int = 12
    max_drift_px: float = 1.5  # of cameras on the wrist; of this and the next two, all must be exceeded
    max_drift_frac: float = 0.006  # of the image width
    max_drift_of_flow: float = 0.25
    max_shift_frac: float = 0.006  # of the image width, of the scene before a camera that stands


class Drift(NamedTuple):
    """What one pair of pictures says."""

    frame: int  # of the later picture
    drift_px: float  # median distance between where features are and where they ought to be
    flow_px: float  # median way that features went
    seen_px: FloatArray  # (N, 2) where they are
    due_px: FloatArray  # (N, 2) where they ought to be


def followed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[FloatArray, FloatArray]:
    """Features (N, 2) of a picture (H, W, 3), and where they are (N, 2) in another; only those that come back."""
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after)]
    points = cv2.goodFeaturesToTrack(grey[0], **_FEATURES)  # type: ignore[call-overload]
    if points is None:
        return np.empty((0, 2)), np.empty((0, 2))
    there, found, _ = cv2.calcOpticalFlowPyrLK(grey[0], grey[1], points, None, **_WINDOW)  # type: ignore[call-overload]
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(grey[1], grey[0], there, None, **_WINDOW)  # type: ignore[call-overload]
    returned = np.linalg.norm((back - points).reshape(-1, 2), axis=1) < _BACK_PX
    kept = returned & (found.ravel() == 1) & (found_back.ravel() == 1)
    return points.reshape(-1, 2)[kept].astype(np.float64), there.reshape(-1, 2)[kept].astype(np.float64)


def wrist_drift(frame: int, before: PosedImage, after: PosedImage, limits: DriftLimits) -> Drift | None:
    """Drift of a camera that moved; None where too little can be followed."""
    assert before.image.rgb is not None
    assert after.image.rgb is not None
    start_px, seen_px = followed(before.image.rgb, after.image.rgb)
    straight_px = start_px if before.distortion is None or not len(start_px) else camera.undistort_pixels(
        start_px, before.K, before.distortion)  # fmt: skip
    due_px, known = _due(start_px, straight_px, seen_px, before, after)
    seen_px, due_px, start_px = seen_px[known], due_px[known], start_px[known]
    if len(seen_px) < limits.min_features:
        return None
    flow_px = np.linalg.norm(seen_px - start_px, axis=1)
    if float(np.median(flow_px)) < 0.1 * limits.min_flow_px:
        return None  # the very picture once more
    moves = flow_px > 0.3 * np.median(flow_px)  # the hand moves with the camera and stands still in the picture
    if float(np.median(flow_px[moves])) < limits.min_flow_px or moves.sum() < limits.min_features:
        return None
    apart = np.linalg.norm(seen_px - due_px, axis=1)[moves]
    return Drift(frame, float(np.median(apart)), float(np.median(flow_px[moves])), seen_px[moves], due_px[moves])


def _due(
    start_px: FloatArray, straight_px: FloatArray, seen_px: FloatArray, before: PosedImage, after: PosedImage
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Where features ought to be (N, 2), and of which that is known (N,)."""
    if before.image.depth_m is not None and len(start_px):
        v, u = np.rint(start_px[:, 1]).astype(int), np.rint(start_px[:, 0]).astype(int)
        depth_m = before.image.depth_m[v, u].astype(np.float64)
        due = pixels_of(camera.deproject(straight_px, depth_m, before.K, before.T_base_cam), after)
        return due, _all_finite(due)
    best = np.full_like(seen_px, np.nan), np.zeros(len(seen_px), dtype=bool)
    least = np.inf
    for height_m in np.arange(-0.1, 0.1501, 0.01) if len(seen_px) else ():
        due = pixels_of(camera.at_height(straight_px, height_m, before.K, before.T_base_cam), after)
        known = _all_finite(due)
        apart = float(np.median(np.linalg.norm(due - seen_px, axis=1)[known])) if known.sum() > 3 else np.inf
        if apart < least:
            least, best = apart, (due, known)
    return best


def _all_finite(pixels: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(pixels).all(axis=1))


def scene_shift_px(before: NDArray[np.uint8], after: NDArray[np.uint8], min_features: int = 12) -> float | None:
    """Median way of the features between two pictures (H, W, 3) of a camera that stands; None with too few."""
    start_px, seen_px = followed(before, after)
    if len(start_px) < min_features:
        return None
    return float(np.median(np.linalg.norm(seen_px - start_px, axis=1)))
