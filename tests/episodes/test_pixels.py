"""Depth as PNG: some lines of a picture are those of the whole one, whoever wrote it, and damage is noticed."""

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.pixels import decode_step_lines, decode_steps, encode_png


def noisy_steps(height_px: int, width_px: int, seed: int) -> np.ndarray:
    """A slope with noise, places without a return, and values that use all 16 bits."""
    rng = np.random.default_rng(seed)
    steps = 1000 + 3 * np.arange(width_px) + rng.integers(0, 8, (height_px, width_px))
    steps[rng.random(steps.shape) < 0.1] = 0
    steps[rng.random(steps.shape) < 0.1] = rng.integers(0, 65536)
    return steps.astype(np.uint16)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000), st.data())
def test_some_lines_are_those_of_the_whole_picture(
    height_px: int, width_px: int, seed: int, data: st.DataObject
) -> None:
    steps = noisy_steps(height_px, width_px, seed)
    lines = np.array(data.draw(st.lists(st.integers(0, height_px - 1), min_size=1, max_size=9)))
    png = encode_png(steps)
    np.testing.assert_array_equal(decode_steps(png, width_px, height_px), steps)
    np.testing.assert_array_equal(decode_step_lines(png, width_px, height_px, lines), steps[lines])


@pytest.mark.parametrize("num_filter", range(5))
def test_lines_with_any_filter_are_read(num_filter: int) -> None:
    """An older OpenCV chooses one of five for each line."""
    steps = noisy_steps(48, 64, num_filter)
    bit = (cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_FILTER_SUB, cv2.IMWRITE_PNG_FILTER_UP,
           cv2.IMWRITE_PNG_FILTER_AVG, cv2.IMWRITE_PNG_FILTER_PAETH)[num_filter]  # fmt: skip
    png = bytes(cv2.imencode(".png", steps, [cv2.IMWRITE_PNG_FILTER, bit])[1])
    lines = np.array([47, 0, 13, 13])
    np.testing.assert_array_equal(decode_step_lines(png, 64, 48, lines), steps[lines])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(content: bytes, width_px: int, height_px: int, form: bytes = b"\x10\0\0\0\0") -> bytes:
    header = chunk(b"IHDR", struct.pack(">II", width_px, height_px) + form)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "png",
    [
        b"",
        b"x" * 100,
        png_of(zlib.compress(bytes(4 * 9)), 4, 5),  # of another size
        png_of(zlib.compress(bytes(4 * 9)), 4, 4, b"\x08\0\0\0\0"),  # of 8 bits
        png_of(b"", 4, 4),
        png_of(b"not compressed", 4, 4),
        png_of(zlib.compress(b"\1" + bytes(8)), 4, 4),  # a line instead of four
    ],
)
def test_what_is_no_depth_picture_is_refused(png: bytes) -> None:
    with pytest.raises(DatasetError):
        decode_step_lines(png, 4, 4, np.array([0]))


def test_no_more_is_decompressed_than_the_size_allows() -> None:
    png = png_of(zlib.compress(b"\1" * 2**24, 9), 4, 4)
    lines = np.array([0, 3])
    tracemalloc.start()
    try:
        few = decode_step_lines(png, 4, 4, lines)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(few, decode_steps(png, 4, 4)[lines])
