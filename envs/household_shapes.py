"""Building blocks of the household objects: outlines, lofts and shells that know their own convex parts.

Everything is a loft: rings of points, one above the other, joined by triangles. Because the generator knows where a
loft is convex, collision shapes need no decomposition: a bottle is a stack of frusta, a bowl rings of wedges.
Outlines run counter-clockwise seen from the direction in which the rings follow one another.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from simtoreal.envs.solids import Mesh, Points

Rgb = tuple[int, int, int]
NUM_AROUND = 24  # points of a round outline
NUM_AROUND_HOLLOW = 32  # of a hollow one, a multiple of the wedges
NUM_WEDGES = 16  # convex wedges around a hollow wall; half as many where that is accurate to 2 mm
NARROW_M = 0.025


class Body(NamedTuple):
    """One closed surface in one colour, and the convex pieces that it is made of."""

    mesh: Mesh
    parts: tuple[Points, ...]  # each (P, 3), the hull of which collides
    rgb: Rgb = (160, 160, 160)

    def moved(self, offset_m: ArrayLike, R: ArrayLike | None = None) -> "Body":
        """The same body turned by R (3, 3), then shifted by an offset (3,) in metres."""
        turn = np.eye(3) if R is None else np.asarray(R, dtype=np.float64)
        shift = np.asarray(offset_m, dtype=np.float64)
        mesh = Mesh(self.mesh.vertices_m @ turn.T + shift, self.mesh.faces)
        return Body(mesh, tuple(part @ turn.T + shift for part in self.parts), self.rgb)


class Profile(NamedTuple):
    """The wall of a hollow solid of revolution: outer and inner surface, from the bottom to the rim, as (L, 2) r, z."""

    outer_m: Points
    inner_m: Points


Z_TO_X = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # lays a standing body down along +X
Z_TO_Y = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # lays it down along +Y
Y_TO_Z = Z_TO_Y.T  # stands up what was drawn flat


def superellipse(half_x_m: float, half_y_m: float, roundness: float = 1.0, num: int = NUM_AROUND) -> Points:
    """Outline (num, 2): an ellipse at roundness 1, nearing a rectangle at 0 and a diamond at 2 (Barr 1981)."""
    angle = 2.0 * np.pi * np.arange(num) / num
    return np.stack([half_x_m * _power(np.cos(angle), roundness), half_y_m * _power(np.sin(angle), roundness)], axis=1)


def rounded_rectangle(size_x_m: float, size_y_m: float, corner_m: float, num_corner: int = 5) -> Points:
    """Outline (4 * num_corner, 2) of a rectangle with round corners, centred."""
    corner = min(corner_m, 0.499 * size_x_m, 0.499 * size_y_m)
    angle = np.linspace(0.0, np.pi / 2, num_corner)
    arc = corner * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    center = np.array([size_x_m / 2 - corner, size_y_m / 2 - corner])
    quarters = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    outline = []
    for index, sign in enumerate(quarters):
        turned = arc @ np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), index)
        outline.append(turned + center * sign)
    return np.concatenate(outline)


def rectangle(size_x_m: float, size_y_m: float) -> Points:
    """Outline (4, 2) of a rectangle, centred."""
    x, y = size_x_m / 2, size_y_m / 2
    return np.array([(x, -y), (x, y), (-x, y), (-x, -y)])


def stack(outline: Points, scales: ArrayLike, heights_m: ArrayLike) -> Points:
    """Rings (L, N, 3): one outline (N, 2) scaled by each of `scales` (L,) at each of `heights_m` (L,)."""
    scale, height = np.asarray(scales, dtype=np.float64), np.asarray(heights_m, dtype=np.float64)
    rings = np.empty((len(scale), len(outline), 3))
    rings[:, :, :2] = scale[:, None, None] * outline
    rings[:, :, 2] = height[:, None]
    return rings


def revolve(profile_m: ArrayLike, num: int = NUM_AROUND) -> Points:
    """Rings (L, num, 3) of a profile (L, 2) of radius and height, turned about +Z."""
    profile = np.asarray(profile_m, dtype=np.float64)
    return stack(superellipse(1.0, 1.0, num=num), profile[:, 0], profile[:, 1])


def sweep(path_m: Points, outline: Points, scales: ArrayLike) -> Points:
    """Rings (L, N, 3): an outline (N, 2) carried along a path (L, 2) in the XZ plane; outline x stays in that plane."""
    path = np.asarray(path_m, dtype=np.float64)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    scale = np.asarray(scales, dtype=np.float64)[:, None]
    rings = np.empty((len(path), len(outline), 3))
    across = scale * outline[:, 0]
    rings[:, :, 0] = path[:, :1] + across * tangent[:, 1:]
    rings[:, :, 2] = path[:, 1:] - across * tangent[:, :1]
    rings[:, :, 1] = scale * outline[:, 1]
    return rings


def solid(rings: Points, rgb: Rgb, cuts: Sequence[int] = ()) -> Body:
    """A filled loft of rings (L, N, 3), convex between one of `cuts` (ring indices) and the next."""
    bounds = [0, *cuts, len(rings) - 1]
    parts = tuple(rings[low : high + 1].reshape(-1, 3) for low, high in itertools.pairwise(bounds) if high > low)
    return Body(_loft(rings, closed=False), parts, rgb)


def block(size_m: ArrayLike, center_m: ArrayLike, rgb: Rgb) -> Body:
    """A box of size (3,) around a centre (3,)."""
    x, y, z = np.asarray(size_m, dtype=np.float64)
    return solid(stack(rectangle(x, y), (1.0, 1.0), (-z / 2, z / 2)), rgb).moved(center_m)


def vessel(wall: Profile, rgb: Rgb, cuts: Sequence[int] = ()) -> Body:
    """A hollow body with a floor: cup, bowl, plate; its wall is straight between one of `cuts` and the next."""
    outer, inner = (revolve(side, NUM_AROUND_HOLLOW) for side in wall)
    mesh = _loft(np.concatenate([outer, inner[::-1]]), closed=False)
    floor = np.concatenate([outer[0], inner[0]])
    return Body(mesh, (floor, *_wedges(outer, inner, cuts)), rgb)


def pipe(wall: Profile, rgb: Rgb) -> Body:
    """A hollow solid of revolution that is open at both ends."""
    outer, inner = (revolve(side, NUM_AROUND_HOLLOW) for side in wall)
    return Body(_loft(np.concatenate([outer, inner[::-1]]), closed=True), tuple(_wedges(outer, inner, ())), rgb)


def _wedges(outer: Points, inner: Points, cuts: Sequence[int]) -> list[Points]:
    """Convex pieces of a wall between outer and inner rings (L, N, 3), cut at levels and into wedges around."""
    levels = [0, *cuts, len(outer) - 1]
    num_wedges = NUM_WEDGES if np.ptp(outer[:, :, 0]) > 2 * NARROW_M else NUM_WEDGES // 2
    step = outer.shape[1] // num_wedges
    wedges = []
    for low, high in itertools.pairwise(levels):
        for start in range(0, outer.shape[1], step):
            around = np.arange(start, start + step + 1) % outer.shape[1]
            ends = around[[0, -1]]
            wall = [outer[low : high + 1][:, around], inner[[low, high]][:, ends]]
            wedges.append(np.concatenate([ring.reshape(-1, 3) for ring in wall]))
    return wedges


def _loft(rings: Points, closed: bool) -> Mesh:
    """Joins rings (L, N, 3) into a closed mesh: with caps at both ends, or the last ring to the first."""
    num_rings, num = rings.shape[:2]
    lower = np.arange(num_rings if closed else num_rings - 1)[:, None] * num
    upper = (lower + num) % (num_rings * num)
    this, following = np.arange(num), (np.arange(num) + 1) % num
    a, b, c, d = (lower + this, lower + following, upper + this, upper + following)
    faces = np.concatenate([np.stack([a, b, d], axis=-1), np.stack([a, d, c], axis=-1)]).reshape(-1, 3)
    vertices = rings.reshape(-1, 3)
    if not closed:
        bottom, top = num_rings * num, num_rings * num + 1
        first, last = np.full(num, bottom), np.full(num, top)
        end = (num_rings - 1) * num
        caps = [np.stack([first, following, this], axis=1), np.stack([last, end + this, end + following], axis=1)]
        faces = np.concatenate([faces, *caps])
        vertices = np.concatenate([vertices, [rings[0].mean(axis=0), rings[-1].mean(axis=0)]])
    return Mesh(vertices, faces.astype(np.int32))


def _power(value: Points, exponent: float) -> Points:
    return np.asarray(np.sign(value) * np.abs(value) ** exponent)
