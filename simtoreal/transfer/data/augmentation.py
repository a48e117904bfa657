"""Disturbed copies of a real frame: the camera rolls, zooms and shifts, light and sensor change.

What moves the picture moves the virtual camera in the same way, so that a label in the base frame stays where it is and
is projected through the camera that the copy now has. Nothing else has to be transformed.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import FloatArray
from simtoreal.policies.view import View

_MARGIN_FRAC = 0.15  # of a window: a target is no nearer to its rim


@dataclass(frozen=True)
class Augmentation:
    """How far a copy may be from its frame."""

    roll_rad: float = 0.6  # about the optical axis, either way
    zoom: float = 0.15  # factor of at most 1 + zoom, either way
    shift_frac: float = 0.10  # of the edge, either way, along both axes
    brightness: float = 0.25  # factor of at most 1 + this, either way
    contrast: float = 0.25
    channel: float = 0.12  # the same for each colour alone
    noise: float = 4.0  # standard deviation in grey levels, at most
    depth_noise_m: float = 0.002  # standard deviation of the heights, at most
    depth_holes: int = 3  # patches without depth, at most
    scale_free: bool = False  # nobody knows the scale of a picture: a zoom makes things larger, not nearer
    window_px: int = 0  # edge of the part that a copy shows, with its target somewhere in it; 0 is all of the frame


EXTERNAL = Augmentation(roll_rad=0.1)  # a fixed camera stays level with the horizon


def augment(view: View, config: Augmentation, rng: np.random.Generator, target_px: FloatArray | None = None) -> View:
    """A copy through another camera and in another light.

    Args:
        view: as it is.
        config: how far the copy may be from it.
        rng: draws the copy.
        target_px: (2,) what a window shows somewhere; None is the middle.
    """
    roll_rad = rng.uniform(-config.roll_rad, config.roll_rad)
    zoom = (1.0 + config.zoom) ** rng.uniform(-1.0, 1.0)
    if config.window_px:
        pixels, target = config.window_px, view.K[:2, 2] if target_px is None else target_px
        c, s = math.cos(roll_rad), math.sin(roll_rad)
        from_middle = zoom * np.array([[c, s], [-s, c]]) @ (target - view.K[:2, 2])
        shown_at = rng.uniform(_MARGIN_FRAC, 1.0 - _MARGIN_FRAC, 2) * pixels
        shift_px = shown_at - from_middle - view.K[:2, 2]
    else:
        pixels = view.rgb.shape[0]
        shift_px = rng.uniform(-config.shift_frac, config.shift_frac, 2) * pixels
    return relight(move_camera(view, roll_rad, zoom, shift_px, pixels), config, rng)


def move_camera(view: View, roll_rad: float, zoom: float, shift_px: FloatArray, pixels: int | None = None) -> View:
    """The view of a camera that was rolled clockwise, zoomed in and whose principal point was shifted.

    Args:
        view: as it was.
        roll_rad: about the optical axis; the picture turns the other way.
        zoom: factor of the focal length.
        shift_px: (2,) of the principal point, right and down.
        pixels: edge of the picture that it takes, from the upper left; None is as it was.
    """
    c, s = math.cos(roll_rad), math.sin(roll_rad)
    pixels = pixels or view.rgb.shape[0]
    T_base_view = view.T_base_view.copy()
    T_base_view[:3, :3] = view.T_base_view[:3, :3] @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    K = view.K.copy()
    K[:2, :2] *= zoom
    K[:2, 2] += shift_px
    # A pixel of the copy, as a ray of the new camera, in the old one: where to read.
    back = view.K @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ np.linalg.inv(K)
    rgb = _warp(view.rgb, back, pixels, (cv2.INTER_LINEAR, 0.0))
    # Nearest: between an edge and the table behind it there is nothing.
    height_m = _warp(view.height_m, back, pixels, (cv2.INTER_NEAREST, float("nan")))
    valid = _warp(view.valid.astype(np.uint8), back, pixels, (cv2.INTER_NEAREST, 0.0))
    edge_m = view.metres_per_px / zoom * pixels
    return View(rgb.astype(np.uint8), height_m.astype(np.float32), valid.astype(np.bool_), K, T_base_view, edge_m)


def relight(view: View, config: Augmentation, rng: np.random.Generator) -> View:
    """Another light, another exposure, a noisier sensor."""
    gain = (1.0 + config.brightness) ** rng.uniform(-1.0, 1.0) * (1.0 + config.channel) ** rng.uniform(-1.0, 1.0, 3)
    spread = (1.0 + config.contrast) ** rng.uniform(-1.0, 1.0)
    rgb = view.rgb.astype(np.float32)
    middle = float(rgb.mean())
    rgb = ((rgb - middle) * spread + middle) * gain + rng.normal(0.0, config.noise * rng.random(), rgb.shape)
    lit = np.where(view.valid[..., None], np.clip(rgb, 0.0, 255.0), 0.0).astype(np.uint8)
    height_m = view.height_m + rng.normal(0.0, config.depth_noise_m * rng.random(), view.height_m.shape)
    for _ in range(int(rng.integers(config.depth_holes + 1))):
        row, column = rng.integers(0, view.rgb.shape[0], 2)
        height_m[row : row + int(rng.integers(2, 7)), column : column + int(rng.integers(2, 7))] = np.nan
    return view._replace(rgb=lit, height_m=height_m.astype(np.float32))


def _warp(image: NDArray[Any], back: FloatArray, pixels: int, how: tuple[int, float]) -> NDArray[Any]:
    """A square picture through a homography; `how` is the interpolation, and what lies outside."""
    interpolation, outside = how
    return np.asarray(
        cv2.warpPerspective(image, back, (pixels, pixels), flags=interpolation | cv2.WARP_INVERSE_MAP,
                            borderMode=cv2.BORDER_CONSTANT, borderValue=(outside,) * 3)
    )  # fmt: skip
