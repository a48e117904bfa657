"""Images from bytes that nobody vouches for."""

import contextlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from row_files import picture, png

from simtoreal.episodes.importing.encoded_images import claimed_size, decode_plane, decode_rgb
from simtoreal.episodes.importing.source import SourceError


def encoded(kind: str, pixels: np.ndarray) -> bytes:
    done, data = cv2.imencode(kind, pixels)
    assert done
    return bytes(data.tobytes())


@pytest.mark.parametrize("kind", [".png", ".jpg", ".tiff"])
def test_the_size_is_read_from_the_header(kind: str) -> None:
    assert claimed_size(encoded(kind, np.zeros((17, 23, 3), np.uint8))) == (23, 17)


def test_colours_are_rgb() -> None:
    np.testing.assert_array_equal(decode_rgb(png(picture(3))), picture(3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_planes_keep_their_type(dtype: type) -> None:
    plane = np.arange(12).reshape(3, 4).astype(dtype)
    found = decode_plane(encoded(".tiff", plane))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, plane)


def test_a_picture_that_claims_a_mountain_is_refused() -> None:
    data = bytearray(png(picture(1)))
    data[16:24] = b"\x00\x01\x00\x00" * 2
    with pytest.raises(SourceError, match="claims to have 65536 x 65536 pixels"):
        decode_rgb(bytes(data))


@pytest.mark.parametrize("kind", [".png", ".jpg", ".tiff"])
def test_cut_anywhere_it_is_an_error_or_an_image(kind: str) -> None:
    data = encoded(kind, picture(5))
    for end in range(0, len(data) - 1, 3):
        try:
            decode_rgb(data[:end])
        except SourceError:
            continue
        assert end > len(data) // 2  # a TIFF may have its pixels in front of what is lost


@given(st.binary(max_size=64), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"II*\0", b"MM\0*"]))
def test_any_bytes_are_an_image_or_an_error(junk: bytes, magic: bytes) -> None:
    for decode in (decode_rgb, decode_plane):
        with contextlib.suppress(SourceError):
            decode(magic + junk)
