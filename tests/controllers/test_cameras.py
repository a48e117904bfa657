"""Cameras: USB, RealSense, and a folder."""

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import vendor_realsense

from simtoreal.contracts import Camera
from simtoreal.controllers.cameras.folder import FolderCamera, FolderSettings
from simtoreal.controllers.cameras.realsense import RealsenseCamera, RealsenseSettings
from simtoreal.controllers.cameras.uvc import UvcCamera, UvcSettings
from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.device_clock import DeviceClock
from simtoreal.controllers.link_errors import LinkError, StalePicture

REALSENSE = RealsenseSettings(width_px=32, height_px=24)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> vendor_realsense.Camera:
    return vendor_realsense.install(monkeypatch)


@pytest.fixture
def realsense(plugged: vendor_realsense.Camera) -> Iterator[RealsenseCamera]:
    camera = RealsenseCamera("wrist", REALSENSE)
    yield camera
    camera.disconnect()
    camera.disconnect()
    assert plugged.running == 0


@pytest.mark.parametrize("domain", ["hardware_clock", "global_time", "system_time"])
def test_a_realsense_gives_metres_its_lens_and_when_it_exposed(
    plugged: vendor_realsense.Camera, realsense: RealsenseCamera, domain: str
):
    plugged.domain = domain
    assert isinstance(realsense, Camera)
    realsense.connect()
    seen = realsense.read_latest(max_age_s=1.0)
    np.testing.assert_array_equal(seen.rgb[0, 0], (1, 2, 3))
    assert seen.depth_m.dtype == np.float32
    assert seen.depth_m[1, 1] == pytest.approx(0.5)  # 2000 steps of a quarter of a millimetre, aligned
    assert np.isnan(seen.depth_m[0, 0])
    np.testing.assert_allclose(seen.K, [[40, 0, 15.5], [0, 41, 11.5], [0, 0, 1]])
    assert seen.distortion is None
    assert 0.0 <= time.monotonic() - seen.t_s < 1.0


def test_a_lens_that_opencv_does_not_have_is_left_to_calibration(
    plugged: vendor_realsense.Camera, realsense: RealsenseCamera
):
    plugged.coeffs = [0.1, 0.0, 0.0, 0.0, 0.0]
    realsense.connect()
    assert realsense.read_latest(1.0).K is None
    realsense.disconnect()
    plugged.model = "brown_conrady"
    realsense.connect()
    assert realsense.read_latest(1.0).distortion[0] == 0.1


def test_a_realsense_that_stands_still_is_refused(plugged: vendor_realsense.Camera, realsense: RealsenseCamera):
    realsense.connect()
    plugged.is_unplugged.set()
    time.sleep(0.1)
    with pytest.raises(StalePicture, match=r"allowed is 0\.05 s"):
        realsense.read_latest(max_age_s=0.05)


def test_a_realsense_that_is_not_there_is_said_so(plugged: vendor_realsense.Camera):
    plugged.is_absent = True
    with pytest.raises(LinkError, match=r"no RealSense with serial=42 starts .*No device connected"):
        RealsenseCamera("wrist", RealsenseSettings(serial="42")).connect()


class Capture:
    """OpenCV's capture of a camera that is pulled out after some pictures."""

    def __init__(self, device: int | str, num: int = 10_000) -> None:
        self.device, self.left, self.settings, self.is_released = device, num, {}, False

    def isOpened(self) -> bool:  # noqa: N802
        return self.device != 9

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(2e-3)
        self.left -= 1
        return (True, np.full((24, 32, 3), (255, 0, 0), dtype=np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.is_released = True


def test_usb_pictures_are_red_first_and_as_old_as_their_latency():
    opened: list[Capture] = []

    def capture(device: int | str) -> Capture:
        opened.append(Capture(device))
        return opened[-1]

    camera = UvcCamera("c", UvcSettings(device="2", latency_s=0.03), open_device=capture)
    camera.connect()
    seen = camera.read_latest(1.0)
    camera.disconnect()
    camera.disconnect()
    np.testing.assert_array_equal(seen.rgb[0, 0], (0, 0, 255))
    assert time.monotonic() - seen.t_s >= 0.03
    assert opened[0].device == 2
    assert opened[0].settings[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert opened[0].is_released


def test_a_usb_camera_that_is_pulled_out_or_absent_is_said_so():
    camera = UvcCamera("c", UvcSettings(), open_device=lambda device: Capture(device, 2))
    camera.connect()
    time.sleep(0.05)
    with pytest.raises(LinkError, match="its cable loose"):
        camera.read_latest(1.0)
    camera.disconnect()
    with pytest.raises(LinkError, match="device=9 does not open"):
        UvcCamera("c", UvcSettings(device="9"), open_device=Capture).connect()


def test_a_folder_is_a_camera_with_a_beat(tmp_path: Path):
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((6, 8, 3), (0, 0, 100 + number), dtype=np.uint8))
    cv2.imwrite(str(tmp_path / "0.depth.png"), np.full((6, 8), 500, dtype=np.uint16))
    clock = VirtualClock()
    camera = FolderCamera("c", FolderSettings(tmp_path, rate_hz=10.0, repeat=False), clock.now)
    camera.connect()
    first = camera.read_latest(0.15)
    assert first.rgb[0, 0].tolist() == [100, 0, 0]
    assert first.depth_m[0, 0] == pytest.approx(0.5)
    clock.sleep(0.11)
    second = camera.read_latest(0.15)
    assert second.rgb[0, 0, 0] == 101
    assert second.depth_m is None
    assert second.t_s - first.t_s == pytest.approx(0.1)
    clock.sleep(0.3)
    with pytest.raises(StalePicture):
        camera.read_latest(0.15)
    camera.disconnect()
    with pytest.raises(LinkError, match="not connected"):
        camera.read_latest(0.15)


def test_a_folder_without_images_is_refused(tmp_path: Path):
    with pytest.raises(LinkError, match="holds no images"):
        FolderCamera("c", FolderSettings(tmp_path)).connect()
    with pytest.raises(LinkError, match="is none"):
        FolderCamera("c", FolderSettings(tmp_path / "none")).connect()


def test_stamps_of_a_device_are_mapped_by_its_quickest_messages():
    clock, rng = DeviceClock("camera"), np.random.default_rng(0)
    errors_s = []
    for number in range(1000):
        stamp_s = number / 30.0 * (1.0 - 2e-5)  # its quartz is slow by 20 ppm
        sent_s = 40.0 + number / 30.0
        errors_s.append(clock.monotonic(stamp_s, sent_s + 0.005 + rng.exponential(0.004)) - sent_s)
    assert np.abs(np.array(errors_s[100:]) - 0.005).max() < 2e-3
    with pytest.raises(LinkError, match="run back"):
        clock.monotonic(1.0, 100.0)
