"""Filled household objects: boxes, L- and T-shapes, fruit, superquadrics, thin and soft-edged ones, in metres.

All stand or lie on z = 0, in the pose in which people put them down.
"""

import math

import numpy as np

from simtoreal.envs.household_draw import Draw
from simtoreal.envs.household_shapes import (
    Y_TO_Z,
    Z_TO_X,
    Body,
    block,
    rectangle,
    revolve,
    rounded_rectangle,
    solid,
    stack,
    superellipse,
    sweep,
)
from simtoreal.envs.solids import Points


def box(draw: Draw) -> list[Body]:
    """Match box to cereal box, lying, on its side or standing; some taper, some are cartons with a gable."""
    depth = draw.ratio(0.012, 0.085)
    width = min(depth * draw.ratio(1.0, 3.2), 0.16)
    length = min(width * draw.ratio(1.0, 2.6), 0.21)
    rgb = draw.color()
    kind = draw.kind(("lying", "lying", "side", "standing", "standing", "gable", "tapered"))
    if kind == "lying":
        return [_standing_block(length, width, depth, rgb)]
    if kind == "side":
        return [_standing_block(length, depth, width, rgb)]
    if kind == "standing":
        return [_standing_block(width, depth, length, rgb)]
    if kind == "tapered":
        top = draw.between(0.6, 0.92)
        return [solid(stack(rectangle(width, depth), (1.0, top), (0.0, length)), rgb)]
    eaves = length * draw.between(0.65, 0.85)
    ridge = draw.between(0.08, 0.3)
    rings = stack(rectangle(width, depth), (1.0, 1.0, 1.0), (0.0, eaves, length))
    rings[2, :, 1] *= ridge
    return [solid(rings, rgb)]


def _standing_block(x_m: float, y_m: float, z_m: float, rgb: tuple[int, int, int]) -> Body:
    return block((x_m, y_m, z_m), (0.0, 0.0, z_m / 2), rgb)


def l_shape(draw: Draw) -> list[Body]:
    """Two arms at a corner, square or round bars; lying flat, or one arm standing."""
    thick = draw.ratio(0.014, 0.045)
    long, short = thick * draw.ratio(2.4, 5.0), thick * draw.ratio(1.5, 3.5)
    other = thick * draw.between(0.7, 1.3)
    arms = [((0.0, 0.0), (min(long, 0.17), 0.0), thick), ((0.0, 0.0), (0.0, min(short, 0.15)), other)]
    return _bars(draw, arms, thick * draw.between(0.5, 1.6))


def t_shape(draw: Draw) -> list[Body]:
    """A bar and a stem, square or round, the stem in the middle half; lying flat, or standing on the bar."""
    thick = draw.ratio(0.014, 0.045)
    bar, stem = min(thick * draw.ratio(2.6, 5.0), 0.17), min(thick * draw.ratio(1.3, 3.5), 0.15)
    at = bar * draw.between(-0.25, 0.25)
    other = thick * draw.between(0.6, 1.2)
    arms = [((-bar / 2, 0.0), (bar / 2, 0.0), thick), ((at, 0.0), (at, stem), other)]
    return _bars(draw, arms, thick * draw.between(0.5, 1.6))


def _bars(draw: Draw, arms: list[tuple[tuple[float, float], tuple[float, float], float]], depth_m: float) -> list[Body]:
    """Bars between points (x, y) of a plane, each with its thickness, all with one depth; round ones have no depth."""
    rgb = draw.color()
    round_bars, lying = draw.chance(0.35), draw.chance(0.5)
    bodies = []
    for start, end, thick in arms:
        direction = np.subtract(end, start)
        length = float(np.linalg.norm(direction))
        x, y = direction / length
        R = np.array([[-y, 0.0, x], [x, 0.0, y], [0.0, 1.0, 0.0]])  # bar +Z along the arm, bar +Y out of the plane
        # Each bar starts half a thickness early, so that a corner is filled.
        outline = superellipse(thick / 2, thick / 2, num=16) if round_bars else rectangle(thick, depth_m)
        rings = stack(outline, (1.0, 1.0), (-0.5 * thick, length))
        bodies.append(solid(rings, rgb).moved((*start, 0.0), R))
    return bodies if lying else [body.moved((0.0, 0.0, 0.0), Y_TO_Z) for body in bodies]


def fruit(draw: Draw) -> list[Body]:
    """Apple, pear, lemon, egg, carrot and banana shapes."""
    kind = draw.kind(("apple", "pear", "lemon", "carrot", "banana", "banana"))
    rgb = draw.color()
    if kind == "banana":
        return [_banana(draw, rgb)]
    radius = draw.ratio(0.016, 0.043)
    angle = np.linspace(-0.5 * np.pi + 0.12, 0.5 * np.pi - 0.12, 13)
    across, up = np.cos(angle), np.sin(angle)
    if kind == "apple":
        dent = draw.between(0.05, 0.3) * np.exp(-((across / 0.4) ** 2))
        profile = radius * np.stack([across, draw.between(0.8, 1.05) * up * (1.0 - dent)], axis=1)
        return [solid(revolve(profile), rgb)]
    if kind == "pear":
        waist = draw.between(0.35, 0.7)
        width = across * (1.0 - (1.0 - waist) * (0.5 + 0.5 * up) ** draw.between(0.7, 1.4))
        profile = radius * np.stack([width, draw.between(1.2, 1.7) * up], axis=1)
        return [solid(revolve(profile), rgb, cuts=(6, 9))]
    if kind == "lemon":
        pointed = draw.between(0.8, 1.5)
        profile = radius * np.stack([across**pointed, draw.between(1.15, 1.6) * up], axis=1)
    else:
        taper = draw.between(0.15, 0.6)
        width = across**0.5 * (0.5 * (1.0 + taper) - 0.5 * (1.0 - taper) * up)
        profile = 0.6 * radius * np.stack([width, draw.between(2.5, 5.0) * up], axis=1)
    return [solid(revolve(profile), rgb).moved((0.0, 0.0, radius), Z_TO_X)]


