"""The ChArUco board: its corners, its picture on paper, and its coloured fields for the simulated cells."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.calibration.errors import CalibrationError
from simtoreal.camera_record import BoardSpec, FloatArray

DICTIONARIES = tuple(sorted(name for name in dir(cv2.aruco) if name.startswith("DICT_")))
_PX_PER_BIT = 8
_MM_PER_M = 1000.0
_INCH_M = 0.0254


class Field(NamedTuple):
    """A rectangle of one colour on the board, from one corner to the other, board frame."""

    low_m: tuple[float, float]
    high_m: tuple[float, float]
    is_black: bool


def dictionary_of(name: str) -> cv2.aruco.Dictionary:
    """A dictionary of markers by OpenCV's name.

    Raises:
        CalibrationError: there is none of that name.
    """
    if name not in DICTIONARIES:
        raise CalibrationError(f"board.dictionary={name} is not a choice. Choose from: {', '.join(DICTIONARIES)}")
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def charuco_board(spec: BoardSpec) -> cv2.aruco.CharucoBoard:
    """OpenCV's object for a board.

    Raises:
        CalibrationError: the dictionary is unknown or holds too few markers.
    """
    dictionary = dictionary_of(spec.dictionary)
    needed, there = spec.squares_x * spec.squares_y // 2, len(dictionary.bytesList)
    if needed > there:
        raise CalibrationError(
            f"board.dictionary={spec.dictionary} has {there} markers and a board of {spec.squares_x} x "
            f"{spec.squares_y} squares needs {needed}: choose a larger dictionary"
        )
    return cv2.aruco.CharucoBoard((spec.squares_x, spec.squares_y), spec.square_m, spec.marker_m, dictionary)


def corner_points_m(spec: BoardSpec) -> FloatArray:
    """Inner corners (N, 3) of the board, board frame."""
    return np.asarray(charuco_board(spec).getChessboardCorners(), dtype=np.float64)


def board_fields(spec: BoardSpec, margin_m: float) -> list[Field]:
    """The board as coloured rectangles that touch but never overlap, with a white margin around it."""
    dictionary = dictionary_of(spec.dictionary)
    charuco_board(spec)
    bits = dictionary.markerSize + 2
    found, marker = [], 0
    for row in range(spec.squares_y):
        for column in range(spec.squares_x):
            corner = np.array([column, row]) * spec.square_m
            if (row + column) % 2 == 0:
                found.append(_rectangle(corner, corner + spec.square_m, True))
                continue
            cells = dictionary.generateImageMarker(marker, bits, borderBits=1) == 0
            found += _marker_fields(corner, cells, spec)
            marker += 1
    width, height = spec.squares_x * spec.square_m, spec.squares_y * spec.square_m
    m = margin_m
    rims = (((-m, -m), (width + m, 0.0)), ((-m, height), (width + m, height + m)))
    sides = (((-m, 0.0), (0.0, height)), ((width, 0.0), (width + m, height)))
    return found + [Field(low, high, False) for low, high in (*rims, *sides)]


def _marker_fields(corner: FloatArray, cells: NDArray[np.bool_], spec: BoardSpec) -> list[Field]:
    """A white square with a marker in its middle."""
    gap = 0.5 * (spec.square_m - spec.marker_m)
    ticks = np.concatenate([[0.0], gap + np.linspace(0.0, spec.marker_m, len(cells) + 1), [spec.square_m]])
    padded = np.pad(cells, 1)
    found = []
    for i in range(len(padded)):
        for j in range(len(padded)):
            low, high = (corner + np.array([ticks[j + step], ticks[i + step]]) for step in (0, 1))
            found.append(_rectangle(low, high, bool(padded[i, j])))
    return found


def _rectangle(low: FloatArray, high: FloatArray, is_black: bool) -> Field:
    return Field((float(low[0]), float(low[1])), (float(high[0]), float(high[1])), is_black)


def page_png(spec: BoardSpec, margin_m: float, dpi: int) -> bytes:
    """The board as PNG that says its resolution, so that it prints to scale."""
    scale = dpi / _INCH_M
    size = (
        round((spec.squares_x * spec.square_m + 2 * margin_m) * scale),
        round((spec.squares_y * spec.square_m + 2 * margin_m) * scale),
    )
    image = np.full((size[1], size[0]), 255, dtype=np.uint8)
    for field in board_fields(spec, margin_m):
        if field.is_black:
            left, top = (round((value + margin_m) * scale) for value in field.low_m)
            right, bottom = (round((value + margin_m) * scale) for value in field.high_m)
            image[top:bottom, left:right] = 0
    done, data = cv2.imencode(".png", image)
    if not done:
        raise CalibrationError(f"a board of {size[0]} x {size[1]} pixels cannot be encoded; use a smaller dpi")
    return _with_density(bytes(data), dpi)


def _with_density(png: bytes, dpi: int) -> bytes:
    """Adds the pHYs chunk (pixels per metre) behind the header, as the PNG standard has it (W3C PNG, 11.3.5.3)."""
    import struct
    import zlib

    per_m = round(dpi / _INCH_M)
    body = b"pHYs" + struct.pack(">IIB", per_m, per_m, 1)
    chunk = struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body))
    end_of_header = 8 + 25
    return png[:end_of_header] + chunk + png[end_of_header:]


def page_svg(spec: BoardSpec, margin_m: float) -> str:
    """The board as SVG in millimetres: exact at any resolution, and what to check with a ruler."""
    width = (spec.squares_x * spec.square_m + 2 * margin_m) * _MM_PER_M
    height = (spec.squares_y * spec.square_m + 2 * margin_m) * _MM_PER_M
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}" shape-rendering="crispEdges">',
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
    ]
    for field in board_fields(spec, margin_m):
        if field.is_black:
            x, y = ((value + margin_m) * _MM_PER_M for value in field.low_m)
            w, h = ((high - low) * _MM_PER_M for low, high in zip(field.low_m, field.high_m, strict=True))
            lines.append(f'<rect x="{x:.4f}" y="{y:.4f}" width="{w:.4f}" height="{h:.4f}"/>')
    text = f"square {spec.square_m * _MM_PER_M:g} mm, marker {spec.marker_m * _MM_PER_M:g} mm, {spec.dictionary}"
    size = min(3.0, 0.5 * margin_m * _MM_PER_M)
    lines.append(f'<text x="{margin_m * _MM_PER_M:g}" y="{height - 0.3 * size:g}" font-size="{size:g}">{text}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"
