"""What the sensors of the second world make of a perfect image: a colour chip, and a stereo depth camera.

The stereo camera errs in disparity: noise and steps grow with the square of the distance, its matching window fattens
edges, and what only one of the two eyes sees has no depth (Scharstein and Szeliski 2002; Halmetschlager-Funek 2019).
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.reality_sample import DepthSample, ImageSample

DepthImage = NDArray[np.float32]
ColourImage = NDArray[np.uint8]
_REFERENCE_M = 0.5  # distance at which noise and steps are given
_DARK, _GLARE = 18.0, 247.0  # brightness below and above which a matcher finds nothing
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def expose(rgb: ColourImage, sensor: ImageSample, rng: np.random.Generator) -> ColourImage:
    """Colour image as the chip delivers it.

    Args:
        rgb: (H, W, 3) uint8, perfect; left as it was.
        sensor: what was drawn for this episode.
        rng: source of this frame's noise.

    Returns:
        (H, W, 3) uint8, a new array.
    """
    light = rgb.astype(np.float32) / np.float32(255.0)
    sigma_px = sensor.blur_frac * rgb.shape[0]
    if sigma_px > 0.05:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma_px), dtype=np.float32)
    light *= np.float32(sensor.exposure) * np.array(sensor.white_balance, dtype=np.float32)
    if sensor.vignette > 0.0:
        light *= _vignette(rgb.shape[0], rgb.shape[1], sensor.vignette)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    # Photons arrive at random, the more the noisier; the rest is the electronics.
    light += noise * np.sqrt(np.float32(sensor.shot_noise**2) * np.clip(light, 0.0, 1.0) + sensor.read_noise**2)
    grey = (light @ _LUMA)[..., None]
    light = np.clip(grey + np.float32(sensor.saturation) * (light - grey), 0.0, 1.0)
    return np.asarray(255.0 * light**sensor.gamma + 0.5, dtype=np.uint8)


def measure_depth(
    depth_m: DepthImage, rgb: ColourImage, fx: float, sensor: DepthSample, rng: np.random.Generator
) -> DepthImage:
    """Depth as the stereo camera delivers it.

    Args:
        depth_m: (H, W) perfect depth along the optical axis, metres; nan is nothing there.
        rgb: (H, W, 3) uint8 image as exposed: matching fails where it is black or blown out.
        fx: focal length, pixels.
        sensor: what was drawn for this episode.
        rng: source of this frame's noise.

    Returns:
        (H, W) float32, metres, nan where there is no return; the input is left as it was.
    """
    height_px = depth_m.shape[0]
    gone = ~np.isfinite(depth_m) | (depth_m < sensor.min_range_m)
    # Disparity per focal length and baseline.
    inverse: DepthImage = np.float32(1.0) / np.where(np.isfinite(depth_m), depth_m, np.float32(1e3)).astype(np.float32)
    gone |= _hidden(inverse, fx * sensor.baseline_m)
    window_px = round(sensor.block_frac * height_px)
    if window_px > 0:
        inverse = _fatten(inverse, window_px)
    # A depth error of e at the reference distance is a disparity error of e / distance^2, whatever the distance.
    inverse += np.float32(sensor.noise_m / _REFERENCE_M**2) * _patches(depth_m.shape, sensor.patch_frac, rng)
    if sensor.step_m > 0.0:
        step = np.float32(sensor.step_m / _REFERENCE_M**2)
        inverse = np.asarray(np.rint(inverse / step) * step, dtype=np.float32)
    gone |= _unmatched(rgb, sensor, rng) | (inverse <= 1e-3)
    measured = np.float32(1.0 + sensor.scale_error) / np.where(gone, np.float32(1.0), inverse)
    return np.asarray(np.where(gone, np.float32(np.nan), measured), dtype=np.float32)


def _vignette(height: int, width: int, strength: float) -> NDArray[np.float32]:
    rows, columns = np.linspace(-1.0, 1.0, height), np.linspace(-1.0, 1.0, width)
    distance = (rows[:, None] ** 2 + columns[None, :] ** 2) / 2.0
    return np.asarray((1.0 - strength * distance)[..., None], dtype=np.float32)


def _hidden(inverse: DepthImage, fx_baseline: float) -> NDArray[np.bool_]:
    """Mask (H, W) of what the second eye, to the right, does not see: something to the right moves in front of it."""
    if fx_baseline <= 0.0:
        return np.zeros(inverse.shape, dtype=np.bool_)
    seen_at = np.arange(inverse.shape[1], dtype=np.float32)[None, :] - np.float32(fx_baseline) * inverse
    first_right = np.minimum.accumulate(seen_at[:, ::-1], axis=1)[:, ::-1]
    hidden = np.zeros(inverse.shape, dtype=np.bool_)
    hidden[:, :-1] = seen_at[:, :-1] > first_right[:, 1:] + np.float32(0.5)
    return hidden


def _fatten(inverse: DepthImage, window_px: int) -> DepthImage:
    """The matching window takes what is near for what lies beside it, and smooths."""
    size = 2 * window_px + 1
    near = cv2.dilate(inverse, np.ones((size, size), np.uint8))
    edge = near > 1.05 * inverse
    smooth = cv2.blur(inverse, (size, size))
    return np.asarray(np.where(edge, 0.5 * (near + inverse), smooth), dtype=np.float32)


def _patches(shape: tuple[int, ...], extent_frac: float, rng: np.random.Generator) -> DepthImage:
    """Noise (H, W) of unit variance in patches of a share of the height."""
    rows = shape[0] if extent_frac <= 0.0 else min(shape[0], max(2, math.ceil(1.0 / extent_frac)))
    columns = max(2, round(rows * shape[1] / shape[0]))
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    noise = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(noise / np.float32(noise.std() + 1e-6), dtype=np.float32)


def _unmatched(rgb: ColourImage, sensor: DepthSample, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask (H, W) of the pixels whose surroundings say nothing, lost in blotches."""
    luck = _rank(_patches(rgb.shape[:2], 0.04, rng))
    brightness = rgb.astype(np.float32) @ _LUMA
    share = np.full(brightness.shape, np.float32(sensor.speckle_loss_frac))
    share[brightness < _DARK] = max(sensor.dark_loss_frac, sensor.speckle_loss_frac)
    share[brightness > _GLARE] = max(sensor.glare_loss_frac, sensor.speckle_loss_frac)
    return np.asarray(luck < share)


def _rank(noise: DepthImage) -> DepthImage:
    """Unit-variance noise made about uniform in [0, 1] (logistic fit to the normal distribution)."""
    return np.asarray(1.0 / (1.0 + np.exp(np.float32(-1.702) * noise)), dtype=np.float32)
