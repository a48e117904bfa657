"""RealSense cameras through `pyrealsense2`: colour, depth aligned to it, the lens and the capture time of the device.

Written against pyrealsense2 2.59.1.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Picture
from simtoreal.controllers.cameras.depth import metres
from simtoreal.controllers.cameras.latest import LatestPicture
from simtoreal.controllers.device_clock import DeviceClock
from simtoreal.controllers.link_errors import LinkError
from simtoreal.extras import load
from simtoreal.schema import option

FloatArray = NDArray[np.float64]
_WAIT_MS = 200
_SECONDS = 1e-3  # stamps are milliseconds


@dataclass(frozen=True)
class RealsenseSettings:
    """Which camera it is, and how it is set."""

    serial: str | None = option(None, "number on the device; null takes the only one there is")
    width_px: int = option(640, "of its pictures", unit="px", minimum=16, maximum=4096)
    height_px: int = option(480, "of its pictures", unit="px", minimum=16, maximum=4096)
    rate_hz: int = option(30, "of its pictures", unit="Hz", minimum=1, maximum=300)
    with_depth: bool = option(True, "take depth too")


class RealsenseCamera:
    """A `Camera`.

    Args:
        name: for messages.
        settings: of the camera.
        now: the monotonic clock.
        wall: the clock that stamps in global or system time are on.
    """

    def __init__(
        self,
        name: str,
        settings: RealsenseSettings,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._settings, self._now, self._wall = name, settings, now, wall
        self._rs: Any = None
        self._pipeline: Any = None
        self._latest: LatestPicture | None = None

    def connect(self) -> None:
        rs = self._rs = load("pyrealsense2", "driver: realsense", "realsense")
        given, config, pipeline = self._settings, rs.config(), rs.pipeline()
        if given.serial is not None:
            config.enable_device(given.serial)
        size = given.width_px, given.height_px
        config.enable_stream(rs.stream.color, *size, rs.format.rgb8, given.rate_hz)
        if given.with_depth:
            config.enable_stream(rs.stream.depth, *size, rs.format.z16, given.rate_hz)
        try:
            profile = pipeline.start(config)
            self._depth_unit_m = (
                profile.get_device().first_depth_sensor().get_depth_scale() if given.with_depth else 0.0
            )
        except RuntimeError as error:
            which = f" with serial={given.serial}" if given.serial else ""
            raise LinkError(f"camera {self._name}: no RealSense{which} starts in this mode: {error}") from error
        self._pipeline, self._align = pipeline, rs.align(rs.stream.color)
        self._lens = _lens(rs, profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics())
        self._clock = DeviceClock(f"camera {self._name}")
        self._latest = LatestPicture(self._name, self._take, self._now)
        try:
            self._latest.start()
        except LinkError:
            self.disconnect()
            raise

    def read_latest(self, max_age_s: float) -> Picture:
        if self._latest is None:
            raise LinkError(f"camera {self._name} is not connected")
        return self._latest.read(max_age_s)

    def disconnect(self) -> None:
        latest, pipeline, self._latest, self._pipeline = self._latest, self._pipeline, None, None
        if latest is not None:
            latest.end()
        if pipeline is not None:
            with suppress(RuntimeError):
                pipeline.stop()

    def _take(self) -> Picture | None:
        came, frames = self._pipeline.try_wait_for_frames(_WAIT_MS)
        if not came:
            return None
        t_s = self._captured_s(frames.get_color_frame())
        depth_m = None
        if self._settings.with_depth:
            frames = self._align.process(frames)
            depth_m = metres(np.asanyarray(frames.get_depth_frame().get_data()), self._depth_unit_m)
        # A copy: the device reuses the memory of a frame that has been let go of.
        rgb = np.array(np.asanyarray(frames.get_color_frame().get_data()), dtype=np.uint8)
        return Picture(t_s, rgb, depth_m, *self._lens)

    def _captured_s(self, frame: Any) -> float:
        """Stamps of the device's own clock are mapped by the quickest frames; others are of this wall clock."""
        stamp_s, now_s = _SECONDS * float(frame.get_timestamp()), self._now()
        if frame.get_frame_timestamp_domain() == self._rs.timestamp_domain.hardware_clock:
            return self._clock.monotonic(stamp_s, now_s)
        return now_s - max(self._wall() - stamp_s, 0.0)


def _lens(rs: Any, lens: Any) -> tuple[FloatArray | None, FloatArray | None]:
    """K (3, 3) and distortion (5,) as OpenCV has them; None where the device's model is another one."""
    K = np.array([[lens.fx, 0.0, lens.ppx], [0.0, lens.fy, lens.ppy], [0.0, 0.0, 1.0]])
    coefficients = np.array(lens.coeffs, dtype=np.float64)
    if not coefficients.any():
        return K, None
    return (K, coefficients) if lens.model == rs.distortion.brown_conrady else (None, None)
