"""The place between the jaws before and after they close, and how much of it only a motion explains.

Jaws push and turn a thing until it lies between them, out of sight of all pictures taken before. The hand stands still
meanwhile, so what it sees beyond its fingers stays as it is unless something moved. The pictures are laid on a grid in
the plane of the grasp, which takes out what motion of the camera there is, and makes cells of pixels. A cell that
looks like nothing within a small shift in the other picture counts as changed.

To follow what lies there (optical flow, matched patches, points) says less: things have little texture, turn about the
jaws, and flow follows the fingers.
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
    """The plane of a grasp as a picture shows it, the grasp in the middle.

    Columns go along the closing direction, rows to the side of the camera: on the other side hand and fingers, which
    reach up from the plane, hide what lies behind them.
    """

    shades: NDArray[np.uint8]  # (N, N), grey
    is_seen: NDArray[np.bool_]  # (N, N)


@dataclass(frozen=True)
class JawPictureConfig:
    """Which pictures are looked at, where, and how much of a change is too much."""

    around_s: float = 0.1  # before and after the closing, from where pictures count as well
    half_m: float = 0.05  # of a picture
    cell_m: float = 0.001
    fingers_m: float = 0.017  # from the middle to the side of the camera, as far as fingers are in sight
    pads_m: float = 0.003  # fingers begin this much before the measured width
    hand_m: float = 0.020  # from the middle to the other side, from where the hand is in sight
    shift_m: float = 0.006  # a change that this much of a shift explains is none
    shade: int = 15  # of 255; what differs by less looks alike
    min_seen_m2: float = 1e-4
    max_changed_m2: float = 1.5e-4


def jaw_picture(at: PosedImage, T_base_grasp: FloatArray, config: JawPictureConfig) -> JawPicture:
    """The surroundings of a grasp in its own plane; the picture must have colour."""
    camera_y_m = float((frames.invert(T_base_grasp) @ at.T_base_cam)[1, 3])
    offsets = _offsets(config)
    x, y = np.meshgrid(offsets, -offsets if camera_y_m < 0.0 else offsets)
    seen = shades_of(frames.apply(T_base_grasp, np.stack([x, y, np.zeros_like(x)], axis=-1)), at)
    return JawPicture(np.nan_to_num(seen).astype(np.uint8), np.isfinite(seen))


def changed_m2(pictures: Sequence[JawPicture], width_m: float, config: JawPictureConfig) -> float | None:
    """How much of the place, fingers and hand left out, changed from the first picture to the last.

    None where too little of it is seen in both. A light that changes in all of the picture is taken out.
    """
    if len(pictures) < 2:
        return None
    first, last = pictures[0], pictures[-1]
    across, along = _offsets(config)[:, None], np.abs(_offsets(config))[None, :]
    fingers = (across < config.fingers_m) & (along > 0.5 * width_m - config.pads_m)
    seen = first.is_seen & last.is_seen & ~fingers & (across > -config.hand_m)
    if seen.sum() * config.cell_m**2 < config.min_seen_m2:
        return None
    before, after = (np.asarray(cv2.GaussianBlur(one.shades, (3, 3), 0), dtype=np.float32) for one in (first, last))
    after -= np.median((after - before)[seen])
    changed = (_unlike(after, before, config) | _unlike(before, after, config)) & seen
    return float(changed.sum()) * config.cell_m**2


def _unlike(shades: NDArray[np.float32], others: NDArray[np.float32], config: JawPictureConfig) -> NDArray[np.bool_]:
    """Cells that are darker or brighter than all that lies within a shift of them in another picture."""
    size = 2 * round(config.shift_m / config.cell_m) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    darkest, brightest = cv2.erode(others, disc), cv2.dilate(others, disc)
    return np.asarray((shades > brightest + config.shade) | (shades < darkest - config.shade))


def _offsets(config: JawPictureConfig) -> FloatArray:
    reach = round(config.half_m / config.cell_m)
    return config.cell_m * np.arange(-reach, reach + 1, dtype=np.float64)
