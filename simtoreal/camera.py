"""The one camera model: intrinsics, OpenCV distortion, projection and deprojection, for simulated and real cameras."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal import frames

FloatArray = NDArray[np.float64]
NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)
_NEWTON_STEPS = 12
_FOLDED = 0.02  # of a lens that bends this strongly the image runs backwards soon
_CONVERGED = 1e-6  # at unit depth
_WIDEST_SLOPE = 5.0  # a ray at 79 degrees


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera with OpenCV's five-coefficient distortion.

    Pixel (0, 0) is the *centre* of the top-left pixel, as in OpenCV.

    Raises:
        ValueError: a size or focal length is not positive, or a value is not finite.
    """

    width_px: int
    height_px: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = NO_DISTORTION  # k1 k2 p1 p2 k3

    def __post_init__(self) -> None:
        for name in ("width_px", "height_px", "fx", "fy"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"camera {name} must be positive, got {value}")
        if len(self.distortion) != 5 or not np.isfinite([self.cx, self.cy, *self.distortion]).all():
            raise ValueError(f"camera cx, cy and five distortion coefficients must be finite, got {self}")

    @classmethod
    def from_fov(cls, width_px: int, height_px: int, fov_y_rad: float) -> "CameraModel":
        """Square pixels, centred principal point, vertical field of view `fov_y_rad`."""
        if not 0.0 < fov_y_rad < math.pi:
            raise ValueError(f"camera fov_y_rad must lie in (0, pi), got {fov_y_rad}")
        focal = 0.5 * height_px / math.tan(0.5 * fov_y_rad)
        return cls(width_px, height_px, focal, focal, 0.5 * (width_px - 1), 0.5 * (height_px - 1))

    @property
    def K(self) -> FloatArray:
        """Intrinsic matrix (3, 3), pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_pinhole(self) -> bool:
        return not any(self.distortion)


def project(points_base: ArrayLike, K: FloatArray, T_base_cam: FloatArray) -> FloatArray:
    """Pixels (..., 2) of points (..., 3) in the base frame through a pinhole; nan behind the camera."""
    points_cam = frames.apply(frames.invert(T_base_cam), points_base)
    z = np.where(points_cam[..., 2] > 1e-9, points_cam[..., 2], np.nan)
    u = K[0, 0] * points_cam[..., 0] / z + K[0, 2]
    v = K[1, 1] * points_cam[..., 1] / z + K[1, 2]
    return np.stack([u, v], axis=-1)


def rays(pixels: ArrayLike, K: FloatArray, T_base_cam: FloatArray) -> FloatArray:
    """Directions (..., 3) in the base frame, scaled to unit depth, through pinhole pixels (..., 2)."""
    uv = np.asarray(pixels, dtype=np.float64)
    directions = np.stack(
        [(uv[..., 0] - K[0, 2]) / K[0, 0], (uv[..., 1] - K[1, 2]) / K[1, 1], np.ones(uv.shape[:-1])], axis=-1
    )
    return np.asarray(directions @ T_base_cam[:3, :3].T)


def deproject(pixels: ArrayLike, depth_m: ArrayLike, K: FloatArray, T_base_cam: FloatArray) -> FloatArray:
    """Points (..., 3) in the base frame of pinhole pixels (..., 2) at depth (...) along the optical axis."""
    return np.asarray(rays(pixels, K, T_base_cam) * np.asarray(depth_m)[..., None] + T_base_cam[:3, 3])


def at_height(pixels: ArrayLike, height_m: ArrayLike, K: FloatArray, T_base_cam: FloatArray) -> FloatArray:
    """Points (..., 3) in the base frame where the rays of pinhole pixels (..., 2) cross the plane z = height (...).

    A ray that runs level or away from the plane gives nan.
    """
    directions = rays(pixels, K, T_base_cam)
    climb = np.asarray(height_m, dtype=np.float64) - T_base_cam[2, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = climb / directions[..., 2]
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, np.nan)
    return np.asarray(directions * scale[..., None] + T_base_cam[:3, 3])


def undistort_pixels(pixels: ArrayLike, K: FloatArray, distortion: ArrayLike) -> FloatArray:
    """Pinhole pixels (N, 2) of distorted pixels (N, 2), same K."""
    uv = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
    return np.asarray(cv2.undistortPoints(uv, K, np.asarray(distortion, dtype=np.float64), P=K).reshape(-1, 2))


def distort_pixels(pixels: ArrayLike, K: FloatArray, distortion: ArrayLike) -> FloatArray:
    """Distorted pixels (..., 2) of pinhole pixels (..., 2), same K (OpenCV's model, five coefficients)."""
    uv = np.asarray(pixels, dtype=np.float64)
    x_d, y_d = bend((uv[..., 0] - K[0, 2]) / K[0, 0], (uv[..., 1] - K[1, 2]) / K[1, 1], distortion)
    return np.stack([K[0, 0] * x_d + K[0, 2], K[1, 1] * y_d + K[1, 2]], axis=-1)


def bend(x: FloatArray, y: FloatArray, distortion: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Slopes x/z and y/z (...) of rays as a lens bends them (OpenCV's model, five coefficients)."""
    k1, k2, p1, p2, k3 = np.asarray(distortion, dtype=np.float64).tolist()
    xx, xy, yy = x * x, x * y, y * y
    r2 = xx + yy
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return x * radial + 2.0 * p1 * xy + p2 * (r2 + 2.0 * xx), y * radial + p1 * (r2 + 2.0 * yy) + 2.0 * p2 * xy


def ray_slopes(camera: CameraModel, rays_per_px: int = 1) -> FloatArray:
    """Slopes x/z and y/z (H n, W n, 2) of the rays through a grid of n * n points in each pixel, in the optical frame.

    Newton's method on OpenCV's model; nan where the lens bends so strongly that a pixel has no ray.
    """
    columns = (np.arange(camera.width_px * rays_per_px) + 0.5) / rays_per_px - 0.5
    rows = (np.arange(camera.height_px * rays_per_px) + 0.5) / rays_per_px - 0.5
    bent = np.stack(np.meshgrid((columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy), axis=-1)
    return bent if camera.is_pinhole else _straightened(bent, camera.distortion)


def _straightened(bent: FloatArray, distortion: tuple[float, ...]) -> FloatArray:
    k1, k2, p1, p2, k3 = distortion
    xy = bent.copy()
    for _ in range(_NEWTON_STEPS):
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        growth = 2.0 * (k1 + r2 * (2.0 * k2 + 3.0 * r2 * k3))  # of radial by r2, times two
        error_x = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) - bent[..., 0]
        error_y = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y - bent[..., 1]
        slope_xx = radial + x * x * growth + 2.0 * p1 * y + 6.0 * p2 * x
        slope_xy = x * y * growth + 2.0 * p1 * x + 2.0 * p2 * y
        slope_yy = radial + y * y * growth + 6.0 * p1 * y + 2.0 * p2 * x
        determinant = slope_xx * slope_yy - slope_xy * slope_xy
        folded = determinant <= _FOLDED
        determinant = np.where(folded, 1.0, determinant)
        xy[..., 0] -= (slope_yy * error_x - slope_xy * error_y) / determinant
        xy[..., 1] -= (slope_xx * error_y - slope_xy * error_x) / determinant
        xy = np.clip(np.where(folded[..., None], np.nan, xy), -_WIDEST_SLOPE, _WIDEST_SLOPE)
    left = np.abs(np.stack([error_x, error_y], axis=-1)).max(axis=-1)
    return np.asarray(np.where((left < _CONVERGED)[..., None], xy, np.nan))
