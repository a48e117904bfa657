"""The surroundings of a grasp as if seen from straight above, and whether two such views show the same.

A picture is brought onto a grid in the plane of the grasp with the known pose of its camera, so that what stays where
it is stays in its cell, however the camera moved. Depth gives heights, colour gives shades. The heights decide where
something stands out of the table; the shades decide where the heights cannot, or where there are none. When in doubt,
it is doubt that is said.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import camera
from simtoreal.episodes.arm_tracks import FloatArray
from simtoreal.episodes.grasp_views import PosedImage, pixels_of


class Verdict(StrEnum):
    """What two views of a place say about what is there."""

    STILL = "still"
    MOVED = "moved"
    DOUBT = "doubt"


class Comparison(NamedTuple):
    """How two views of a place compare."""

    verdict: Verdict
    shift_m: float  # by which they agree best; nan where nothing could be compared
    agreement: float  # correlation of shades, or metres between heights, as they lie
    by: str  # "height", "shade" or "nothing"


class TablePatch(NamedTuple):
    """A place seen from above; row is base y, column is base x. Cells that were not seen are nan."""

    heights_m: FloatArray  # (N, N), base z
    shades: FloatArray  # (N, N), grey, 0 to 255


@dataclass(frozen=True)
class PatchConfig:
    """Extent of a patch, and how much of a difference is a motion."""

    half_m: float = 0.07
    cell_m: float = 0.004
    core_m: float = 0.045  # half of what is compared; the rest is where it is looked for
    stands_out_m: float = 0.010  # above the table
    min_cells: int = 12
    still_m: float = 0.0061  # a best shift up to this is no motion: calibration and depth have errors
    moved_m: float = 0.0079
    max_difference_m: float = 0.009  # mean between heights of what did not move
    clip_m: float = 0.03  # larger differences count as this
    better_frac: float = 0.75  # a shift counts if it leaves less than this of the difference
    min_correlation: float = 0.65  # of shades of what did not move
    shift_gain: float = 0.08  # by which a shift must correlate better

    @property
    def num_cells(self) -> int:
        """Cells along an edge; odd, so that the grasp lies in the middle of one."""
        return 2 * round(self.half_m / self.cell_m) + 1


def table_patch(at: PosedImage, centre_m: FloatArray, config: PatchConfig) -> TablePatch:
    """The surroundings of a point (3,) in the base frame, as a picture shows them."""
    empty = np.full((config.num_cells, config.num_cells), np.nan)
    shades = empty if at.image.rgb is None else shades_of(_grid(centre_m, config), at)
    heights = empty if at.image.depth_m is None else _heights(at, centre_m, config)
    return TablePatch(heights, shades)


def merged(patches: list[TablePatch]) -> TablePatch:
    """The median of several views of a place that does not change meanwhile."""
    stacked = [np.stack(layer) for layer in zip(*patches, strict=True)]
    return TablePatch(*(_median(layer) for layer in stacked))


def compare(patch: TablePatch, reference: TablePatch, config: PatchConfig) -> Comparison:
    """Whether what a reference shows lies where it lay in another view."""
    by_height = _compare_heights(patch.heights_m, reference.heights_m, config)
    if by_height is not None and by_height.verdict is not Verdict.DOUBT:
        return by_height
    by_shade = _compare_shades(patch.shades, reference.shades, config)
    return by_shade or by_height or Comparison(Verdict.DOUBT, float("nan"), float("nan"), "nothing")


def shades_of(points_base: FloatArray, at: PosedImage) -> FloatArray:
    """Grey (N, M), 0 to 255, of points (N, M, 3) as a picture with colour shows them; nan outside of it."""
    assert at.image.rgb is not None
    pixels = pixels_of(points_base, at).astype(np.float32)
    grey = cv2.cvtColor(at.image.rgb, cv2.COLOR_RGB2GRAY)
    seen = cv2.remap(grey, np.nan_to_num(pixels[..., 0], nan=-9.0), np.nan_to_num(pixels[..., 1], nan=-9.0),
                     cv2.INTER_LINEAR, borderValue=0).astype(np.float64)  # fmt: skip
    width_px, height_px = at.size_px
    inside = (pixels >= 0).all(axis=-1) & (pixels[..., 0] < width_px) & (pixels[..., 1] < height_px)
    return np.where(inside, seen, np.nan)


# --- views from above


def _grid(centre_m: FloatArray, config: PatchConfig) -> FloatArray:
    offsets = config.cell_m * (np.arange(config.num_cells) - config.num_cells // 2)
    x, y = np.meshgrid(centre_m[0] + offsets, centre_m[1] + offsets)
    return np.stack([x, y, np.full_like(x, centre_m[2])], axis=-1)


def _heights(at: PosedImage, centre_m: FloatArray, config: PatchConfig) -> FloatArray:
    """The mean height of the points in each cell."""
    assert at.image.depth_m is not None
    points = _points_near(at, centre_m, config)
    size = config.num_cells
    cells = np.rint((points[:, :2] - centre_m[:2]) / config.cell_m).astype(int) + size // 2
    inside = ((cells >= 0) & (cells < size)).all(axis=1) & np.isfinite(points[:, 2])
    index = cells[inside, 1] * size + cells[inside, 0]
    total = np.bincount(index, points[inside, 2], minlength=size * size)
    count = np.bincount(index, minlength=size * size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count).reshape(size, size)


def _points_near(at: PosedImage, centre_m: FloatArray, config: PatchConfig) -> FloatArray:
    """Points (N, 3) of the depth image, of the part of it that may show the patch."""
    assert at.image.depth_m is not None
    half, (width_px, height_px) = config.half_m, at.size_px
    corners = [[x, y, z] for x in (-half, half) for y in (-half, half) for z in (-0.05, 0.1)]
    around = pixels_of(centre_m + np.array(corners), at)
    if not np.isfinite(around).all():
        around = np.array([[0.0, 0.0], [width_px, height_px]])
    left, top = (int(value) for value in np.clip(around.min(axis=0) - 2, 0, [width_px, height_px]))
    right, bottom = (int(value) for value in np.clip(around.max(axis=0) + 3, 0, [width_px, height_px]))
    depth_m = at.image.depth_m[top:bottom, left:right]
    v, u = np.nonzero(np.isfinite(depth_m))
    pixels = np.stack([u + left, v + top], axis=-1).astype(np.float64)
    if at.distortion is not None and pixels.size:
        pixels = camera.undistort_pixels(pixels, at.K, at.distortion)
    return camera.deproject(pixels, depth_m[v, u].astype(np.float64), at.K, at.T_base_cam)


def _median(layer: FloatArray) -> FloatArray:
    known = np.isfinite(layer).any(axis=0)
    result = np.full(layer.shape[1:], np.nan)
    result[known] = np.nanmedian(layer[:, known], axis=0)
    return result


# --- comparisons


def _compare_heights(heights: FloatArray, reference: FloatArray, config: PatchConfig) -> Comparison | None:
    """None where nothing stands out of the table, or too little of it was seen."""
    known = np.isfinite(reference)
    if known.sum() < config.min_cells:
        return None
    table_m = _table_m(reference)
    reach, core = config.num_cells // 2, round(config.core_m / config.cell_m)
    inner = slice(reach - core, reach + core + 1)
    middle = reference[inner, inner]
    stands_out = middle > table_m + config.stands_out_m
    seen = np.isfinite(heights[inner, inner])
    if stands_out.sum() < config.min_cells or (stands_out & seen).sum() < 0.5 * stands_out.sum():
        return None
    differences = _differences(heights, middle, table_m + config.stands_out_m, config)
    return _judge_heights(differences, config)


def _table_m(heights: FloatArray) -> float:
    """Height of the table; things do not cover more than most of a patch."""
    return float(np.percentile(heights[np.isfinite(heights)], 15))


def _differences(heights: FloatArray, middle: FloatArray, above_m: float, config: PatchConfig) -> FloatArray:
    """Mean difference in height for every shift of the cells in which either shows something that stands out.

    The bare table around would hide that a small thing has gone. Infinite where too little shows.
    """
    views = np.lib.stride_tricks.sliding_window_view(heights, middle.shape)
    apart = np.abs(views - middle)
    known = np.isfinite(apart) & ((views > above_m) | (middle > above_m))
    total = np.where(known, np.minimum(apart, config.clip_m), 0.0).sum(axis=(2, 3))
    count = known.sum(axis=(2, 3))
    enough = max(config.min_cells, 0.5 * float((middle > above_m).sum()))
    return np.where(count >= enough, total / np.maximum(count, 1), np.inf)


def _judge_heights(differences: FloatArray, config: PatchConfig) -> Comparison:
    middle = differences.shape[0] // 2
    as_it_lies = float(differences[middle, middle])
    best = np.unravel_index(int(np.argmin(differences)), differences.shape)
    shift_m = config.cell_m * float(np.hypot(best[0] - middle, best[1] - middle))
    least = float(differences[best])
    if shift_m > config.moved_m and least < config.better_frac * as_it_lies:
        verdict = Verdict.MOVED
    elif as_it_lies <= config.max_difference_m and (shift_m <= config.still_m or least > 0.9 * as_it_lies):
        verdict = Verdict.STILL
    else:
        verdict = Verdict.DOUBT
    return Comparison(verdict, shift_m, as_it_lies, "height")


def _compare_shades(shades: FloatArray, reference: FloatArray, config: PatchConfig) -> Comparison | None:
    reach, core = config.num_cells // 2, round(config.core_m / config.cell_m)
    inner = slice(reach - core, reach + core + 1)
    template = reference[inner, inner]
    if not np.isfinite(template).all() or not np.isfinite(shades[inner, inner]).all() or np.ptp(template) < 4:
        return None
    filled = np.where(np.isfinite(shades), shades, float(np.nanmean(shades))).astype(np.float32)
    scores = cv2.matchTemplate(filled, template.astype(np.float32), cv2.TM_CCOEFF_NORMED)
    return _judge_shades(np.nan_to_num(scores), config)


def _judge_shades(scores: NDArray[np.floating], config: PatchConfig) -> Comparison:
    middle = scores.shape[0] // 2
    as_it_lies = float(scores[middle, middle])
    best = np.unravel_index(int(np.argmax(scores)), scores.shape)
    shift_m = config.cell_m * float(np.hypot(best[0] - middle, best[1] - middle))
    highest = float(scores[best])
    gains = highest > as_it_lies + config.shift_gain
    if shift_m > config.moved_m and gains and highest > config.min_correlation:
        verdict = Verdict.MOVED
    elif as_it_lies >= config.min_correlation and (shift_m <= config.still_m or not gains):
        verdict = Verdict.STILL
    else:
        verdict = Verdict.DOUBT
    return Comparison(verdict, shift_m, as_it_lies, "shade")
