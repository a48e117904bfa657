"""Procedural textures, one painter for each kind: a generator in, an image (SIZE_PX, SIZE_PX, 3) uint8 out.

Most of them tile without a seam: noise grids wrap around and waves have whole numbers of periods. What shows a neural
network the real world is variety of scale and contrast rather than realism, so every painter draws both.
"""

import colorsys
import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE_PX = 128
Image = NDArray[np.uint8]
Field = NDArray[np.float32]
Painter = Callable[[np.random.Generator], Image]
_TWO_PI = np.float32(2.0 * math.pi)


def palette(rng: np.random.Generator, num_colours: int) -> NDArray[np.uint8]:
    """Colours (num_colours, 3) that are as often close in hue as far apart, and at times all grey."""
    spread, grey = rng.choice([0.06, 0.2, 1.0]), rng.random() < 0.15
    hue = rng.random()
    colours = [
        colorsys.hsv_to_rgb(
            (hue + spread * rng.random()) % 1.0, 0.0 if grey else rng.beta(1.0, 1.4), rng.beta(1.5, 1.0)
        )
        for _ in range(num_colours)
    ]
    return np.round(255.0 * np.array(colours)).astype(np.uint8)


def ramp(values: Field, colours: NDArray[np.uint8]) -> Image:
    """Colours a field of values in [0, 1], blending between neighbours in `colours` (N, 3)."""
    stops = np.linspace(0.0, 255.0, len(colours))
    table = np.stack([np.interp(np.arange(256), stops, colours[:, i]) for i in range(3)], axis=1)
    levels = np.clip(values * np.float32(255.0), 0.0, 255.0).astype(np.uint8)
    return np.asarray(np.round(table).astype(np.uint8)[levels], dtype=np.uint8)


def fractal(rng: np.random.Generator, num_cells: int, num_octaves: int) -> Field:
    """Seamless value noise (SIZE, SIZE) in [0, 1] with at least `num_cells` (a power of two) cells along each edge."""
    total = np.zeros((SIZE_PX, SIZE_PX), dtype=np.float32)
    weight = 1.0
    for _ in range(num_octaves):
        total += np.float32(weight) * _value_noise(rng, min(num_cells, SIZE_PX))
        num_cells, weight = num_cells * 2, weight * 0.55
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - np.float32(low)) / np.float32(max(high - low, 1e-6)), dtype=np.float32)


def _value_noise(rng: np.random.Generator, num_cells: int) -> Field:
    grid = rng.random((num_cells, num_cells), dtype=np.float32)
    weights = _enlargement(num_cells)
    return np.asarray(weights @ grid @ weights.T, dtype=np.float32)


@lru_cache(maxsize=16)
def _enlargement(num_cells: int) -> Field:
    """Weights (SIZE, num_cells) that enlarge a ring of cells smoothly (Catmull-Rom), wrapping around."""
    place = np.arange(SIZE_PX) * (num_cells / SIZE_PX)
    cell, t = np.floor(place).astype(np.int64), place % 1.0
    taps = 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], axis=1
    )
    weights = np.zeros((SIZE_PX, num_cells))
    for i in range(4):
        np.add.at(weights, (np.arange(SIZE_PX), (cell + i - 1) % num_cells), taps[:, i])
    return weights.astype(np.float32)


@lru_cache(maxsize=1)
def _coordinates() -> tuple[Field, Field]:
    """Column and row of every pixel, (SIZE, SIZE) each, in [0, 1)."""
    row, column = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32) / np.float32(SIZE_PX)
    return column, row


def _waves(rng: np.random.Generator, most: int) -> tuple[Field, float]:
    """Phase (SIZE, SIZE) of plane waves with whole periods along both edges, and how many there are."""
    x, y = _coordinates()
    along_x, along_y = int(rng.integers(0, most + 1)), int(rng.integers(-most, most + 1))
    if along_x == 0 and along_y == 0:
        along_x = 1
    phase = _TWO_PI * (along_x * x + along_y * y + np.float32(rng.random()))
    return phase.astype(np.float32), math.hypot(along_x, along_y)


