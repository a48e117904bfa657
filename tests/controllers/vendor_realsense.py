"""A fake of pyrealsense2 2.59.1 (checked by `scripts/check_vendor_apis.py`)."""

import threading
import time
import types
from typing import Any

import numpy as np
import pytest
from vendor_world import publish

PACKAGE = "pyrealsense2==2.59.1.11053"
CLASSES = {"pyrealsense2": ["config", "pipeline", "align", "pipeline_profile", "depth_sensor", "device"]}


class Camera:
    """What is plugged in."""

    def __init__(self) -> None:
        self.domain, self.coeffs, self.model = "hardware_clock", [0.0] * 5, "inverse_brown_conrady"
        self.offset_s = 5000.0  # of the device's clock
        self.is_unplugged, self.is_absent = threading.Event(), False
        self.scale = 0.00025
        self.running = 0


camera = Camera()


class config:  # noqa: N801 as published
    def __init__(self) -> None:
        self.serial, self.streams = None, {}

    def enable_device(self, serial: str) -> None:
        self.serial = serial

    def enable_stream(self, stream_type: str, width: int, height: int, format: str, framerate: int) -> None:
        self.streams[stream_type] = (width, height, format, framerate)


class depth_sensor:  # noqa: N801 as published
    def get_depth_scale(self) -> float:
        return camera.scale


class device:  # noqa: N801 as published
    def first_depth_sensor(self) -> depth_sensor:
        return depth_sensor()


class pipeline_profile:  # noqa: N801 as published
    def get_device(self) -> device:
        return device()

    def get_stream(self, stream_type: str, stream_index: int = -1) -> Any:
        lens = types.SimpleNamespace(
            fx=40.0, fy=41.0, ppx=15.5, ppy=11.5, width=32, height=24, model=camera.model, coeffs=camera.coeffs
        )
        return types.SimpleNamespace(as_video_stream_profile=lambda: types.SimpleNamespace(get_intrinsics=lambda: lens))


class pipeline:  # noqa: N801 as published
    def start(self, config: config) -> pipeline_profile:
        if camera.is_absent or config.serial == "none":
            raise RuntimeError("No device connected")
        self.streams = config.streams
        camera.running += 1
        return pipeline_profile()

    def try_wait_for_frames(self, timeout_ms: int = 5000) -> tuple[bool, Any]:
        if camera.is_unplugged.is_set():
            time.sleep(1e-3)
            return False, None
        time.sleep(5e-3)
        clock_s = time.monotonic() + camera.offset_s if camera.domain == "hardware_clock" else time.time()
        return True, Frames(1e3 * (clock_s - 0.004), self.streams)

    def stop(self) -> None:
        camera.running -= 1


class Frames:
    def __init__(self, stamp_ms: float, streams: dict[str, Any], is_aligned: bool = False) -> None:
        self.stamp_ms, self.streams, self.is_aligned = stamp_ms, streams, is_aligned

    def get_color_frame(self) -> Any:
        width, height, *_ = self.streams["color"]
        picture = np.full((height, width, 3), (1, 2, 3), dtype=np.uint8)
        return types.SimpleNamespace(
            get_timestamp=lambda: self.stamp_ms,
            get_frame_timestamp_domain=lambda: camera.domain,
            get_data=lambda: picture,
        )

    def get_depth_frame(self) -> Any:
        width, height, *_ = self.streams["depth"]
        steps = np.full((height, width), 2000 if self.is_aligned else 1, dtype=np.uint16)
        steps[0, 0] = 0
        return types.SimpleNamespace(get_data=lambda: steps)


class align:  # noqa: N801 as published
    def __init__(self, align_to: str) -> None:
        assert align_to == "color"

    def process(self, frames: Frames) -> Frames:
        return Frames(frames.stamp_ms, frames.streams, is_aligned=True)


def install(monkeypatch: pytest.MonkeyPatch) -> Camera:
    global camera
    camera = Camera()
    publish(
        monkeypatch, "pyrealsense2", config=config, pipeline=pipeline, align=align,
        stream=types.SimpleNamespace(color="color", depth="depth"),
        format=types.SimpleNamespace(rgb8="rgb8", z16="z16"),
        timestamp_domain=types.SimpleNamespace(
            hardware_clock="hardware_clock", system_time="system_time", global_time="global_time"
        ),
        distortion=types.SimpleNamespace(brown_conrady="brown_conrady"),
    )  # fmt: skip
    return camera
