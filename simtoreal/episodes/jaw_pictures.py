"""The place between the jaws in pictures taken while they close, and how far what they hold went meanwhile.

Jaws push and turn a thing until it lies between them, out of sight of all pictures taken before. So what lies between
them once they have stopped is followed back, picture by picture, to where it was before they began. The pictures are
laid on a grid in the plane of the grasp first, which takes the motion of the camera out, and makes cells of pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.episodes.arm_tracks import FloatArray
from simtoreal.episodes.grasp_views import PosedImage
from simtoreal.episodes.table_patches import shades_of


class JawPicture(NamedTuple):
    """The plane of a grasp as a picture shows it: columns go along the closing direction, the grasp in the middle."""

    shades: NDArray[np.uint8]  # (N, N), grey
    is_seen: NDArray[np.bool_]  # (N, N)


@dataclass(frozen=True)
class JawPictureConfig:
    """Which pictures are looked at, where, and how far is too far."""

    around_s: float = 0.1  # before and after the closing, from where pictures count as well
    half_m: float = 0.05  # of a picture
    cell_m: float = 0.001
    beside_m: float = 0.025  # across the closing direction from the middle, what is followed
    min_cells: int = 20  # that can be followed
    max_push_m: float = 0.007  # what counts as moved is 10 mm; the median of what is followed is out by up to 3 mm


def jaw_picture(at: PosedImage, T_base_grasp: FloatArray, config: JawPictureConfig) -> JawPicture:
    """The surroundings of a grasp in its own plane; the picture must have colour."""
    x, y = np.meshgrid(*2 * [_offsets(config)])
    seen = shades_of(frames.apply(T_base_grasp, np.stack([x, y, np.zeros_like(x)], axis=-1)), at)
    return JawPicture(np.nan_to_num(seen).astype(np.uint8), np.isfinite(seen))


def pushed_m(pictures: Sequence[JawPicture], width_m: float, config: JawPictureConfig) -> float | None:
    """How far what lies between the jaws in the last picture went since the first one; None where that is not seen.

    It is the median over all that is seen between the jaws, so a thing that turns about them hardly counts.
    """
    if len(pictures) < 2:
        return None
    offsets = np.abs(_offsets(config))
    between = (offsets[:, None] <= config.beside_m) & (offsets[None, :] <= 0.5 * width_m) & pictures[-1].is_seen
    if between.sum() < config.min_cells:
        return None
    return config.cell_m * float(np.median(np.linalg.norm(_followed_back(pictures), axis=-1)[between]))


def _offsets(config: JawPictureConfig) -> FloatArray:
    reach = round(config.half_m / config.cell_m)
    return config.cell_m * np.arange(-reach, reach + 1, dtype=np.float64)


def _followed_back(pictures: Sequence[JawPicture]) -> FloatArray:
    """For each cell of the last picture (N, N, 2) by how many cells it lay elsewhere in the first one."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(0)  # the pictures are small
    rows, columns = pictures[-1].shades.shape
    home = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float32)
    place = home.copy()
    for index in range(len(pictures) - 1, 0, -1):
        step = np.asarray(flow.calc(pictures[index].shades, pictures[index - 1].shades, None))  # type: ignore[call-overload]
        place += cv2.remap(step, place[..., 0], place[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return (place - home).astype(np.float64)
