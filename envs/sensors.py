"""What a real RGB-D sensor makes of a perfect image: pure functions of image, sensor sample and generator.

The depth model follows what is reported for stereo and structured-light cameras: noise and quantisation that grow with
the square of the distance (Khoshelham and Elberink 2012), noise in patches rather than pixel by pixel, no return beside
depth edges, where one of the two views is occluded, and none from black or glaring surfaces.
"""

import math
from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.world_sample import SensorSample

DepthImage = NDArray[np.float32]
ColourImage = NDArray[np.uint8]
_REFERENCE_M = 0.5  # distance at which depth noise and quantisation are given
_EDGE_JUMP = 0.02  # bend of the depth profile, as a share of the distance, from which on it is an edge
_BLACK, _GLARE = 30, 250  # brightest channel below, darkest channel above: no return
# Standard deviation of a white-noise grid after bicubic enlargement; dividing by it keeps the promised sigma.
_CUBIC_STD = 0.867
_NORMAL = NormalDist()


def corrupt_depth(
    depth_m: DepthImage, rgb: ColourImage | None, sensor: SensorSample, rng: np.random.Generator
) -> DepthImage:
    """Depth as the sensor would deliver it.

    Args:
        depth_m: (H, W) perfect depth along the optical axis, metres; what is not finite and positive is no return.
        rgb: (H, W, 3) uint8 perfect image that the holes of dark and glaring surfaces are read from, or None.
        sensor: what was drawn for this episode.
        rng: source of this frame's noise.

    Returns:
        (H, W) float32, metres, nan where there is no return; never inf. The input is left as it was.
    """
    depth = np.asarray(depth_m, dtype=np.float32)
    valid = np.isfinite(depth) & (depth > 0)
    clean = np.where(valid, depth, np.float32(0.0))
    noisy = clean + np.float32(sensor.depth_bias_m)
    if sensor.depth_noise_m > 0:
        sigma = sensor.depth_noise_m * np.power(clean / _REFERENCE_M, np.float32(sensor.depth_noise_growth))
        noisy += sigma * _patchy_noise(clean.shape, sensor.depth_correlation_px, rng)
    if sensor.depth_quantization_m > 0:
        step = np.float32(sensor.depth_quantization_m / _REFERENCE_M**2) * clean * clean + np.float32(1e-9)
        noisy = np.rint(noisy / step) * step
    gone = _holes(clean, rgb, sensor, rng)
    gone |= ~valid
    gone |= noisy <= 0
    noisy[gone] = np.nan
    return noisy.astype(np.float32, copy=False)