def _relight(image: Image, rng: np.random.Generator, strength: float) -> Image:
    """Lightens and darkens an image by soft patches: surfaces that are worn, creased or unevenly lit."""
    patches = fractal(rng, int(rng.choice([2, 4, 8, 32])), 3) - np.float32(0.5)
    gain = 1.0 + np.float32(2.0 * strength * rng.random()) * patches
    return np.clip(image * gain[..., None], 0.0, 255.0).astype(np.uint8)


def checker(rng: np.random.Generator) -> Image:
    """A chequered board."""
    x, y = _coordinates()
    fields_x, fields_y = 2 * rng.integers(1, 6), 2 * rng.integers(1, 6)
    odd = ((x * fields_x).astype(np.int32) + (y * fields_y).astype(np.int32)) % 2
    return _relight(palette(rng, 2)[odd], rng, 0.3)


def stripes(rng: np.random.Generator) -> Image:
    """Straight or wavy stripes, hard or soft, in two to five colours."""
    phase, _ = _waves(rng, 7)
    if rng.random() < 0.4:
        phase = phase + np.float32(4.0 * rng.random()) * fractal(rng, 4, 1)
    wave = np.asarray(0.5 + 0.5 * np.sin(phase), dtype=np.float32)
    colours = palette(rng, int(rng.integers(2, 6)))
    if rng.random() < 0.6:
        return colours[np.minimum((wave * len(colours)).astype(np.int32), len(colours) - 1)]
    return ramp(wave, colours)


def gradient(rng: np.random.Generator) -> Image:
    """A slow change of colour along one direction or around one place."""
    x, y = _coordinates()
    if rng.random() < 0.5:
        phase, _ = _waves(rng, 1)
        values = 0.5 + 0.5 * np.sin(phase)
    else:
        ahead_x, ahead_y = np.abs(x - np.float32(rng.random())), np.abs(y - np.float32(rng.random()))
        distance = np.hypot(np.minimum(ahead_x, 1 - ahead_x), np.minimum(ahead_y, 1 - ahead_y))
        values = distance / np.float32(math.sqrt(0.5))
    return ramp(values.astype(np.float32), palette(rng, int(rng.integers(2, 5))))


def noise(rng: np.random.Generator) -> Image:
    """Clouds: value noise of several octaves."""
    values = fractal(rng, int(rng.choice([2, 4, 8, 16])), int(rng.integers(1, 6)))
    return ramp(values, palette(rng, int(rng.integers(2, 5))))


