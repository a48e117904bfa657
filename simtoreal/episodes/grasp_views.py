"""A grasp as a camera sees it: where it lies in the picture, and whether something hides it."""

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.episodes.arm_tracks import FloatArray
from simtoreal.episodes.records import CameraInfo, FrameImage
from simtoreal.episodes.timeline import Track

FINGERS_HIDE_M = 0.03  # a tool lower than this above the grasp hides it from its own camera
FINGERS_REACH_M = 0.04  # if it is no farther from it across
_IN_FRONT_M = 0.08  # objects reach at most this far from a grasp towards the camera; what is nearer is in the way
_LOOK_FRAC = 0.01  # of the image height, around the grasp, where depth is looked at


class Sight(StrEnum):
    """Whether a camera sees the place of a grasp."""

    VISIBLE = "visible"
    HIDDEN = "hidden"
    OUTSIDE = "outside"


class PosedImage(NamedTuple):
    """A picture with all that is needed to relate it to the base frame."""

    image: FrameImage
    K: FloatArray
    distortion: FloatArray | None
    T_base_cam: FloatArray
    on_wrist: bool

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        pixels: NDArray[np.generic] | None = self.image.rgb if self.image.rgb is not None else self.image.depth_m
        assert pixels is not None
        return pixels.shape[1], pixels.shape[0]


class GraspView(NamedTuple):
    """A grasp in one picture."""

    sight: Sight
    pixel: tuple[float, float]  # u, v of the point between the finger tips; nan behind the camera
    angle_rad: float  # of the closing direction, from image right towards image down
    width_px: float
    depth_m: float  # of the point between the finger tips, along the optical axis


def posed(image: FrameImage, info: CameraInfo, poses: Track[FloatArray]) -> PosedImage | None:
    """A picture with the calibration that the episode has; None where there is not enough of it, or no picture."""
    if info.K is None or (image.rgb is None and image.depth_m is None):
        return None
    T_base_cam = image.T_base_cam
    if T_base_cam is None and info.T_mount_cam is not None:
        T_base_mount = np.eye(4) if info.mount == "external" else poses.at(image.t_s)
        T_base_cam = None if T_base_mount is None or info.mount == "unknown" else T_base_mount @ info.T_mount_cam
    if T_base_cam is None or not np.isfinite(T_base_cam).all():
        return None
    return PosedImage(image, info.K, info.distortion, T_base_cam, info.mount == "wrist")


def pixels_of(points_base: FloatArray, at: PosedImage) -> FloatArray:
    """Pixels (..., 2) of points (..., 3) as they lie in the picture, the bend of the lens included."""
    pixels = camera.project(points_base, at.K, at.T_base_cam)
    return pixels if at.distortion is None else camera.distort_pixels(pixels, at.K, at.distortion)


def view_grasp(T_base_grasp: FloatArray, width_m: float, at: PosedImage, T_base_tcp: FloatArray | None) -> GraspView:
    """Where a grasp lies in a picture, and whether it can be seen there.

    Args:
        T_base_tcp: the tool when the picture was taken, for a camera that moves with it; None where it is not known.
    """
    points = 0.5 * width_m * np.array([[0.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    centre, left, right = pixels_of(frames.apply(T_base_grasp, points), at)
    across = right - left
    depth_m = float(frames.apply(frames.invert(at.T_base_cam), T_base_grasp[:3, 3])[2])
    sight = _sight(centre, depth_m, at)
    if sight is Sight.VISIBLE and T_base_tcp is not None and _under_fingers(T_base_grasp, T_base_tcp):
        sight = Sight.HIDDEN
    angle_rad = math.atan2(across[1], across[0])
    return GraspView(sight, (float(centre[0]), float(centre[1])), angle_rad, float(np.hypot(*across)), depth_m)


def _sight(pixel: FloatArray, depth_m: float, at: PosedImage) -> Sight:
    width_px, height_px = at.size_px
    if not np.isfinite(pixel).all() or not (0 <= pixel[0] <= width_px - 1 and 0 <= pixel[1] <= height_px - 1):
        return Sight.OUTSIDE
    if at.image.depth_m is None:
        return Sight.VISIBLE
    around = max(1, round(_LOOK_FRAC * height_px))
    u, v = round(float(pixel[0])), round(float(pixel[1]))
    seen = at.image.depth_m[max(v - around, 0) : v + around + 1, max(u - around, 0) : u + around + 1]
    known = seen[np.isfinite(seen)]
    in_the_way = known.size > 0 and float(np.median(known)) < depth_m - _IN_FRONT_M
    return Sight.HIDDEN if in_the_way else Sight.VISIBLE


def _under_fingers(T_base_grasp: FloatArray, T_base_tcp: FloatArray) -> bool:
    """Whether the tool is so close before the grasp that its fingers are around it."""
    offset = frames.apply(frames.invert(T_base_tcp), T_base_grasp[:3, 3])
    return bool(offset[2] < FINGERS_HIDE_M and math.hypot(offset[0], offset[1]) < FINGERS_REACH_M)
