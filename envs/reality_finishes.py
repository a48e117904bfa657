"""Surfaces of the second world: what tables, walls, objects and things that lie about are made of.

They share nothing with the training textures of PyBullet. A painter gets a generator and draws one square tile.
"""

import colorsys
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE_PX = 256
Picture = NDArray[np.uint8]
Field = NDArray[np.float32]
Painter = Callable[[np.random.Generator], Picture]
Colour = tuple[float, float, float]


def finish(kind: str, seed: int) -> Picture:
    """The tile (SIZE_PX, SIZE_PX, 3) uint8 of a kind and seed, always the same one; read-only.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in _PAINTERS:
        raise ValueError(f"finish {kind!r} is unknown; allowed: {', '.join(_PAINTERS)}")
    return _cached(kind, seed)


@lru_cache(maxsize=64)  # 12 MB
def _cached(kind: str, seed: int) -> Picture:
    picture = _PAINTERS[kind](np.random.default_rng((seed, zlib.crc32(kind.encode()))))
    picture.setflags(write=False)
    return picture


# --- fields and colours


def _noise(rng: np.random.Generator, cells: tuple[int, int]) -> Field:
    """Smooth noise (SIZE_PX, SIZE_PX) of about unit variance with so many cells down and across."""
    grid = rng.normal(size=cells).astype(np.float32)
    return np.asarray(cv2.resize(grid, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _grain(rng: np.random.Generator, strength: float) -> Field:
    return np.asarray(strength * rng.normal(size=(SIZE_PX, SIZE_PX)), dtype=np.float32)


def _hsv(rng: np.random.Generator, hue: float, saturation: float, value: float, spread: float = 0.05) -> Colour:
    """A colour in [0, 255] near one of hue, saturation and value in [0, 1]."""
    h, s, v = np.array([hue, saturation, value]) + spread * rng.uniform(-1.0, 1.0, 3) * (0.5, 1.0, 1.5)
    r, g, b = colorsys.hsv_to_rgb(h % 1.0, min(max(s, 0.0), 1.0), min(max(v, 0.02), 1.0))
    return 255.0 * r, 255.0 * g, 255.0 * b


def _any_colour(rng: np.random.Generator) -> Colour:
    return _hsv(rng, rng.random(), rng.uniform(0.1, 0.9), rng.uniform(0.15, 0.95), 0.0)


def _shade(colour: Colour, brightness: Field) -> Picture:
    """A colour whose brightness varies around 1."""
    return _to_picture(brightness[..., None] * np.array(colour, dtype=np.float32))


def _to_picture(values: NDArray[Any]) -> Picture:
    return np.asarray(np.clip(values, 0.0, 255.0), dtype=np.uint8)


def _lines(picture: Picture, step_px: int, colour: Colour, width_px: int = 1) -> None:
    for at in range(0, SIZE_PX, step_px):
        cv2.line(picture, (at, 0), (at, SIZE_PX), colour, width_px)
        cv2.line(picture, (0, at), (SIZE_PX, at), colour, width_px)


# --- tables


def _laminate(rng: np.random.Generator) -> Picture:
    colour = _hsv(rng, rng.uniform(0.05, 0.15), 0.08, rng.uniform(0.55, 0.92))
    return _shade(colour, 1.0 + 0.015 * _noise(rng, (6, 6)) + _grain(rng, 0.03))


def _oak(rng: np.random.Generator) -> Picture:
    colour = _hsv(rng, 0.08, 0.5, rng.uniform(0.35, 0.75))
    rings = np.sin(9.0 * _noise(rng, (3, 1)) + 2.0 * _noise(rng, (20, 2)) + 5.0)
    brightness = 1.0 + 0.09 * rings + 0.06 * _noise(rng, (200, 4)) + _grain(rng, 0.015)
    planks = 2 + int(rng.integers(4))
    rows = np.arange(SIZE_PX) * planks // SIZE_PX
    brightness *= (1.0 + 0.08 * rng.normal(size=planks))[rows][:, None].astype(np.float32)
    brightness[np.flatnonzero(np.diff(rows, prepend=-1))] *= 0.55  # the joints
    return _shade(colour, brightness)


def _steel(rng: np.random.Generator) -> Picture:
    colour = _hsv(rng, 0.6, 0.04, rng.uniform(0.45, 0.8), 0.03)
    picture = _shade(colour, 1.0 + 0.06 * _noise(rng, (SIZE_PX, 3)) + 0.05 * _noise(rng, (3, 3)))
    for _ in range(int(rng.integers(4, 20))):  # scratches
        start, end = rng.integers(0, SIZE_PX, 2), rng.integers(0, SIZE_PX, 2)
        cv2.line(picture, start.tolist(), end.tolist(), [value * rng.uniform(0.7, 1.25) for value in colour], 1)
    return picture


def _breadboard(rng: np.random.Generator) -> Picture:
    """An optical table: holes in a grid."""
    dark = rng.random() < 0.5
    colour = _hsv(rng, 0.6, 0.04, 0.16 if dark else 0.65, 0.03)
    picture = _shade(colour, 1.0 + 0.04 * _noise(rng, (8, 8)) + _grain(rng, 0.03))
    step, radius = SIZE_PX // 16, int(rng.integers(2, 4))
    for x in range(step // 2, SIZE_PX, step):
        for y in range(step // 2, SIZE_PX, step):
            cv2.circle(picture, (x, y), radius + 1, [1.5 * value + 20 for value in colour], -1)
            cv2.circle(picture, (x, y), radius, (18, 18, 20), -1)
    return picture


def _mat(rng: np.random.Generator) -> Picture:
    """A cutting mat: a fine and a coarse grid."""
    colour = _hsv(rng, float(rng.choice([0.4, 0.45, 0.6, 0.0])), rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.4))
    picture = _shade(colour, 1.0 + 0.03 * _noise(rng, (5, 5)) + _grain(rng, 0.03))
    _lines(picture, SIZE_PX // 16, [1.25 * value + 10 for value in colour])  # type: ignore[arg-type]
    _lines(picture, SIZE_PX // 4, (205, 205, 160), 2)
    return picture


def _cloth(rng: np.random.Generator) -> Picture:
    colour = _any_colour(rng)
    rows = np.arange(SIZE_PX)
    weave = ((rows[:, None] // 2 + rows[None, :] // 2) % 2).astype(np.float32)
    folds = 0.16 * _noise(rng, (4, 3)) + 0.06 * _noise(rng, (12, 9))
    picture = _shade(colour, 0.88 + 0.12 * weave + folds + _grain(rng, 0.03))
    if rng.random() < 0.5:
        stripes = (rows * int(rng.integers(4, 16)) // SIZE_PX) % 3 == 0
        picture[:, stripes] = _to_picture(0.45 * picture[:, stripes] + 0.55 * np.array(_any_colour(rng)))
    return picture


def _concrete(rng: np.random.Generator) -> Picture:
    colour = _hsv(rng, 0.1, 0.04, rng.uniform(0.35, 0.65))
    spots = np.minimum(_noise(rng, (60, 60)) + 1.2, 0.0)
    return _shade(colour, 1.0 + 0.09 * _noise(rng, (5, 5)) + 0.05 * _noise(rng, (30, 30)) + 0.2 * spots)


# --- rooms


def _wall(rng: np.random.Generator) -> Picture:
    colour = _hsv(rng, rng.random(), rng.uniform(0.0, 0.2), rng.uniform(0.5, 0.9))
    return _shade(colour, 1.0 + 0.04 * _noise(rng, (3, 3)) + _grain(rng, 0.015))


def _tiles(rng: np.random.Generator) -> Picture:
    picture = _shade(_hsv(rng, rng.random(), 0.12, rng.uniform(0.4, 0.9)), 1.0 + 0.05 * _noise(rng, (8, 8)))
    _lines(picture, SIZE_PX // int(rng.integers(3, 9)), _hsv(rng, 0.1, 0.05, 0.45), 3)
    return picture


def _shelves(rng: np.random.Generator) -> Picture:
    """Boards with books and boxes of all colours."""
    picture = _shade(_hsv(rng, 0.08, 0.3, rng.uniform(0.2, 0.6)), 1.0 + 0.05 * _noise(rng, (6, 6)))
    num_boards = int(rng.integers(3, 6))
    for board in range(num_boards):
        low, high = board * SIZE_PX // num_boards + 8, (board + 1) * SIZE_PX // num_boards
        at = 4
        while at < SIZE_PX - 6:
            width = int(rng.integers(5, 40))
            if rng.random() < 0.8:
                top = int(rng.uniform(low, 0.5 * (low + high)))
                cv2.rectangle(picture, (at, top), (min(at + width, SIZE_PX - 5), high - 3), _any_colour(rng), -1)
            at += width + 2
    return picture


# --- objects


def _plastic(rng: np.random.Generator) -> Picture:
    return _shade(_any_colour(rng), np.ones((SIZE_PX, SIZE_PX), dtype=np.float32) + _grain(rng, 0.01))


def _worn(rng: np.random.Generator) -> Picture:
    under, over = np.array(_any_colour(rng)), np.array(_any_colour(rng))
    mask = (_noise(rng, (9, 9)) + 0.6 * _noise(rng, (40, 40)) > 1.0)[..., None]
    return _to_picture(np.where(mask, under, over) * (1.0 + 0.05 * _noise(rng, (20, 20)))[..., None])


def _metal(rng: np.random.Generator) -> Picture:
    colour = _hsv(rng, float(rng.choice([0.6, 0.1, 0.07])), rng.uniform(0.0, 0.35), rng.uniform(0.4, 0.8))
    return _shade(colour, 1.0 + 0.1 * _noise(rng, (4, 100)) + 0.08 * _noise(rng, (3, 3)))


def _rubber(rng: np.random.Generator) -> Picture:
    return _shade(_hsv(rng, rng.random(), 0.1, 0.14), 1.0 + 0.1 * _noise(rng, (10, 10)) + _grain(rng, 0.05))


def _label(rng: np.random.Generator) -> Picture:
    """A package: fields of colour, stripes, words and a bar code."""
    picture = _plastic(rng)
    for _ in range(int(rng.integers(2, 6))):
        x, y, w, h = rng.integers(0, SIZE_PX, 4).tolist()
        cv2.rectangle(picture, (x, y), (x + w // 2, y + h // 3), _any_colour(rng), -1)
    for _ in range(int(rng.integers(1, 5))):
        word = "".join(chr(65 + int(letter)) for letter in rng.integers(0, 26, int(rng.integers(2, 7))))
        place = (int(rng.integers(-20, 150)), int(rng.integers(30, 250)))
        cv2.putText(picture, word, place, cv2.FONT_HERSHEY_DUPLEX, rng.uniform(0.5, 2.5), _any_colour(rng), 3)
    left, top = rng.integers(20, 160, 2).tolist()
    bars = np.where(rng.random(40) < 0.5, 20, 240).astype(np.uint8)
    picture[top : top + 30, left : left + 80] = np.repeat(bars, 2)[None, :, None]
    return picture


# --- things that lie about


def _paper(rng: np.random.Generator) -> Picture:
    """A printed page: lines of text and perhaps a figure."""
    picture = _shade((245.0, 244.0, 238.0), 0.98 + 0.02 * _noise(rng, (4, 4)))
    for y in range(16, SIZE_PX - 10, int(rng.integers(7, 13))):
        if rng.random() < 0.85:
            end = int(rng.uniform(120, SIZE_PX - 18))
            for x in range(18, end, 9):
                cv2.line(picture, (x, y), (x + int(rng.integers(3, 8)), y), (70, 70, 75), 2)
    if rng.random() < 0.5:
        x, y = rng.integers(30, 120, 2).tolist()
        cv2.rectangle(picture, (x, y), (x + 100, y + 70), _any_colour(rng), -1)
    return picture


def _cardboard(rng: np.random.Generator) -> Picture:
    colour = _hsv(rng, 0.085, 0.42, rng.uniform(0.5, 0.75))
    picture = _shade(colour, 1.0 + 0.03 * _noise(rng, (4, 120)) + 0.05 * _noise(rng, (4, 4)) + _grain(rng, 0.02))
    if rng.random() < 0.6:  # tape
        at = int(rng.integers(60, 180))
        picture[at : at + 34] = _to_picture(0.5 * picture[at : at + 34] + 0.5 * np.array((190, 165, 120)))
    return picture


def _circuit(rng: np.random.Generator) -> Picture:
    """A circuit board: traces, pads and chips."""
    colour = _hsv(rng, float(rng.choice([0.36, 0.6, 0.0])), 0.8, 0.35)
    picture = _shade(colour, 1.0 + 0.05 * _noise(rng, (6, 6)))
    for _ in range(60):
        x, y = rng.integers(0, SIZE_PX, 2).tolist()
        end = (x + int(rng.integers(-60, 60)), y) if rng.random() < 0.5 else (x, y + int(rng.integers(-60, 60)))
        cv2.line(picture, (x, y), end, [1.5 * value + 15 for value in colour], 2)
        cv2.circle(picture, (x, y), 3, (200, 190, 150), -1)
    for _ in range(int(rng.integers(3, 12))):
        x, y, w, h = (rng.integers(0, 200), rng.integers(0, 200), rng.integers(12, 60), rng.integers(12, 50))
        cv2.rectangle(picture, (int(x), int(y)), (int(x + w), int(y + h)), (28, 28, 30), -1)
    return picture


def _print(rng: np.random.Generator) -> Picture:
    """A glossy picture, as on a magazine or a mouse pad."""
    corners = np.array([[_any_colour(rng) for _ in range(3)] for _ in range(3)], dtype=np.float32)
    picture = _to_picture(cv2.resize(corners, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_CUBIC))
    for _ in range(int(rng.integers(3, 14))):
        x, y, size = int(rng.integers(0, SIZE_PX)), int(rng.integers(0, SIZE_PX)), int(rng.integers(5, 60))
        cv2.circle(picture, (x, y), size, _any_colour(rng), -1 if rng.random() < 0.7 else 3)
    return picture


_PAINTERS: dict[str, Painter] = {
    "laminate": _laminate,
    "oak": _oak,
    "steel": _steel,
    "breadboard": _breadboard,
    "mat": _mat,
    "cloth": _cloth,
    "concrete": _concrete,
    "wall": _wall,
    "tiles": _tiles,
    "shelves": _shelves,
    "plastic": _plastic,
    "worn": _worn,
    "metal": _metal,
    "label": _label,
    "rubber": _rubber,
    "paper": _paper,
    "cardboard": _cardboard,
    "circuit": _circuit,
    "print": _print,
}
TABLES = ("laminate", "oak", "steel", "breadboard", "mat", "cloth", "concrete")
BACKGROUNDS = ("wall", "tiles", "shelves")
OBJECT_FINISHES = ("plastic", "worn", "metal", "label", "oak", "cardboard")
FIXTURES = ("steel", "metal", "rubber")
SHEETS = ("paper", "cardboard", "circuit", "print", "cloth", "mat")