def wood(rng: np.random.Generator) -> Image:
    """Boards with rings and grain, in browns or painted."""
    x, _ = _coordinates()
    rings = fractal(rng, 2, 2)
    lines = np.sin(_TWO_PI * (int(rng.integers(2, 9)) * x + np.float32(rng.uniform(0.2, 1.5)) * rings))
    grain = _stretched_noise(rng)
    values = 0.5 + np.float32(0.3) * lines + np.float32(rng.uniform(0.1, 0.5)) * (grain - np.float32(0.5))
    brown = 255.0 * np.array([[0.78, 0.58, 0.38], [0.55, 0.35, 0.18]]) * rng.uniform(0.35, 1.2)
    colours = np.clip(brown, 0, 255).astype(np.uint8) if rng.random() < 0.7 else palette(rng, 2)
    image = ramp(values.astype(np.float32), colours)
    num_boards = int(rng.integers(0, 4))
    for i in range(num_boards):
        image[:, (i * SIZE_PX) // num_boards] //= 3
    return np.ascontiguousarray(image if rng.random() < 0.5 else image.transpose(1, 0, 2))


def _stretched_noise(rng: np.random.Generator) -> Field:
    """Fibres along the rows' axis (SIZE, SIZE) in [0, 1]."""
    fibres = rng.random((8, SIZE_PX), dtype=np.float32)
    return np.asarray(cv2.resize(fibres, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def marble(rng: np.random.Generator) -> Image:
    """Veins: waves that turbulence bends."""
    phase, _ = _waves(rng, 3)
    turbulence = fractal(rng, 4, 5)
    veins = np.abs(np.sin(phase + np.float32(rng.uniform(2.0, 9.0)) * turbulence))
    return ramp(np.power(veins, np.float32(rng.uniform(0.3, 1.0))), palette(rng, int(rng.integers(2, 4))))


def speckle(rng: np.random.Generator) -> Image:
    """Terrazzo, granite, sand: grains of a few sizes on a ground."""
    colours = palette(rng, 5)
    image = np.broadcast_to(colours[0], (SIZE_PX, SIZE_PX, 3)).copy()
    for colour in colours[1:]:
        num_cells = int(rng.choice([16, 32, 64, 128]))
        grains = _value_noise(rng, num_cells)
        image[grains > rng.uniform(0.75, 0.95)] = colour
    return _relight(image, rng, 0.2)


def voronoi(rng: np.random.Generator) -> Image:
    """Cells around random points: stones, leather, tiles; some with joints between them."""
    num_cells = int(rng.integers(6, 28))
    points = rng.random((num_cells, 2), dtype=np.float32)
    steps = np.arange(SIZE_PX, dtype=np.float32)[:, None] / np.float32(SIZE_PX)
    ahead_x, ahead_y = np.abs(steps - points[:, 0]), np.abs(steps - points[:, 1])  # (SIZE, N)
    squared_x, squared_y = np.minimum(ahead_x, 1 - ahead_x) ** 2, np.minimum(ahead_y, 1 - ahead_y) ** 2
    nearest = np.argmin(squared_y[:, None, :] + squared_x[None, :, :], axis=2)
    image = palette(rng, num_cells)[nearest]
    if rng.random() < 0.5:
        joint = (nearest != np.roll(nearest, 1, axis=0)) | (nearest != np.roll(nearest, 1, axis=1))
        image[joint] = palette(rng, 1)[0]
    return _relight(image, rng, 0.3)


def patchwork(rng: np.random.Generator) -> Image:
    """Irregular rectangles in rows, each with its colour or a fine pattern: tiles, books on a shelf, bricks."""
    colours = palette(rng, 8)
    image = np.empty((SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    rows = _cuts(rng, int(rng.integers(2, 8)))
    for top, bottom in pairwise(rows):
        columns = _cuts(rng, int(rng.integers(2, 8)))
        for left, right in pairwise(columns):
            a, b, spacing, pattern = rng.integers(0, (8, 8, 6, 4))
            patch = image[top:bottom, left:right]
            patch[:] = colours[a]
            if pattern == 0:
                patch[:: spacing + 2] = colours[b]
            elif pattern == 1:
                patch[:, :: spacing + 2] = colours[b]
    return _relight(image, rng, 0.25)


def _cuts(rng: np.random.Generator, num_pieces: int) -> list[int]:
    """Where an edge is cut into pieces of uneven length, both ends included."""
    inner = rng.choice(np.arange(4, SIZE_PX - 4), size=num_pieces - 1, replace=False)
    return [0, *sorted(int(cut) for cut in inner), SIZE_PX]


def fabric(rng: np.random.Generator) -> Image:
    """Woven cloth: bands of coloured yarn that cross over and under one another."""
    yarns = palette(rng, int(rng.integers(1, 5)))
    warp, weft = (yarns[rng.integers(0, len(yarns), int(rng.choice([4, 8, 16, 32])))] for _ in range(2))
    thread_px = int(rng.choice([1, 2, 4]))
    index = np.arange(SIZE_PX)
    over = ((index[:, None] // thread_px + index[None, :] // thread_px) % int(rng.integers(2, 5)) == 0)[..., None]
    across = np.repeat(warp, SIZE_PX // len(warp), axis=0)[None, :, :]
    along = np.repeat(weft, SIZE_PX // len(weft), axis=0)[:, None, :]
    relief = 0.75 + 0.25 * np.abs(np.sin(np.pi * (index + 0.5) / thread_px / 2))
    lit = np.where(over, across * relief[None, :, None], along * relief[:, None, None]).astype(np.uint8)
    return _relight(lit, rng, 0.3)


def packaging(rng: np.random.Generator) -> Image:
    """The print of boxes and tins: panels, lettering, fine print, bars."""
    colours = [tuple(int(channel) for channel in colour) for colour in palette(rng, 5)]
    image = np.empty((SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    image[:] = colours[0]
    for _ in range(int(rng.integers(1, 5))):
        left, top, width, height = (int(v) for v in rng.integers((0, 0, 20, 10), (96, 96, 110, 80)))
        cv2.rectangle(image, (left, top), (left + width, top + height), colours[int(rng.integers(1, 5))], -1)
    for _ in range(int(rng.integers(1, 4))):
        _write_word(image, colours[int(rng.integers(0, 5))], rng)
    if rng.random() < 0.7:
        _write_fine_print(image, colours[int(rng.integers(0, 5))], rng)
    if rng.random() < 0.4:
        left, top = (int(v) for v in rng.integers(0, 90, 2))
        bars = np.repeat(rng.integers(0, 2, 30), rng.integers(1, 3, 30))[: SIZE_PX - left]
        image[top : top + 22, left : left + len(bars)] = (255 * bars[None, :, None]).astype(np.uint8)
    return _relight(image, rng, 0.15)


_LETTERS = np.array(list("ABCDEFGHKLMNOPRSTUVXYZ0123456789aeionrstu%&"))


def _write_word(image: Image, colour: tuple[int, ...], rng: np.random.Generator) -> None:
    word = "".join(rng.choice(_LETTERS, int(rng.integers(2, 8))))
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
    place = (int(rng.integers(-10, 50)), int(rng.integers(25, SIZE_PX)))
    cv2.putText(image, word, place, font, float(rng.uniform(0.5, 1.8)), colour, int(rng.integers(1, 4)), cv2.LINE_AA)


def _write_fine_print(image: Image, colour: tuple[int, ...], rng: np.random.Generator) -> None:
    left, top, width, num_lines = (int(v) for v in rng.integers((0, 0, 30, 3), (70, 90, 60, 10)))
    block = image[top : top + 4 * num_lines, left : left + width]
    ink = rng.random((block.shape[0], block.shape[1])) < 0.6
    ink[np.arange(block.shape[0]) % 4 >= 2] = False
    block[ink] = colour


def collage(rng: np.random.Generator) -> Image:
    """Shapes that cover one another at every scale, the statistics of a photograph (the dead leaves model)."""
    num_shapes = int(rng.integers(30, 90))
    image = ramp(fractal(rng, 2, 2), palette(rng, 3))
    colours = np.concatenate([palette(rng, (num_shapes + 2) // 3) for _ in range(3)]).tolist()
    # Sizes follow a power law, large shapes first, or the small ones would be covered.
    sizes_px = np.sort(3.0 * (20.0 ** rng.random(num_shapes)))[::-1]
    draws = rng.random((num_shapes, 5))
    for size_px, draw, colour in zip(sizes_px.tolist(), draws.tolist(), colours, strict=False):
        _draw_shape(image, size_px, draw, colour)
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2)))
    return _relight(np.asarray(soft, dtype=np.uint8), rng, 0.35)


def _draw_shape(image: Image, size_px: float, draw: list[float], colour: list[int]) -> None:
    """Draws an ellipse, a rectangle or a line; `draw` holds five numbers in [0, 1] that decide which and where."""
    x, y, turn_deg, flat = SIZE_PX * draw[0], SIZE_PX * draw[1], 180.0 * draw[2], 0.25 + 0.75 * draw[3]
    if draw[4] < 0.4:
        axes = (int(size_px), max(1, int(flat * size_px)))
        cv2.ellipse(image, (int(x), int(y)), axes, turn_deg, 0.0, 360.0, colour, -1)
    elif draw[4] < 0.85:
        corners = cv2.boxPoints(((x, y), (2.0 * size_px, 2.0 * flat * size_px), turn_deg))
        cv2.fillConvexPoly(image, np.round(corners).astype(np.int32), colour)
    else:
        dx, dy = 2.0 * size_px * math.cos(math.radians(turn_deg)), 2.0 * size_px * math.sin(math.radians(turn_deg))
        cv2.line(image, (int(x), int(y)), (int(x + dx), int(y + dy)), colour, 1 + int(10.0 * draw[3]) % 3)


PAINTERS: dict[str, Painter] = {
    "checker": checker,
    "stripes": stripes,
    "gradient": gradient,
    "noise": noise,
    "wood": wood,
    "marble": marble,
    "speckle": speckle,
    "voronoi": voronoi,
    "patchwork": patchwork,
    "fabric": fabric,
    "packaging": packaging,
    "collage": collage,
}
