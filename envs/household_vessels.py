"""Household objects with an axis: cans, bottles, bowls, cups and mugs, plates, tubes. All stand on z = 0, in metres."""

import math

import numpy as np

from simtoreal.envs.household_draw import Draw
from simtoreal.envs.household_shapes import (
    Z_TO_X,
    Body,
    Profile,
    Rgb,
    pipe,
    revolve,
    solid,
    stack,
    superellipse,
    sweep,
    vessel,
)
from simtoreal.envs.solids import Points

LEVELS = np.array([0.0, 0.06, 0.2, 0.4, 0.7, 1.0])  # of a curved wall, dense where a bowl turns into its floor


def can(draw: Draw) -> list[Body]:
    """Drinks can, tin, spice jar: a cylinder with a pressed-in foot and shoulder, or with a lid of its own."""
    radius = draw.ratio(0.018, 0.044)
    height = min(2.0 * radius * draw.ratio(0.45, 2.8), 0.19)
    edge = min(draw.between(0.001, 0.008), 0.2 * height, 0.3 * radius)
    body_rgb, lid_rgb = draw.color(), draw.color()
    slope = edge * draw.between(0.4, 1.0)
    if draw.chance(0.3):
        lid = min(draw.between(0.008, 0.02), 0.4 * height)
        rings = revolve([(radius - slope, 0.0), (radius, edge), (radius, height - lid)])
        over = radius + draw.between(0.0005, 0.0025)
        top = revolve([(over, height - lid), (over, height - 0.001), (over - 0.001, height)])
        return [solid(rings, body_rgb), solid(top, lid_rgb)]
    profile = [(radius - slope, 0.0), (radius, edge), (radius, height - edge), (radius - slope, height)]
    return [solid(revolve(profile), body_rgb)]


def bottle(draw: Draw) -> list[Body]:
    """Body, shoulder, neck and cap; round, oval or square below, waisted sometimes, from dropper to water bottle."""
    height = draw.ratio(0.09, 0.22)
    radius = min(max(height * draw.between(0.13, 0.24), 0.016), 0.042)
    neck_radius = max(radius * draw.between(0.25, 0.6), 0.007)
    cap_height, neck_height = draw.between(0.012, 0.026), draw.between(0.004, 0.02)
    body_top = (height - cap_height - neck_height) * draw.between(0.62, 0.92)
    shoulder_top = height - cap_height - neck_height
    levels = np.array([0.0, 0.003, 0.33 * body_top, 0.66 * body_top, body_top])
    waist = draw.between(0.78, 0.95) if draw.chance(0.3) else 1.0
    widths = np.array([0.92, 1.0, waist, waist, 1.0])
    bend = draw.between(0.6, 1.6)  # below one the shoulder is round, above one it is hollow
    rise = np.array([0.3, 0.6, 1.0])
    outline = _bottle_outline(draw, radius)
    neck = superellipse(neck_radius, neck_radius, num=len(outline))
    blend = np.concatenate([np.zeros(5), rise**bend, [1.0]])[:, None, None]
    heights = [*levels, *(body_top + rise * (shoulder_top - body_top)), shoulder_top + neck_height + 0.001]
    rings = stack(outline, [*widths, 1.0, 1.0, 1.0, 1.0], heights)
    rings[:, :, :2] = (1.0 - blend) * rings[:, :, :2] + blend * neck
    cuts = (2, 3, 4, 5, 6, 7) if waist < 1.0 or bend > 1.0 else (4, 7)
    cap_radius = neck_radius + draw.between(0.001, 0.004)
    cap = revolve([(cap_radius, 0.0), (cap_radius, cap_height - 0.001), (cap_radius - 0.001, cap_height)])
    body_rgb, cap_rgb = draw.color(), draw.color()
    return [solid(rings, body_rgb, cuts), solid(cap, cap_rgb).moved((0.0, 0.0, height - cap_height))]


def _bottle_outline(draw: Draw, radius_m: float) -> Points:
    kind = draw.kind(("round", "round", "oval", "square"))
    flat = draw.between(0.5, 0.85)
    corner = draw.between(0.3, 0.7)
    if kind == "oval":
        return superellipse(radius_m, radius_m * flat)
    if kind == "square":
        return superellipse(radius_m, radius_m * max(flat, 0.7), corner)
    return superellipse(radius_m, radius_m)


def bowl(draw: Draw) -> list[Body]:
    """Open, wider than high, with a wall of 2.5 to 6 mm that a gripper can pinch."""
    rim = draw.ratio(0.04, 0.085)
    height = rim * draw.between(0.5, 1.1)
    wall_m, floor_m = draw.between(0.0025, 0.006), draw.between(0.003, 0.006)
    foot, bend = draw.between(0.35, 0.65), draw.between(0.4, 0.85)
    curve = foot + (1.0 - foot) * LEVELS**bend
    outer = np.stack([rim * curve, height * LEVELS], axis=1)
    inner = np.stack([(rim - wall_m) * curve, floor_m + (height - floor_m) * LEVELS], axis=1)
    return [vessel(Profile(outer, inner), draw.color(), cuts=(1, 3))]


