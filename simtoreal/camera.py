"""The one camera model: intrinsics, OpenCV distortion, projection and deprojection, for simulated and real cameras."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal import frames

FloatArray = NDArray[np.float64]
NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)


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
    k1, k2, p1, p2, k3 = (float(value) for value in np.asarray(distortion))
    x = (uv[..., 0] - K[0, 2]) / K[0, 0]
    y = (uv[..., 1] - K[1, 2]) / K[1, 1]
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    x_d = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
    y_d = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
    return np.stack([K[0, 0] * x_d + K[0, 2], K[1, 1] * y_d + K[1, 2]], axis=-1)
