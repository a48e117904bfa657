"""One ray per pixel of a camera with or without lens distortion, and the pinhole view that holds them all."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.camera import CameraModel
from simtoreal.envs.compiled import compiled
from simtoreal.envs.shading import Rays

MAX_VIEW_GROWTH = 3.0  # a pinhole view is at most this many times as wide as the bent image that is read from it
NUM_NEWTON_STEPS = 12
TOLERANCE = 1e-10  # at unit depth


class CameraRays(NamedTuple):
    """Rays of the camera's pixels, and size and principal point of the pinhole view to draw."""

    rays: Rays
    width_px: int
    height_px: int
    cx: float
    cy: float


@lru_cache(maxsize=8)
def camera_rays(camera: CameraModel) -> CameraRays:
    """Rays of a camera, kept for the cameras used last."""
    shape = (camera.height_px, camera.width_px)
    xy, source = np.empty((*shape, 2)), np.empty(shape, dtype=np.int32)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion])
    pixel_angle = 2.0 / (camera.fx + camera.fy)
    _pinhole(lens, xy, source)
    if camera.is_pinhole:
        return CameraRays(Rays(xy, source, pixel_angle), camera.width_px, camera.height_px, camera.cx, camera.cy)
    is_valid = np.empty(shape, dtype=np.bool_)
    _undistort(lens, xy, is_valid)
    u, v = xy[..., 0] * camera.fx + camera.cx, xy[..., 1] * camera.fy + camera.cy
    is_valid &= _within(u, camera.width_px) & _within(v, camera.height_px)
    if not is_valid.any():
        raise ValueError(f"camera distortion {camera.distortion} leaves no pixel of {camera} with a ray")
    left, top = int(np.floor(u[is_valid].min())), int(np.floor(v[is_valid].min()))
    width, height = int(np.ceil(u[is_valid].max())) - left + 1, int(np.ceil(v[is_valid].max())) - top + 1
    nearest = np.rint(v - top).astype(np.int64) * width + np.rint(u - left).astype(np.int64)
    source[:] = np.where(is_valid, nearest, -1)
    return CameraRays(Rays(xy, source, pixel_angle), width, height, camera.cx - left, camera.cy - top)


def _within(pixels: NDArray[np.float64], size_px: int) -> NDArray[np.bool_]:
    margin = 0.5 * (MAX_VIEW_GROWTH - 1.0) * size_px
    return np.asarray((pixels > -margin) & (pixels < size_px + margin))


@compiled
def _pinhole(lens, xy, source):  # type: ignore[no-untyped-def]
    height, width = source.shape
    for row in range(height):
        for column in range(width):
            xy[row, column, 0] = (column - lens[2]) / lens[0]
            xy[row, column, 1] = (row - lens[3]) / lens[1]
            source[row, column] = row * width + column


@compiled
def _undistort(lens, xy, is_valid):  # type: ignore[no-untyped-def]
    """Replaces bent rays by straight ones (Newton on OpenCV's model); where there is none, the ray stays and is invalid."""
    height, width = is_valid.shape
    for row in range(height):
        for column in range(width):
            x_bent, y_bent = xy[row, column, 0], xy[row, column, 1]
            x, y, found = _straighten(lens, x_bent, y_bent)
            is_valid[row, column] = found
            if found:
                xy[row, column, 0], xy[row, column, 1] = x, y


@compiled
def _straighten(lens, x_bent, y_bent):  # type: ignore[no-untyped-def]
    k1, k2, p1, p2, k3 = lens[4], lens[5], lens[6], lens[7], lens[8]
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