def corrupt_rgb(rgb: ColourImage, sensor: SensorSample, rng: np.random.Generator) -> ColourImage:
    """Colour image as the sensor would deliver it: blur, exposure, white balance, vignette, noise, JPEG, in that order.

    Args:
        rgb: (H, W, 3) uint8 perfect image; left as it was.
        sensor: what was drawn for this episode.
        rng: source of this frame's noise.

    Returns:
        (H, W, 3) uint8, a new array.
    """
    # A kernel narrower than a twentieth of a pixel has one tap.
    sharp = np.ascontiguousarray(rgb)
    blurred = cv2.GaussianBlur(sharp, (0, 0), sensor.blur_px) if sensor.blur_px > 0.05 else sharp
    gains = np.float32(sensor.exposure) * np.array(sensor.white_balance, dtype=np.float32)
    curve = np.arange(256, dtype=np.float32)[None, :, None] * gains  # (1, 256, 3): one table per channel
    image: NDArray[np.float32] = np.asarray(cv2.LUT(blurred, curve))
    if sensor.vignette > 0:
        image *= 1.0 - np.float32(sensor.vignette) * _corner_distance(*image.shape[:2])
    if sensor.rgb_noise > 0:
        image += np.float32(255.0 * sensor.rgb_noise) * _normal(image.shape, rng)
    image += np.float32(0.5)  # the cast below cuts the fraction off
    pixels = np.clip(image, 0.0, 255.0, out=image).astype(np.uint8)
    return _jpeg(pixels, sensor.jpeg_quality) if sensor.jpeg_quality < 100 else pixels


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of unit variance in 256 steps: ten times as fast as exact normals, and an image has no finer steps."""
    num_values = math.prod(shape)
    words = rng.integers(0, 2**64, size=-(-num_values // 8), dtype=np.uint64)
    steps = words.view(np.uint8)[:num_values].reshape(shape[0], -1)
    return np.asarray(cv2.LUT(steps, _normal_steps()), dtype=np.float32).reshape(shape)


@lru_cache(maxsize=1)
def _normal_steps() -> NDArray[np.float32]:
    """The 256 equally likely values (256,) of `_normal`."""
    steps = np.array([_NORMAL.inv_cdf((i + 0.5) / 256.0) for i in range(256)])
    return np.asarray(steps / steps.std(), dtype=np.float32)


def _patchy_noise(shape: tuple[int, int], correlation_px: float, rng: np.random.Generator) -> DepthImage:
    """Noise (H, W) of unit variance: half of it white, half of it in patches of `correlation_px`."""
    white = _normal(shape, rng)
    if correlation_px < 1.0:
        return white
    rows, columns = (max(2, math.ceil(extent / correlation_px)) for extent in shape)
    coarse = _normal((rows, columns), rng)
    patches: DepthImage = np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))
    return math.sqrt(0.5) * white + np.float32(math.sqrt(0.5) / _CUBIC_STD) * patches


def _holes(
    depth: DepthImage, rgb: ColourImage | None, sensor: SensorSample, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mask (H, W) of the pixels without return."""
    gone = np.zeros(depth.shape, dtype=np.bool_)
    edge_frac, dark_frac = sensor.depth_hole_edge_frac, sensor.depth_hole_dark_frac
    if edge_frac <= 0 and dark_frac <= 0:
        return gone
    # Holes come in blotches, not as salt and pepper; their size is a share of the view, whatever its resolution.
    draw = _patchy_noise(depth.shape, max(3.0, depth.shape[1] / 60.0), rng)
    if edge_frac > 0:
        far, near = _edges(depth)
        gone |= (far & (draw < _below(edge_frac))) | (near & (draw < _below(0.5 * edge_frac)))
    if dark_frac > 0 and rgb is not None:
        red, green, blue = cv2.split(rgb)
        brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
        gone |= ((brightest < _BLACK) | (darkest > _GLARE)) & (draw < _below(dark_frac))
    return gone


def _below(share: float) -> float:
    """The value below which a share in [0, 1] of `_patchy_noise` lies."""
    return _NORMAL.inv_cdf(share) if share < 1.0 else math.inf


def _edges(depth: DepthImage) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks (H, W) of the far and the near side of depth edges: where the profile bends; a slanted plane has none."""
    bend = np.asarray(cv2.Laplacian(depth, cv2.CV_32F), dtype=np.float32)
    # Beyond the rim OpenCV mirrors the image, and a mirrored slope bends.
    bend[[0, -1], :] = 0.0
    bend[:, [0, -1]] = 0.0
    jump = np.float32(_EDGE_JUMP) * depth
    far: NDArray[np.bool_] = bend < -jump
    near: NDArray[np.bool_] = bend > jump
    reach_px = depth.shape[1] // 128  # of the occluded band
    if reach_px:
        kernel = np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
        far = cv2.dilate(far.astype(np.uint8), kernel) > 0
    return far, near


@lru_cache(maxsize=8)
def _corner_distance(height_px: int, width_px: int) -> NDArray[np.float32]:
    """(H, W, 3) squared distance from the middle, 1 in the corners; the channels are equal, to multiply an image."""
    rows, columns = np.linspace(-1.0, 1.0, height_px), np.linspace(-1.0, 1.0, width_px)
    distance = ((rows[:, None] ** 2 + columns[None, :] ** 2) / 2.0).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(distance[..., None], (height_px, width_px, 3)))


def _jpeg(rgb: ColourImage, quality: int) -> ColourImage:
    encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
