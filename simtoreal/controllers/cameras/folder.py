"""A folder of images as a camera: the next one at each beat, so that a rig can be tried without a camera.

Colour is any picture that OpenCV reads; depth beside it is a 16-bit PNG of the same name with `.depth` before its
ending, in units of `depth_unit_m`, 0 is no return.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Picture
from simtoreal.controllers.cameras.depth import metres
from simtoreal.controllers.link_errors import LinkError
from simtoreal.controllers.mounted_camera import stale
from simtoreal.schema import option, required

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_DEPTH = ".depth"


@dataclass(frozen=True)
class FolderSettings:
    """Which folder it is, and how fast it goes through it."""

    folder: Path = required("of images, taken in the order of their names")
    rate_hz: float = option(30.0, "of the pictures", unit="Hz", minimum=0.01, maximum=1000.0)
    repeat: bool = option(True, "begin again after the last; false goes stale")
    depth_unit_m: float = option(0.001, "of the depth images", unit="m", minimum=1e-6, maximum=1.0)


class FolderCamera:
    """A `Camera` over files.

    Args:
        name: for messages.
        settings: of the folder.
        now: the monotonic clock.
    """

    def __init__(self, name: str, settings: FolderSettings, now: Callable[[], float] = time.monotonic) -> None:
        self._name, self._settings, self._now = name, settings, now
        self._pictures: list[Path] = []
        self._start_s: float | None = None
        self._shown: tuple[int, Picture] | None = None

    def connect(self) -> None:
        folder = self._settings.folder
        if not folder.is_dir():
            raise LinkError(f"camera {self._name}: folder={folder} is none")
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
        self._pictures = [path for path in found if not path.stem.endswith(_DEPTH)]
        if not self._pictures:
            raise LinkError(f"camera {self._name}: folder={folder} holds no images ({', '.join(_ENDINGS)})")
        self._start_s = self._now()

    def read_latest(self, max_age_s: float) -> Picture:
        if self._start_s is None:
            raise LinkError(f"camera {self._name} is not connected")
        beat = int((self._now() - self._start_s) * self._settings.rate_hz)
        if not self._settings.repeat:
            beat = min(beat, len(self._pictures) - 1)
        if self._shown is None or self._shown[0] != beat:
            path = self._pictures[beat % len(self._pictures)]
            t_s = self._start_s + beat / self._settings.rate_hz
            self._shown = beat, Picture(t_s, self._colour(path), self._depth_m(path))
        picture = self._shown[1]
        age_s = self._now() - picture.t_s
        if age_s > max_age_s:
            raise stale(self._name, age_s, max_age_s)
        return picture

    def disconnect(self) -> None:
        self._start_s = self._shown = None

    def _colour(self, path: Path) -> NDArray[np.uint8]:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise LinkError(f"camera {self._name}: {path} is no image")
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def _depth_m(self, path: Path) -> NDArray[np.float32] | None:
        beside = path.with_name(f"{path.stem}{_DEPTH}.png")
        if not beside.exists():
            return None
        steps = cv2.imread(str(beside), cv2.IMREAD_UNCHANGED)
        if steps is None or steps.dtype != np.uint16 or steps.ndim != 2:
            raise LinkError(f"camera {self._name}: {beside} must be a 16-bit PNG with one channel")
        return metres(steps.astype(np.uint16), self._settings.depth_unit_m)
