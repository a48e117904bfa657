"""USB cameras (UVC) through OpenCV. They tell no capture time: it is that of arrival, less a latency."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from simtoreal.contracts import Picture
from simtoreal.controllers.cameras.latest import LatestPicture
from simtoreal.controllers.link_errors import LinkError
from simtoreal.schema import option


@dataclass(frozen=True)
class UvcSettings:
    """Which camera it is, and how it is set."""

    device: str = option(
        "0", "number, or a path such as /dev/v4l/by-id/..., which stays the same when others come and go"
    )
    width_px: int = option(640, "of its pictures", unit="px", minimum=16, maximum=8192)
    height_px: int = option(480, "of its pictures", unit="px", minimum=16, maximum=8192)
    rate_hz: float = option(30.0, "of its pictures", unit="Hz", minimum=1.0, maximum=1000.0)
    fourcc: str = option("MJPG", "four letters of its format; empty leaves it alone")
    latency_s: float = option(
        0.0, "from exposure to arrival, where it was measured", unit="s", minimum=0.0, maximum=1.0
    )


class UvcCamera:
    """A `Camera` that OpenCV opens.

    Args:
        name: for messages.
        settings: of the camera.
        now: the monotonic clock.
        open_device: OpenCV's capture, or one like it.
    """

    def __init__(
        self,
        name: str,
        settings: UvcSettings,
        now: Callable[[], float] = time.monotonic,
        open_device: Callable[..., Any] = cv2.VideoCapture,
    ) -> None:
        self._name, self._settings, self._now, self._open = name, settings, now, open_device
        self._capture: Any = None
        self._latest: LatestPicture | None = None

    def connect(self) -> None:
        given = self._settings
        capture = self._open(int(given.device) if given.device.isdigit() else given.device)
        if not capture.isOpened():
            capture.release()
            raise LinkError(f"camera {self._name}: device={given.device} does not open: is it plugged in, and free?")
        if len(given.fourcc) == 4:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*given.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, given.width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, given.height_px)
        capture.set(cv2.CAP_PROP_FPS, given.rate_hz)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # of old pictures nobody has use
        self._capture = capture
        self._latest = LatestPicture(self._name, self._take, self._now)
        self._latest.start()

    def read_latest(self, max_age_s: float) -> Picture:
        if self._latest is None:
            raise LinkError(f"camera {self._name} is not connected")
        return self._latest.read(max_age_s)

    def disconnect(self) -> None:
        latest, capture, self._latest, self._capture = self._latest, self._capture, None, None
        if latest is not None:
            latest.end()
        if capture is not None:
            capture.release()

    def _take(self) -> Picture:
        done, bgr = self._capture.read()
        if not done:
            raise LinkError("it delivers no pictures any more: is its cable loose?")
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return Picture(self._now() - self._settings.latency_s, rgb, None)
