"""The one path from a camera image to what an encoder sees.

Every image is turned into a *canonical view*: a virtual camera at the very place of the real one (so no parallax, a
pure rotation and zoom), looking at a square region of the table, level with the tool or the horizon. Whatever the lens,
the resolution, the distortion and the tilt of the real camera, an object of a given size then has about the same size
in the view, and the network need not learn cameras.

Depth becomes height above the nominal table in the base frame, which does not change when the camera moves.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.contracts import Observation

FloatArray = NDArray[np.float64]
HEIGHT_SCALE_M = 0.1
HEIGHT_CLIP = (-1.0, 4.0)
SIZE_SCALE_M = 0.25
CHANNELS = {"rgb": 5, "depth": 3, "rgbd": 6}
HEIGHT_CHANNEL = {"rgb": None, "depth": 0, "rgbd": 3}  # see `channels`


@dataclass(frozen=True)
class ViewSpec:
    """Which region of the table a view shows, and at how many pixels.

    The edge of the region grows with the height of the camera: close up, the view is fine.

    Raises:
        ValueError: a size is out of range or the modality unknown.
    """

    placement: Literal["wrist", "external"] = "wrist"
    modality: str = "rgbd"
    pixels: int = 64
    edge_per_height: float = 0.75  # edge of the region per metre of camera height
    min_edge_m: float = 0.14
    max_edge_m: float = 0.36
    centre_m: tuple[float, float] = (0.5, 0.0)  # of the region, for a fixed camera; a wrist camera looks below the tool

    def __post_init__(self) -> None:
        if self.modality not in CHANNELS:
            raise ValueError(f"view modality must be one of {sorted(CHANNELS)}, got {self.modality!r}")
        if self.pixels < 32 or self.pixels % 8:
            raise ValueError(f"view pixels must be a multiple of 8 and at least 32, got {self.pixels}")
        if not 0 < self.min_edge_m <= self.max_edge_m:
            raise ValueError(f"view edges must satisfy 0 < min <= max, got {self.min_edge_m}, {self.max_edge_m}")

    @property
    def num_channels(self) -> int:
        return CHANNELS[self.modality]


class View(NamedTuple):
    """A canonical view and the virtual camera that took it."""

    rgb: NDArray[np.uint8]  # (P, P, 3), zero where the real image does not reach or for depth cameras
    height_m: NDArray[np.float32]  # (P, P), nan where unknown
    valid: NDArray[np.bool_]  # (P, P), inside the real image
    K: FloatArray  # (3, 3)
    T_base_view: FloatArray  # (4, 4)
    edge_m: float

    @property
    def yaw_rad(self) -> float:
        """Angle of the view's horizontal axis from base +X, seen from above."""
        return float(np.arctan2(self.T_base_view[1, 0], self.T_base_view[0, 0]))

    @property
    def metres_per_px(self) -> float:
        """In the middle of the view, on the table."""
        return self.edge_m / len(self.rgb)

    @property
    def camera_row(self) -> FloatArray:
        """The virtual camera as one row (21,) of a table: K (9) and the upper three rows of T_base_view (12)."""
        return np.concatenate([self.K.ravel(), self.T_base_view[:3].ravel()])


