"""What messages hold: every encoding gives the same picture, and depth is in metres."""

import struct
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from simtoreal.episodes.importing.ros_values import depth_of, image_size, joints_of, rgb_of
from simtoreal.episodes.importing.source import SourceError

RGB = np.zeros((8, 12, 3), np.uint8)
RGB[:, :, 0], RGB[:4, :, 1], RGB[:, :6, 2] = 200, 90, 40
DEPTH_MM = np.arange(96, dtype=np.uint16).reshape(8, 12) * 10


def image(encoding: str, pixels: np.ndarray[Any, Any], padding: int = 0, big: int = 0) -> SimpleNamespace:
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    return SimpleNamespace(
        encoding=encoding, width=12, height=8, step=rows.shape[1], is_bigendian=big, data=rows.ravel()
    )


def compressed(kind: str, data: bytes) -> SimpleNamespace:
    return SimpleNamespace(format=kind, data=np.frombuffer(data, np.uint8))


def encode(kind: str, pixels: np.ndarray[Any, Any]) -> bytes:
    return bytes(cv2.imencode(kind, pixels)[1].tobytes())


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, np.full((8, 12), 255, np.uint8)])),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((8, 12), 255, np.uint8)])),
    ],
)
def test_colour_is_rgb_however_it_is_laid_out(encoding: str, pixels: np.ndarray[Any, Any], padding: int) -> None:
    np.testing.assert_array_equal(rgb_of(image(encoding, pixels, padding)), RGB)


def test_grey_becomes_three_channels() -> None:
    np.testing.assert_array_equal(rgb_of(image("mono8", RGB[..., 0])), np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("encoding", "red", "blue"),
    [
        ("bayer_rggb8", (0, 0), (1, 1)),
        ("bayer_bggr8", (1, 1), (0, 0)),
        ("bayer_gbrg8", (1, 0), (0, 1)),
        ("bayer_grbg8", (0, 1), (1, 0)),
    ],
)
def test_mosaics_put_red_where_it_was(encoding: str, red: tuple[int, int], blue: tuple[int, int]) -> None:
    mosaic = np.full((8, 12), 100, np.uint8)  # green
    mosaic[red[0] :: 2, red[1] :: 2] = 220
    mosaic[blue[0] :: 2, blue[1] :: 2] = 30
    np.testing.assert_array_equal(rgb_of(image(encoding, mosaic))[4, 6], [220, 100, 30])


def test_yuv_keeps_its_colours() -> None:
    yuv = cv2.cvtColor(np.full((8, 12, 3), (200, 60, 30), np.uint8), cv2.COLOR_RGB2YUV)
    pairs = np.stack([yuv[..., 0], np.where(np.arange(12) % 2 == 0, yuv[..., 1], yuv[..., 2])], axis=2)
    for encoding, packed in (("yuv422_yuy2", pairs), ("yuv422", pairs[..., ::-1])):
        found = rgb_of(image(encoding, packed))
        assert np.abs(found[3, 3].astype(int) - [200, 60, 30]).max() <= 40  # studio and full range differ


def test_compressed_pictures_are_rgb_too() -> None:
    message = compressed("rgb8; png compressed bgr8", encode(".png", RGB[..., ::-1]))
    np.testing.assert_array_equal(rgb_of(message), RGB)
    assert image_size(message) == (12, 8)


@pytest.mark.parametrize(
    "message",
    [
        image("16UC1", DEPTH_MM),
        image("mono16", DEPTH_MM, padding=6),
        image("16UC1", DEPTH_MM.byteswap(), big=1),
        image("32FC1", DEPTH_MM.astype(np.float32) / 1000),
        compressed("16UC1; png compressed", encode(".png", DEPTH_MM)),
        compressed("16UC1; compressedDepth png", b"\0" * 12 + encode(".png", DEPTH_MM)),
    ],
    ids=["16UC1", "mono16", "big endian", "32FC1", "png", "compressedDepth"],
)
def test_depth_is_in_metres(message: Any) -> None:
    depth_m = depth_of(message, None)
    assert np.isnan(depth_m[0, 0])  # 0 is no return
    np.testing.assert_allclose(depth_m.ravel()[1:], DEPTH_MM.ravel()[1:] / 1000, rtol=1e-6)


def test_quantised_inverse_depth_is_undone() -> None:
    a, b = 100.0, 5.0
    depth_m = np.linspace(0.3, 3.0, 96, dtype=np.float32).reshape(8, 12)
    stored = np.round(a / depth_m + b).astype(np.uint16)
    stored[0, 0] = 0
    data = struct.pack("<iff", 0, a, b) + encode(".png", stored)
    found = depth_of(compressed("32FC1; compressedDepth png", data), None)
    assert np.isnan(found[0, 0])
    np.testing.assert_allclose(found.ravel()[1:], depth_m.ravel()[1:], rtol=0.02)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (image("rgb16", RGB), "the encoding 'rgb16' is not read"),
        (SimpleNamespace(encoding="rgb8", width=12, height=80, step=36, data=np.zeros(288, np.uint8)), "has 288 bytes"),
        (SimpleNamespace(encoding="rgb8", width=2**31, height=2**31, step=0, data=np.zeros(1, np.uint8)), "claims"),
        (compressed("jpeg", b"\xff\xd8\xff"), "breaks off"),
    ],
)
def test_pictures_that_cannot_be_are_refused(message: Any, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        rgb_of(message)


def test_joints_are_found_by_name() -> None:
    message = SimpleNamespace(name=["a", "b", "c"], position=np.array([1.0, 2.0, 3.0]))
    assert joints_of(message, ("c", "a")).tolist() == [3.0, 1.0]
    assert joints_of(message, ()).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(SourceError, match=r"\['d'\]"):
        joints_of(message, ("d",))