def mug(draw: Draw) -> list[Body]:
    """Cup, tumbler or mug: straight, conical or barrelled, with a handle in two of three."""
    top = draw.ratio(0.03, 0.046)
    height = 2.0 * top * draw.between(0.75, 1.5)
    wall_m, floor_m = draw.between(0.0025, 0.0055), draw.between(0.004, 0.008)
    base = draw.between(0.62, 1.0)
    belly = draw.between(0.02, 0.12) if draw.chance(0.35) else 0.0
    outer = _mug_side(np.array([top, height, 0.0]), base, belly)
    inner = _mug_side(np.array([top - wall_m, height - floor_m, floor_m]), base, belly)
    wall = Profile(outer, inner)
    rgb = draw.color()
    body = vessel(wall, rgb, cuts=(3,) if belly else ())
    return [body, _handle(draw, wall, rgb)] if draw.chance(0.67) else [body]


def _mug_side(size_m: Points, base: float, belly: float) -> Points:
    """Profile (L, 2) of a side with (radius at the top, height, offset), narrowing to `base` below."""
    level = np.linspace(0.0, 1.0, 6) if belly else np.array([0.0, 1.0])
    radius = size_m[0] * (base + (1.0 - base) * level + belly * np.sin(np.pi * level))
    return np.stack([radius, size_m[2] + size_m[1] * level], axis=1)


def _handle(draw: Draw, wall: Profile, rgb: Rgb) -> Body:
    """An ear whose ends lie inside the wall."""
    height = wall.outer_m[-1, 1]
    low, high = height * draw.between(0.14, 0.3), height * draw.between(0.7, 0.88)
    reach, bend = draw.between(0.022, 0.036), draw.between(0.55, 1.0)
    thick, wide = draw.between(0.003, 0.0055), draw.between(0.0035, 0.008)
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 11)
    across, along = np.abs(np.cos(angle)) ** bend, np.sign(angle) * np.abs(np.sin(angle)) ** bend
    across[[0, -1]] = 0.0
    z = (low + high) / 2 + (high - low) / 2 * along
    outer, inner = (np.interp(z, side[:, 1], side[:, 0]) for side in wall)
    foot = (outer + inner) / 2
    path = np.stack([foot + reach * across, z], axis=1)
    rings = sweep(path, superellipse(thick, wide, num=10), np.ones(len(path)))
    return solid(rings, rgb, cuts=(2, 4, 5, 6, 8))


def plate(draw: Draw) -> list[Body]:
    """Saucer to dinner plate: a flat well and a rim that rises at 15 to 50 degrees."""
    well = draw.ratio(0.03, 0.065)
    run = well * draw.between(0.3, 0.7)
    slope = draw.between(math.radians(15.0), math.radians(50.0))
    thick = draw.between(0.0025, 0.005)
    rise = run * math.tan(slope)
    outward = thick * np.array([-math.sin(slope), math.cos(slope)])
    rim = np.array([well + run, rise])
    outer = np.array([(0.94 * well, 0.0), (well, 0.001), rim])
    inner = np.array([(0.94 * well, thick), (well + 0.3 * outward[0], thick + 0.001), rim + outward])
    return [vessel(Profile(outer, inner), draw.color(), cuts=(1,))]


def tube(draw: Draw) -> list[Body]:
    """Hollow pipes and rolls, and solid pens and markers; pens lie, of the hollow ones every second stands."""
    if draw.chance(0.4):
        return _pen(draw)
    radius = draw.ratio(0.008, 0.05)
    length = min(max(2.0 * radius * draw.ratio(0.4, 6.0), 0.015), 0.2)
    inside = radius * draw.between(0.55, 0.88)
    inside = min(inside, radius - 0.0018)
    ends = np.array([(1.0, 0.0), (1.0, length)])
    body = pipe(Profile(ends * (radius, 1.0), ends * (inside, 1.0)), draw.color())
    return [body] if draw.chance(0.5) else [body.moved((0.0, 0.0, radius), Z_TO_X)]


def _pen(draw: Draw) -> list[Body]:
    radius, length = draw.ratio(0.0035, 0.0125), draw.ratio(0.09, 0.17)
    tip, cap = draw.between(0.008, 0.02), length * draw.between(0.2, 0.45)
    num = 6 if draw.chance(0.3) else 16
    point = draw.between(0.15, 0.6)
    barrel = revolve([(radius, 0.0), (radius, length - tip), (radius * point, length)], num)
    over = radius + draw.between(0.0005, 0.0015)
    sleeve = revolve([(0.8 * over, -0.001), (over, 0.0), (over, cap)], num)
    body_rgb, cap_rgb = draw.color(), draw.color()
    return [part.moved((0.0, 0.0, over), Z_TO_X) for part in (solid(barrel, body_rgb), solid(sleeve, cap_rgb))]
