"""Hand tools and cutlery: a handle and a head, lying on the table along +X, in metres."""

import math

import numpy as np

from simtoreal.envs.household_draw import Draw
from simtoreal.envs.household_shapes import (
    Z_TO_X,
    Z_TO_Y,
    Body,
    block,
    rectangle,
    revolve,
    rounded_rectangle,
    solid,
    stack,
    superellipse,
)


def tool(draw: Draw) -> list[Body]:
    """Screwdriver, hammer, spatula, open-ended wrench, spoon or brush."""
    kinds = {
        "screwdriver": _screwdriver,
        "hammer": _hammer,
        "spatula": _spatula,
        "wrench": _wrench,
        "spoon": _spoon,
        "brush": _brush,
    }
    return kinds[draw.kind(tuple(kinds))](draw)


def _screwdriver(draw: Draw) -> list[Body]:
    grip, radius = draw.between(0.07, 0.11), draw.between(0.010, 0.018)
    shaft, thin = draw.between(0.05, 0.11), draw.between(0.0025, 0.005)
    waist = draw.between(0.6, 0.9)
    level = np.array([0.0, 0.06, 0.45, 0.75, 0.9, 1.0])
    width = radius * np.array([0.75, 1.0, 1.0, waist, waist + 0.08, 0.5])
    handle = solid(revolve(np.stack([width, grip * level], axis=1), num=16), draw.color(), cuts=(2, 3))
    tip = stack(superellipse(thin, thin, num=12), np.ones(3), (grip - 0.004, grip + 0.85 * shaft, grip + shaft))
    tip[2, :, 0] *= 0.25
    return [part.moved((0.0, 0.0, 0.0), Z_TO_X) for part in (handle, solid(tip, (150, 155, 160)))]


def _hammer(draw: Draw) -> list[Body]:
    length, radius = draw.between(0.13, 0.23), draw.between(0.009, 0.015)
    oval = draw.between(0.7, 1.0)
    handle = solid(stack(superellipse(radius, radius * oval, num=16), (1.0, 0.8), (0.0, length)), draw.color())
    reach, width = draw.between(0.06, 0.11), draw.between(0.02, 0.034)
    steel = (110, 112, 118)
    if draw.chance(0.4):  # mallet
        barrel = revolve([(0.75 * width, -reach / 2), (0.75 * width, reach / 2)])
        head = solid(barrel, draw.color()).moved((0, 0, 0), Z_TO_Y)
    else:
        peen = draw.between(0.2, 0.6)
        rings = stack(rounded_rectangle(width, width, 0.25 * width), np.ones(3), (-reach / 2, 0.1 * reach, reach / 2))
        rings[2, :, 1] *= peen
        head = solid(rings, steel).moved((0, 0, 0), Z_TO_Y)
    return [handle.moved((0.0, 0.0, 0.0), Z_TO_X), head.moved((length, 0.0, 0.0))]


def _spatula(draw: Draw) -> list[Body]:
    length, thick = draw.between(0.10, 0.15), draw.between(0.006, 0.013)
    handle = block((length, thick * draw.between(1.2, 2.2), thick), (length / 2, 0.0, thick / 2), draw.color())
    blade, width, sheet = draw.between(0.05, 0.085), draw.between(0.035, 0.075), draw.between(0.0018, 0.004)
    flare = draw.between(0.55, 1.0)
    outline = rectangle(blade, width)
    outline[outline[:, 0] < 0, 1] *= flare
    sheet_rings = stack(outline, (1.0, 1.0), (0.0, sheet))
    return [handle, solid(sheet_rings, draw.color()).moved((length + 0.45 * blade, 0.0, 0.0))]


def _wrench(draw: Draw) -> list[Body]:
    length, thick = draw.between(0.09, 0.18), draw.between(0.005, 0.011)
    width = draw.between(0.010, 0.02)
    rgb = draw.color() if draw.chance(0.3) else (140, 142, 148)
    shank = block((length, width, 0.8 * thick), (0.0, 0.0, thick / 2), rgb)
    jaw, ring = width * draw.between(0.5, 0.75), width * draw.between(0.75, 1.05)
    fork, spread = width * draw.between(1.0, 1.5), width * draw.between(0.45, 0.7)
    end = solid(stack(superellipse(ring, ring, num=16), (1.0, 1.0), (0.0, thick)), rgb).moved((-length / 2, 0.0, 0.0))
    base = block((0.8 * width, 2 * spread + jaw, thick), (length / 2 + 0.2 * width, 0.0, thick / 2), rgb)
    tines = [
        block((fork, jaw, thick), (length / 2 + 0.3 * width + fork / 2, side * spread, thick / 2), rgb)
        for side in (-1.0, 1.0)
    ]
    return [shank, end, base, *tines]


def _spoon(draw: Draw) -> list[Body]:
    length, thick = draw.between(0.09, 0.14), draw.between(0.0025, 0.005)
    width = draw.between(0.008, 0.014)
    rgb = draw.color() if draw.chance(0.5) else (170, 172, 176)
    outline = rectangle(length, width)
    outline[outline[:, 0] > 0, 1] *= draw.between(0.45, 0.8)
    handle = solid(stack(outline, (1.0, 1.0), (thick, 2 * thick)), rgb)
    half, wide, deep = draw.between(0.02, 0.034), draw.between(0.55, 0.8), draw.between(0.006, 0.012)
    scales = np.sin(np.linspace(0.15 * math.pi, 0.5 * math.pi, 4))
    heights = deep * (1.0 - np.cos(np.linspace(0.0, 0.5 * math.pi, 4)))
    head = solid(stack(superellipse(half, half * wide, num=20), scales, heights), rgb)
    return [handle, head.moved((length / 2 + 0.85 * half, 0.0, 0.0))]


def _brush(draw: Draw) -> list[Body]:
    length, width = draw.between(0.10, 0.16), draw.between(0.012, 0.024)
    thick, head = draw.between(0.008, 0.014), draw.between(0.04, 0.075)
    bristle, wide = draw.between(0.012, 0.03), draw.between(1.2, 2.4)
    outline = rounded_rectangle(length, width, 0.4 * width)
    handle = solid(stack(outline, (0.97, 1.0, 0.97), (0.0, thick / 2, thick)), draw.color())
    back = block((head, wide * width, thick), (length / 2 + 0.4 * head, 0.0, thick / 2), draw.color())
    hair = stack(rectangle(0.9 * head, 0.9 * wide * width), (0.92, 1.0), (-bristle, 0.001))
    return [handle, back, solid(hair, draw.color()).moved((length / 2 + 0.4 * head, 0.0, 0.0))]
