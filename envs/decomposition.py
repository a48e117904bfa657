"""Approximate convex decomposition of any triangle mesh, for collision.

A closed mesh is cleaned and made coarse by manifold3d; one with holes is first closed on a grid of voxels. CoACD (Wei
et al., SIGGRAPH 2022, doi:10.1145/3528223.3530103) then cuts it. It runs in a process of its own: a mesh on which it
crashes or never ends costs one object, not the run.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from simtoreal.envs.mesh_reading import Surface, decimate
from simtoreal.envs.solids import Mesh, Points, convex_hull, from_manifold, mass_properties, to_manifold

NEARLY_CONVEX_FRAC = 0.95  # volume over volume of the hull
NUM_FACES = 1500  # CoACD's time grows with them; features below a millimetre do not matter
NUM_VOXELS = 56  # along the longest side
MAX_TOLERANCE_FRAC = 0.006  # of it: a third of a voxel, so that a thin wall is not simplified away
MAX_HULL_VERTICES = 64
MAX_HULLS = 24
TIME_LIMIT_S = 60.0
_WORKER = Path(__file__).with_name("coacd_process.py")


class Decomposition(NamedTuple):
    """Convex parts of a mesh, and a remark if they are cruder than asked for."""

    hulls: tuple[Mesh, ...]
    note: str


def decompose(mesh: Mesh) -> Decomposition:
    """Splits a mesh in metres into at most `MAX_HULLS` convex parts; one that is nearly convex becomes its hull.

    Raises:
        ValueError: the mesh is flat: it has no inside at all.
    """
    hull = convex_hull(mesh.vertices_m)
    hull_volume = mass_properties(hull).volume_m3 if len(hull.faces) else 0.0
    if hull_volume <= 1e-10:
        raise ValueError("has no volume: all of its vertices lie in a plane")
    solid = _as_solid(mesh)
    if solid is not None and solid.volume() > NEARLY_CONVEX_FRAC * hull_volume:
        return Decomposition((hull,), "")
    solid = _simplify(solid or _closed_on_voxels(mesh))
    if solid.is_empty() or solid.volume() > NEARLY_CONVEX_FRAC * hull_volume:
        return Decomposition((hull,), "")
    parts, note = _run_coacd(from_manifold(solid))
    hulls = tuple(part for part in (convex_hull(points, MAX_HULL_VERTICES) for points in parts) if len(part.faces))
    return Decomposition(hulls or (hull,), note)


def _as_solid(mesh: Mesh) -> manifold3d.Manifold | None:
    """The mesh as a clean solid, overlapping shells united; None if it is not closed."""
    if not len(mesh.faces):
        return None
    solid = to_manifold(mesh)
    if solid.status() != manifold3d.Error.NoError or solid.is_empty():
        return None
    if solid.volume() < 0.0:
        solid = to_manifold(Mesh(mesh.vertices_m, mesh.faces[:, ::-1]))
    shells = [shell for shell in solid.decompose() if shell.volume() > 0.0]
    # A shell that is turned inwards is a cavity; only a mesh without any can be put together from its shells.
    is_plain = len(shells) > 1 and sum(shell.volume() for shell in shells) <= solid.volume() * (1.0 + 1e-6)
    return manifold3d.Manifold.batch_boolean(shells, manifold3d.OpType.Add) if is_plain else solid


def _simplify(solid: manifold3d.Manifold) -> manifold3d.Manifold:
    """The solid with about `NUM_FACES` triangles, or as few as can be had without eating away thin walls."""
    low, high = np.split(np.asarray(solid.bounding_box()), 2)
    tolerance_m = 5e-4 * float(np.max(high - low))
    while solid.num_tri() > NUM_FACES and tolerance_m < MAX_TOLERANCE_FRAC * float(np.max(high - low)):
        solid = solid.simplify(tolerance_m)
        tolerance_m *= 1.5
    if solid.num_tri() <= NUM_FACES:
        return solid
    fewer = to_manifold(decimate(Surface(from_manifold(solid), None), NUM_FACES).mesh)
    is_same = fewer.status() == manifold3d.Error.NoError and abs(fewer.volume() / solid.volume() - 1.0) < 0.05
    return fewer if is_same else solid


def _closed_on_voxels(mesh: Mesh) -> manifold3d.Manifold:
    """A closed solid around an open surface: what cannot be reached from outside through gaps of a voxel is inside."""
    low = mesh.vertices_m.min(axis=0)
    voxel_m = float(np.ptp(mesh.vertices_m, axis=0).max()) / NUM_VOXELS
    cells = np.floor((_surface_points(mesh, 0.4 * voxel_m) - low) / voxel_m).astype(np.int64) + 3
    surface = np.zeros(cells.max(axis=0) + 4, dtype=bool)
    surface[tuple(cells.T)] = True
    regions, _ = ndimage.label(~surface)
    inside = ~surface & (regions != regions[0, 0, 0])
    # A wall around an inside is put through the middle of its cells; a sheet without one needs a thickness of its own.
    half_wall = np.where(ndimage.binary_dilation(inside, iterations=2), 0.1, 0.6)
    distance = ndimage.distance_transform_edt(~surface)
    depth = (half_wall + np.where(inside, distance, -distance)) * voxel_m
    origin = low - 2.5 * voxel_m  # centre of cell 0
    size = origin + (np.asarray(depth.shape) - 1) * voxel_m
    return manifold3d.Manifold.level_set(_sampler(depth, origin, voxel_m), [*origin, *size], voxel_m)


def _sampler(field: NDArray[np.float64], origin_m: Points, voxel_m: float) -> Callable[[float, float, float], float]:
    """Trilinear interpolation in plain Python: the level set asks for one point at a time, 200,000 times."""
    num_x, num_y, num_z = field.shape
    values: list[float] = field.ravel().tolist()
    x0, y0, z0 = (float(value) for value in origin_m)
    step_x, step_y, per_m = num_y * num_z, num_z, 1.0 / voxel_m

    def sample(x: float, y: float, z: float) -> float:
        u = min(max((x - x0) * per_m, 0.0), num_x - 1.001)
        v = min(max((y - y0) * per_m, 0.0), num_y - 1.001)
        w = min(max((z - z0) * per_m, 0.0), num_z - 1.001)
        i, j, k = int(u), int(v), int(w)
        u, v, w = u - i, v - j, w - k
        a = i * step_x + j * step_y + k
        b, c, d = a + step_x, a + step_y, a + step_x + step_y
        low = (values[a] * (1 - u) + values[b] * u) * (1 - v) + (values[c] * (1 - u) + values[d] * u) * v
        high = (values[a + 1] * (1 - u) + values[b + 1] * u) * (1 - v)
        high += (values[c + 1] * (1 - u) + values[d + 1] * u) * v
        value: float = low * (1 - w) + high * w
        return value

    return sample


def _surface_points(mesh: Mesh, spacing_m: float) -> Points:
    """Points (P, 3) on the surface, no farther apart than about the spacing: a lattice on each triangle."""
    corners = mesh.vertices_m[mesh.faces]  # (F, 3, 3)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    counts = np.clip(np.ceil(longest / spacing_m).astype(np.int64), 1, 200)
    points = []
    for count in np.unique(counts):
        i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1))
        inside = i + j <= count
        weights = np.stack([count - i[inside] - j[inside], i[inside], j[inside]], axis=1) / count
        points.append(np.einsum("wc,fcx->fwx", weights, corners[counts == count]).reshape(-1, 3))
    return np.concatenate(points)


def _run_coacd(mesh: Mesh) -> tuple[list[Points], str]:
    """Convex point sets from CoACD, or the whole mesh as one with a remark."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, vertices=mesh.vertices_m, faces=mesh.faces)
        command = [sys.executable, "-P", str(_WORKER), str(source), str(result), str(MAX_HULLS)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        try:
            subprocess.run(command, env=environment, capture_output=True, timeout=TIME_LIMIT_S, check=True)
            with np.load(result, allow_pickle=False) as parts:
                return [np.asarray(parts[name], dtype=np.float64) for name in parts.files], ""
        except subprocess.TimeoutExpired:
            reason = f"took longer than {TIME_LIMIT_S:.0f} s"
        except (subprocess.CalledProcessError, OSError) as error:
            reason = f"failed ({error.__class__.__name__})"
    return [mesh.vertices_m], f"convex decomposition {reason}; collides as its convex hull"
