"""PNG, JPEG and TIFF images from bytes that nobody vouches for: the size in the header is checked before decoding."""

import struct
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.importing.source import SourceError

MAX_PIXELS = 64_000_000  # 8000 x 8000; a header that claims more is a bomb or broken
MAX_FILE_BYTES = 512_000_000
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND"}  # how JPEG and PNG begin and end
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers


class ImageSize(NamedTuple):
    """What the header of an image claims."""

    width_px: int
    height_px: int


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """An image (H, W, 3) in RGB from the bytes of a file, whatever EXIF says about turning it.

    Raises:
        SourceError: not an image, one of a kind that is not read, or one that breaks off.
    """
    bgr = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.ascontiguousarray(bgr[..., ::-1])


def decode_plane(data: bytes) -> NDArray[Any]:
    """An image (H, W) of one channel as it was stored (uint8, uint16 or float32), such as depth.

    Raises:
        SourceError: as above, or it has several channels.
    """
    plane = _decode(data, cv2.IMREAD_UNCHANGED)
    if plane.ndim != 2:
        raise SourceError(f"a depth image has one channel, this one is {plane.shape}")
    return np.asarray(plane)


def read_bytes(path: Path) -> bytes:
    """The bytes of a small file, an image or its labels.

    Raises:
        SourceError: it is not there or too large.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise SourceError(f"{size / 1e6:.0f} MB are too many", path)
        return path.read_bytes()
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"the file cannot be read ({error.strerror or error})", path) from error


def claimed_size(data: bytes) -> ImageSize:
    """Width and height that the header of a PNG, JPEG or TIFF claims.

    Raises:
        SourceError: the data is none of them, or its header is cut short.
    """
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            return ImageSize(*struct.unpack(">II", data[16:24]))
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
    except (struct.error, IndexError) as error:
        raise SourceError("the image breaks off within its header") from error
    raise SourceError(f"not a PNG, JPEG or TIFF image, it starts with {data[:8]!r}")


def _decode(data: bytes, flags: int) -> NDArray[Any]:
    width, height = claimed_size(data)
    if not 0 < width * height <= MAX_PIXELS:
        raise SourceError(f"the image claims to have {width} x {height} pixels; 1 to {MAX_PIXELS} are read")
    for start, end in _ENDS.items():
        if data.startswith(start) and end not in data[-64:]:
            raise SourceError("the image breaks off, its end is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise SourceError(f"the image cannot be decoded ({error.err})") from error
    if image is None or image.size == 0:
        raise SourceError("the image cannot be decoded, it is damaged")
    return np.asarray(image)


def _jpeg_size(data: bytes) -> ImageSize:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return ImageSize(width, height)
        if marker == 0xFF:  # padding
            at += 1
            continue
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    raise SourceError("the JPEG image says nowhere how large it is")


def _tiff_size(data: bytes) -> ImageSize:
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    sizes = {}
    for entry in range(count):
        start = at + 2 + 12 * entry
        tag, kind = struct.unpack(order + "HH", data[start : start + 4])
        if tag in (256, 257):
            form, length = ("H", 2) if kind == 3 else ("I", 4)
            (sizes[tag],) = struct.unpack(order + form, data[start + 8 : start + 8 + length])
    if len(sizes) < 2:
        raise SourceError("the TIFF image says nowhere how large it is")
    return ImageSize(sizes[256], sizes[257])
