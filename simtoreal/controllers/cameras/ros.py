"""A camera behind ROS 2: Image and CameraInfo, and a depth image that is aligned with the colour."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Picture
from simtoreal.controllers.arms.ros_link import RosLink, ros
from simtoreal.controllers.cameras.depth import metres
from simtoreal.controllers.link_errors import LinkError
from simtoreal.controllers.mounted_camera import stale
from simtoreal.schema import option

_CHANNELS = {"rgb8": (3, (0, 1, 2)), "bgr8": (3, (2, 1, 0)), "rgba8": (4, (0, 1, 2)), "bgra8": (4, (2, 1, 0))}
_MILLIMETRE_M = 0.001
_SYNC_S = 0.04  # depth that is farther from the colour in time is another picture's
_NUM_DISTORTION = 5


@dataclass(frozen=True)
class RosCameraSettings:
    """Names of topics."""

    image: str = option("/camera/color/image_raw", "topic of the colour")
    info: str = option("/camera/color/camera_info", "topic of the lens; empty takes it from camera.yaml")
    depth: str = option("", "topic of depth that is aligned with the colour (16UC1 or 32FC1); empty is none")
    timeout_s: float = option(5.0, "for the first picture", unit="s", minimum=0.1, maximum=60.0)


class RosCamera:
    """A `Camera`."""

    def __init__(
        self, name: str, settings: RosCameraSettings, link: RosLink, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._settings, self._link, self._now = name, settings, link, now
        self._is_open = False
        self._lens: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None)
        self._colour: tuple[float, NDArray[np.uint8]] | None = None
        self._depth: tuple[float, NDArray[np.float32]] | None = None
        self._picture: Picture | None = None
        self._problem = ""

    def connect(self) -> None:
        given, messages = self._settings, ros("sensor_msgs.msg")
        node, sensor = self._link.open(), ros("rclpy.qos").qos_profile_sensor_data
        self._is_open = True
        if given.info:
            node.create_subscription(messages.CameraInfo, given.info, self._on_info, sensor)
        if given.depth:
            node.create_subscription(messages.Image, given.depth, self._on_depth, sensor)
        node.create_subscription(messages.Image, given.image, self._on_colour, sensor)
        ready = lambda: bool(self._problem or (self._picture and (self._lens[0] is not None or not given.info)))  # noqa: E731
        try:
            self._link.wait_for(ready, f"camera {self._name}: {given.image}", given.timeout_s)
        except LinkError:
            self.disconnect()
            raise

    def read_latest(self, max_age_s: float) -> Picture:
        picture, problem = self._picture, self._problem
        if problem or picture is None:
            raise LinkError(f"camera {self._name}: {problem or 'there is no picture yet'}")
        age_s = self._now() - picture.t_s
        if age_s > max_age_s:
            raise stale(self._name, age_s, max_age_s)
        return picture

    def disconnect(self) -> None:
        if self._is_open:
            self._is_open = False
            self._link.close()
        self._picture = self._colour = self._depth = None
        self._problem = ""

    def _on_info(self, message: Any) -> None:
        K, distortion = np.array(message.k, dtype=np.float64).reshape(3, 3), np.array(message.d, dtype=np.float64)
        if message.distortion_model not in ("plumb_bob", "") or len(distortion) > _NUM_DISTORTION:
            if distortion.any():
                self._problem = (
                    f"{self._settings.info} has the distortion model {message.distortion_model!r}, this package has "
                    "plumb_bob: leave info empty and calibrate the camera"
                )
                return
            distortion = np.zeros(_NUM_DISTORTION)
        padded = np.pad(distortion, (0, _NUM_DISTORTION - len(distortion)))
        self._lens = K, padded if padded.any() else None

    def _on_colour(self, message: Any) -> None:
        try:
            self._colour = self._link.received_s(message.header.stamp), colour(message)
        except LinkError as error:
            self._problem = str(error)
            return
        self._join()

    def _on_depth(self, message: Any) -> None:
        try:
            self._depth = self._link.received_s(message.header.stamp), depth(message)
        except LinkError as error:
            self._problem = str(error)
            return
        self._join()

    def _join(self) -> None:
        if self._colour is None:
            return
        t_s, rgb = self._colour
        if not self._settings.depth:
            self._picture = Picture(t_s, rgb, None, *self._lens)
        elif self._depth is not None and abs(self._depth[0] - t_s) < _SYNC_S:
            self._picture = Picture(t_s, rgb, self._depth[1], *self._lens)


def colour(message: Any) -> NDArray[np.uint8]:
    """Colour (H, W, 3) of an Image.

    Raises:
        LinkError: its encoding is another one, or its data are too short.
    """
    if message.encoding not in _CHANNELS:
        raise LinkError(f"an image is encoded as {message.encoding!r}, known are {', '.join(_CHANNELS)}")
    num, order = _CHANNELS[message.encoding]
    rows = _rows(message, num)
    pixels = rows[:, : message.width * num].reshape(message.height, message.width, num)
    return np.ascontiguousarray(pixels[..., order])


def depth(message: Any) -> NDArray[np.float32]:
    """Depth (H, W) of an Image, metres, nan is no return (REP 118).

    Raises:
        LinkError: its encoding is another one, or its data are too short.
    """
    sizes = {"16UC1": 2, "32FC1": 4}
    if message.encoding not in sizes:
        raise LinkError(f"a depth image is encoded as {message.encoding!r}, known are {', '.join(sizes)}")
    size, order = sizes[message.encoding], ">" if message.is_bigendian else "<"
    data = np.ascontiguousarray(_rows(message, size)[:, : message.width * size])
    if message.encoding == "16UC1":
        return metres(data.view(f"{order}u2").astype(np.uint16), _MILLIMETRE_M)
    depth_m = data.view(f"{order}f4").astype(np.float32)
    return np.where(np.isfinite(depth_m) & (depth_m > 0.0), depth_m, np.float32(np.nan))


def _rows(message: Any, bytes_per_px: int) -> NDArray[np.uint8]:
    data = np.frombuffer(bytes(message.data), dtype=np.uint8)
    if message.step < message.width * bytes_per_px or len(data) < message.height * message.step:
        raise LinkError(
            f"an image of {message.height} x {message.width} px as {message.encoding} holds {len(data)} bytes in rows "
            f"of {message.step}: it is cut off"
        )
    return data[: message.height * message.step].reshape(message.height, message.step)
