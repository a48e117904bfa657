"""One ray per pixel of a camera with or without lens distortion, and the pinhole view that holds them all."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.camera import CameraModel
from simtoreal.envs.compiled import compiled
from simtoreal.envs.render_records import Floats, Owners, Rays

MAX_VIEW_GROWTH = 3.0  # a pinhole view is at most this many times as wide as the bent image that is read from it
NUM_NEWTON_STEPS = 12
TOLERANCE = 1e-10  # at unit depth


class CameraRays(NamedTuple):
    """Rays of a camera's pixels, and size and principal point of the pinhole view to draw."""

    rays: Rays
    width_px: int
    height_px: int
    cx: float
    cy: float


@lru_cache(maxsize=8)
def camera_rays(camera: CameraModel) -> CameraRays:
    """Rays of a camera, kept for the cameras used last.

    Raises:
        ValueError: the distortion folds the image so strongly that no pixel keeps a ray.
    """
    num_pixels = camera.width_px * camera.height_px
    xy, source = np.empty((num_pixels, 2)), np.empty(num_pixels, dtype=np.int32)
    pixel_angle = 2.0 / (camera.fx + camera.fy)
    _pinhole((float(camera.fx), float(camera.fy), float(camera.cx), float(camera.cy)), camera.width_px, xy, source)
    if camera.is_pinhole:
        view = CameraRays(Rays(xy, source, pixel_angle), camera.width_px, camera.height_px, camera.cx, camera.cy)
        return view
    is_valid = np.empty(num_pixels, dtype=np.bool_)
    _undistort(np.array(camera.distortion, dtype=np.float64), xy, is_valid)
    u, v = xy[:, 0] * camera.fx + camera.cx, xy[:, 1] * camera.fy + camera.cy
    is_valid &= _within(u, camera.width_px) & _within(v, camera.height_px)
    if not is_valid.any():
        raise ValueError(f"camera distortion {camera.distortion} leaves no pixel with a ray; use smaller coefficients")
    left, top = int(np.floor(u[is_valid].min())), int(np.floor(v[is_valid].min()))
    width, height = int(np.ceil(u[is_valid].max())) - left + 1, int(np.ceil(v[is_valid].max())) - top + 1
    nearest = np.rint(v - top) * width + np.rint(u - left)
    source[:] = np.where(is_valid, nearest, -1.0)
    return CameraRays(Rays(xy, source, pixel_angle), width, height, camera.cx - left, camera.cy - top)


def _within(pixels: Floats, size_px: int) -> NDArray[np.bool_]:
    margin = 0.5 * (MAX_VIEW_GROWTH - 1.0) * size_px
    return np.asarray((pixels > -margin) & (pixels < size_px + margin))


@compiled
def _pinhole(intrinsics: tuple[float, float, float, float], width: int, xy: Floats, source: Owners) -> None:
    fx, fy, cx, cy = intrinsics
    for pixel in range(len(source)):
        xy[pixel, 0] = (pixel % width - cx) / fx
        xy[pixel, 1] = (pixel // width - cy) / fy
        source[pixel] = pixel


@compiled
def _undistort(distortion: Floats, xy: Floats, is_valid: NDArray[np.bool_]) -> None:
    """Replaces bent rays by straight ones; where there is none, the ray stays and is invalid."""
    for pixel in range(len(xy)):
        x, y, found = _straighten(distortion, xy[pixel, 0], xy[pixel, 1])
        is_valid[pixel] = found
        if found:
            xy[pixel, 0], xy[pixel, 1] = x, y


@compiled
def _straighten(distortion: Floats, x_bent: float, y_bent: float) -> tuple[float, float, bool]:
    """Newton's method on OpenCV's model, and whether it arrived."""
    k1, k2, p1, p2, k3 = distortion[0], distortion[1], distortion[2], distortion[3], distortion[4]
    x, y = x_bent, y_bent
    for _ in range(NUM_NEWTON_STEPS):
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = 2.0 * (k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3))
        error_x = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) - x_bent
        error_y = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y - y_bent
        xx = radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x
        yy = radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x
        xy = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y
        determinant = xx * yy - xy * xy
        if not (determinant > 1e-6 and xx + yy > 0.0):  # beyond here the model folds the image over
            return x, y, False
        if abs(error_x) + abs(error_y) < TOLERANCE:
            return x, y, True
        x -= (yy * error_x - xy * error_y) / determinant
        y -= (xx * error_y - xy * error_x) / determinant
    return x, y, False
