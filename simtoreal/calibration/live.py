"""Pictures from a camera that is running: views that are still, and new, are kept, and the next one is asked for."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, Self

import cv2
import numpy as np

from simtoreal.calibration.detection import BoardDetector, BoardView, Image
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.pictures import Shot

_STILL_PX = 1.5  # corners that move less between two pictures stand still
_NEW_FRAC = 0.06  # of the image width that corners must have moved since every kept view
_NUM_WARM_UP = 5  # pictures in which exposure settles
_GIVE_UP_S = 10.0
_GUIDE = (
    "flat, in the middle", "tilted, left edge near", "tilted, right edge near", "tilted, top edge near",
    "tilted, bottom edge near", "in the top left corner", "in the top right corner", "in the bottom left corner",
    "in the bottom right corner", "near, filling the image", "far away",
)  # fmt: skip


class PictureSource(Protocol):
    """Anything that takes pictures: (H, W, 3) uint8, red first."""

    def read(self) -> Image: ...


class UvcCamera:
    """A camera that OpenCV opens by its number. Use as a context manager.

    Raises:
        CalibrationError: there is no such camera, or another program holds it.
    """

    def __init__(self, index: int, open_device: Callable[[int], "cv2.VideoCapture"] = cv2.VideoCapture) -> None:
        self.index = index
        self._device = open_device(index)
        if not self._device.isOpened():
            raise CalibrationError(f"source=uvc:{index}: no camera answers; is it plugged in, and free?")
        for _ in range(_NUM_WARM_UP):
            self._device.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._device.release()

    def read(self) -> Image:
        deadline = time.monotonic() + _GIVE_UP_S
        while time.monotonic() < deadline:
            done, bgr = self._device.read()
            if done:
                return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        raise CalibrationError(f"source=uvc:{self.index}: the camera delivers no pictures any more")


def camera_shots(camera: PictureSource) -> Iterator[Shot]:
    """Pictures without poses, for intrinsics."""
    number = 0
    while True:
        yield Shot(f"picture {number}", camera.read(), None)
        number += 1


def still_and_new(
    shots: Iterable[Shot], detector: BoardDetector, num: int, say: Callable[[str], None]
) -> Iterator[tuple[Shot, BoardView]]:
    """The first `num` pictures in which the board stands still where no kept picture had it.

    Args:
        shots: pictures as they come, without end.
        detector: of the board.
        num: pictures wanted.
        say: told what to do next.
    """
    kept: list[BoardView] = []
    before: BoardView | None = None
    say(f"show the board {_GUIDE[0]} and hold it still")
    for shot in shots:
        view = detector.find(shot.rgb, shot.name)
        is_still = view is not None and before is not None and _apart_px(view, before) < _STILL_PX
        before = view
        if view is None or not is_still or not is_new(view, kept, shot.rgb.shape[1]):
            continue
        kept.append(view)
        yield shot, view
        if len(kept) >= num:
            return
        say(f"{len(kept)} of {num}: now {_GUIDE[len(kept) % len(_GUIDE)]}, and hold it still")


def is_new(view: BoardView, kept: Sequence[BoardView], width_px: int) -> bool:
    """Whether the board is somewhere else than in every kept view."""
    return all(_apart_px(view, other) > _NEW_FRAC * width_px for other in kept)


def _apart_px(view: BoardView, other: BoardView) -> float:
    """How far the corners that both show are apart, on average; infinite where they share none."""
    _, here, there = np.intersect1d(view.ids, other.ids, return_indices=True)
    if not len(here):
        return float("inf")
    return float(np.linalg.norm(view.corners_px[here] - other.corners_px[there], axis=1).mean())