def from_camera_row(row: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """K (3, 3) and T_base_view (4, 4), the inverse of `View.camera_row`."""
    T_base_view = np.eye(4)
    T_base_view[:3] = row[9:].reshape(3, 4)
    return row[:9].reshape(3, 3).astype(np.float64), T_base_view


def make_view(observation: Observation, spec: ViewSpec) -> View:
    """Looks at an observation through the canonical view.

    Raises:
        ValueError: the observation lacks an image that the modality needs.
    """
    _check(observation, spec)
    K, T_base_view, edge_m = _virtual_camera(observation, spec)
    x, y, forward = _slopes(K, T_base_view[:3, :3].T @ observation.T_base_cam[:3, :3], spec.pixels)
    seen = (x, y) if observation.distortion is None else camera.bend(x, y, observation.distortion)
    u, v = (seen[i] * observation.K[i, i] + observation.K[i, 2] for i in range(2))
    image = observation.rgb if observation.rgb is not None else observation.depth_m
    assert image is not None
    rows, columns = image.shape[:2]
    valid = forward & (u > -0.5) & (u < columns - 0.5) & (v > -0.5) & (v < rows - 0.5)
    map_x, map_y = np.where(valid, u, -10.0).astype(np.float32), np.where(valid, v, -10.0).astype(np.float32)
    rgb = np.zeros((spec.pixels, spec.pixels, 3), dtype=np.uint8)
    if observation.rgb is not None and spec.modality != "depth":
        rgb = _warp_rgb(observation.rgb, map_x, map_y)
    height = np.full((spec.pixels, spec.pixels), np.nan, dtype=np.float32)
    if observation.depth_m is not None and spec.modality != "rgb":
        depth = _warp_depth(observation.depth_m, map_x, map_y, valid)
        rise = x * observation.T_base_cam[2, 0] + y * observation.T_base_cam[2, 1] + observation.T_base_cam[2, 2]
        height = (observation.T_base_cam[2, 3] + depth * rise).astype(np.float32)
    return View(rgb, height, valid, K, T_base_view, edge_m)


def to_tensor(view: View, spec: ViewSpec) -> NDArray[np.float32]:
    """Network input (C, P, P): colour, height, where they are known, and how large the region is."""
    return channels(view.rgb, view.height_m, view.valid, view.edge_m, spec.modality)


def channels(
    rgb: NDArray[np.uint8],
    height_m: NDArray[np.floating],
    valid: NDArray[np.bool_],
    edge_m: float,
    modality: str,
) -> NDArray[np.float32]:
    """Stacks the channels of a view (C, P, P) as float32; training reads its stored frames through here too."""
    planes: list[NDArray[np.float32]] = []
    if modality != "depth":
        planes.extend(np.moveaxis(rgb.astype(np.float32) / 127.5 - 1.0, -1, 0))
    if modality != "rgb":
        known = np.isfinite(height_m)
        scaled = np.clip(np.where(known, height_m, 0.0) / HEIGHT_SCALE_M, *HEIGHT_CLIP)
        planes.extend([scaled.astype(np.float32), known.astype(np.float32)])
    if modality == "rgb":
        planes.append(valid.astype(np.float32))
    planes.append(np.full(valid.shape, np.log(edge_m / SIZE_SCALE_M), dtype=np.float32))
    return np.stack(planes)


def _check(observation: Observation, spec: ViewSpec) -> None:
    if spec.modality != "depth" and observation.rgb is None:
        raise ValueError(f"a {spec.modality} policy needs a colour image, and the observation has none")
    if spec.modality != "rgb" and observation.depth_m is None:
        raise ValueError(f"a {spec.modality} policy needs a depth image, and the observation has none")


def _virtual_camera(observation: Observation, spec: ViewSpec) -> tuple[FloatArray, FloatArray, float]:
    eye = observation.T_base_cam[:3, 3]
    if spec.placement == "wrist":
        target = np.array([observation.T_base_tcp[0, 3], observation.T_base_tcp[1, 3], 0.0])
        up = -observation.T_base_tcp[:3, 1]
    else:
        target = np.array([*spec.centre_m, 0.0])
        up = np.array([0.0, 0.0, 1.0])
    edge_m = float(np.clip(spec.edge_per_height * eye[2], spec.min_edge_m, spec.max_edge_m))
    if spec.placement == "external":
        edge_m = spec.max_edge_m
    focal = spec.pixels * float(np.linalg.norm(eye - target)) / edge_m
    middle = 0.5 * (spec.pixels - 1)
    K = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
    return K, frames.look_at(eye, target, up), edge_m


def _slopes(K: FloatArray, R_view_cam: FloatArray, pixels: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Rays of the view's pixels in the real camera: x and y (P, P) at unit depth, and whether they are before it."""
    across = (np.arange(pixels) - K[0, 2]) / K[0, 0]
    down = across[:, None]
    x, y, z = (row[0] * across + row[1] * down + row[2] for row in R_view_cam.T)
    forward = z > 1e-6
    z = np.where(forward, z, 1.0)
    return x / z, y / z, forward


def _warp_rgb(rgb: NDArray[np.uint8], map_x: NDArray[np.float32], map_y: NDArray[np.float32]) -> NDArray[np.uint8]:
    step = _source_step(map_x, map_y)
    if step > 1.5:  # a large image is averaged down first, or the warp would pick single noisy pixels
        size = (max(1, round(rgb.shape[1] / step)), max(1, round(rgb.shape[0] / step)))
        scale_x, scale_y = size[0] / rgb.shape[1], size[1] / rgb.shape[0]
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        map_x, map_y = (map_x + 0.5) * np.float32(scale_x) - 0.5, (map_y + 0.5) * np.float32(scale_y) - 0.5
    inside = (map_x > -1.0) & (map_y > -1.0)
    warped = cv2.remap(rgb, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(inside[..., None], warped, 0).astype(np.uint8)


def _warp_depth(
    depth_m: NDArray[np.float32], map_x: NDArray[np.float32], map_y: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    # Nearest, not linear: between an edge and the table behind it there is nothing.
    warped = cv2.remap(depth_m, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return np.where(valid, warped, np.nan).astype(np.float32)


def _source_step(map_x: NDArray[np.float32], map_y: NDArray[np.float32]) -> float:
    """Source pixels per view pixel in the middle of the view."""
    m = map_x.shape[0] // 2
    return float(np.hypot(map_x[m, m + 1] - map_x[m, m], map_y[m, m + 1] - map_y[m, m]))