def _banana(draw: Draw, rgb: tuple[int, int, int]) -> Body:
    radius, length = draw.ratio(0.012, 0.022), draw.ratio(0.09, 0.19)
    bend = draw.between(0.5, 1.7)
    level = np.linspace(-1.0, 1.0, 13)
    angle = 0.5 * bend * level
    path = length / bend * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=1)
    thickness = (1.0 - np.abs(level) ** draw.between(2.5, 6.0)) ** 0.5
    scales = np.maximum(thickness, draw.between(0.15, 0.4))
    outline = superellipse(radius, radius * draw.between(0.85, 1.0), draw.between(0.8, 1.2), num=12)
    # Swept in the XZ plane, then laid down on its side.
    return solid(sweep(path, outline, scales), rgb, cuts=(2, 4, 6, 8, 10)).moved((0.0, 0.0, 0.0), Y_TO_Z.T)


def superquadric(draw: Draw) -> list[Body]:
    """Superellipsoids from pillow to diamond, with exponents up to 1.7 and all three extents different (Barr 1981)."""
    half = np.array([draw.ratio(0.013, 0.05) for _ in range(3)])
    upright, around = draw.between(0.25, 1.7), draw.between(0.25, 1.7)
    angle = np.linspace(-0.5 * np.pi + 0.1, 0.5 * np.pi - 0.1, 13)
    scales = np.cos(angle) ** upright
    heights = half[2] * (1.0 + np.sign(angle) * np.abs(np.sin(angle)) ** upright)
    return [solid(stack(superellipse(half[0], half[1], around), scales, heights), draw.color())]


def thin(draw: Draw) -> list[Body]:
    """Cards, rulers, discs, phones and booklets: 0.8 to 16 mm thick, lying flat."""
    rgb = draw.color()
    kind = draw.kind(("card", "ruler", "disc", "phone", "booklet"))
    if kind == "disc":
        radius, thick = draw.ratio(0.012, 0.06), draw.ratio(0.0012, 0.009)
        return [solid(revolve([(radius, 0.0), (radius, thick)]), rgb)]
    if kind == "card":
        width, aspect, thick = draw.between(0.03, 0.075), draw.between(1.1, 1.8), draw.ratio(0.0008, 0.003)
    elif kind == "ruler":
        width, aspect, thick = draw.between(0.015, 0.04), draw.between(4.0, 6.5), draw.ratio(0.0015, 0.006)
    elif kind == "phone":
        width, aspect, thick = draw.between(0.045, 0.08), draw.between(1.7, 2.3), draw.between(0.006, 0.013)
    else:
        width, aspect, thick = draw.between(0.06, 0.13), draw.between(1.2, 1.6), draw.ratio(0.004, 0.016)
    length = min(width * aspect, 0.21)
    corner = width * draw.between(0.02, 0.2)
    bevel = thick * draw.between(0.1, 0.4)
    outline = rounded_rectangle(length, width, corner)
    scales = (1.0 - 2.0 * bevel / length, 1.0, 1.0, 1.0 - 2.0 * bevel / length)
    return [solid(stack(outline, scales, (0.0, bevel, thick - bevel, thick)), rgb)]


def soft_edge(draw: Draw) -> list[Body]:
    """Rounded boxes, soap and computer mice: no edge is sharp."""
    kind = draw.kind(("rounded", "soap", "mouse"))
    height = draw.ratio(0.018, 0.065)
    width = max(height * draw.between(0.9, 2.2), 0.025)
    size = np.array([min(width * draw.between(1.05, 2.0), 0.15), min(width, 0.1), height])
    if kind == "soap":
        outline = superellipse(size[0] / 2, size[1] / 2, draw.between(0.45, 0.95))
        rings = _pillow(outline, size, draw.between(0.4, 0.5) * height)
    else:
        corner = draw.between(0.25, 0.48) * size[1]
        rings = _pillow(rounded_rectangle(size[0], size[1], corner), size, draw.between(0.2, 0.45) * height)
    if kind == "mouse":
        peak = draw.between(-0.25, 0.1) * size[0]
        fall = draw.between(0.35, 0.7) * ((rings[..., 0] - peak) / size[0]) ** 2 * 2.0
        rings[..., 2] *= 1.0 - fall
    return [solid(rings, draw.color())]


def _pillow(outline: Points, size_m: Points, edge_m: float) -> Points:
    """Rings of an outline with edges rounded by `edge_m` (vertical), moved in along the outline's own axes."""
    angle = np.linspace(0.0, math.pi / 2, 5)
    inset = edge_m * (1.0 - np.sin(angle))
    height = edge_m * (1.0 - np.cos(angle))
    flat = np.array([0.6, 0.25])  # rings on the flat top, so that a mouse can have its hump there
    insets = np.concatenate([inset, inset[::-1], inset[:1], inset[:1]])
    heights = np.concatenate([height, size_m[2] - height[::-1], [size_m[2], size_m[2]]])
    rings = stack(outline, np.concatenate([np.ones(len(insets) - 2), flat]), heights)
    for axis in (0, 1):
        rings[:, :, axis] *= (1.0 - 2.0 * insets / size_m[axis])[:, None]
    return rings
