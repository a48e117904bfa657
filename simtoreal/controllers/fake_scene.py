"""What the camera of the fake arm sees: a plain table with one coloured block, seen through a wrist camera."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.camera import CameraModel, project, rays

FloatArray = NDArray[np.float64]
_TABLE_RGB, _BLOCK_RGB = (150, 140, 128), (196, 62, 48)
_NOISE = 4  # of 255, peak: no two pictures of a camera that lives are the same
_WIDE = math.radians(60.0)


@dataclass(frozen=True)
class Block:
    """A box on the table: `size_m` along its own X, Y, Z."""

    size_m: tuple[float, float, float] = (0.12, 0.03, 0.04)
    position_m: tuple[float, float] = (0.5, 0.0)
    yaw_rad: float = 0.0

    def corners_m(self, rise_m: float) -> FloatArray:
        """Corners (8, 3): four of the bottom, four of the top."""
        x, y, z = (0.5 * edge for edge in self.size_m)
        square = np.array([(-x, -y), (x, -y), (x, y), (-x, y)]) @ frames.rotation_about_z(self.yaw_rad)[:2, :2].T
        square = square + self.position_m
        levels = [np.column_stack([square, np.full(4, rise_m + height)]) for height in (0.0, 2 * z)]
        return np.concatenate(levels)


class FakeCamera:
    """Renders the block; small and quick rather than beautiful."""

    def __init__(self, model: CameraModel | None = None) -> None:
        self.model = model or CameraModel.from_fov(64, 64, _WIDE)
        rows, columns = np.mgrid[: self.model.height_px, : self.model.width_px]
        self._rays_cam = rays(np.stack([columns, rows], axis=-1), self.model.K, np.eye(4))

    def render(
        self, T_base_cam: FloatArray, block: Block, rise_m: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) and depth (H, W), metres along the optical axis, nan beyond the table."""
        climbs = self._rays_cam @ T_base_cam[2, :3]
        depth = _depth_of_plane(climbs, T_base_cam[2, 3], 0.0)
        rgb = np.empty((*depth.shape, 3), dtype=np.uint8)
        rgb[:] = _TABLE_RGB
        corners = block.corners_m(rise_m)
        pixels = project(corners, self.model.K, T_base_cam)
        if np.isfinite(pixels).all():
            mask = np.zeros(depth.shape, dtype=np.uint8)
            cv2.fillConvexPoly(mask, cv2.convexHull(np.round(pixels).astype(np.int32)), 1)
            top = _depth_of_plane(climbs, T_base_cam[2, 3], float(corners[4, 2]))
            rgb[mask > 0] = _BLOCK_RGB
            depth = np.where((mask > 0) & np.isfinite(top), top, depth)
        noise = rng.integers(0, _NOISE, rgb.shape, dtype=np.uint8)
        return rgb + noise, depth.astype(np.float32)


def _depth_of_plane(climbs: FloatArray, camera_height_m: float, plane_m: float) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (plane_m - camera_height_m) / climbs
    return np.where(np.isfinite(depth) & (depth > 0.0) & (depth < 5.0), depth, np.nan)
