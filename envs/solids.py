"""Geometry of closed triangle meshes: convex hulls, unions, volume and inertia, and hulls made ready for contact.

Hulls and unions come from manifold3d, which is exact about topology and needs no mesh library, so that a simulator
worker stays small. Vertices are float64 metres, faces int32, counter-clockwise seen from outside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import manifold3d
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Faces = NDArray[np.int32]
MAX_HULL_VERTICES = 200  # Bullet looks at every vertex of a hull for each contact query
HULL_TOLERANCE_M = 0.0001
CONTACT_MARGIN_M = 0.001  # Bullet's collision margin around convex hulls, outside of them


class Mesh(NamedTuple):
    """A triangle mesh."""

    vertices_m: Points  # (V, 3)
    faces: Faces  # (F, 3)


class MassProperties(NamedTuple):
    """Of a solid of density one; multiply volume and inertia by the real density."""

    volume_m3: float
    center_m: Points  # (3,)
    inertia_m5: Points  # (3, 3) about the centre


def mass_properties(mesh: Mesh) -> MassProperties:
    """Volume, centre and inertia of the inside of a closed mesh, as a sum over tetrahedra to the origin.

    The volume is negative where the faces are turned inside out, and meaningless where the mesh is not closed.
    """
    corners = mesh.vertices_m[mesh.faces]  # (F, 3 corners, 3)
    volumes = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0
    volume = float(volumes.sum())
    if volume == 0.0:
        return MassProperties(0.0, mesh.vertices_m.mean(axis=0), np.zeros((3, 3)))
    sums = corners.sum(axis=1)
    center = volumes @ sums / 4.0 / volume
    # Second moments of a tetrahedron with one corner at the origin: V / 20 (s s^T + sum over corners of c c^T).
    second = np.einsum("f,fi,fj->ij", volumes, sums, sums) + np.einsum("f,fci,fcj->ij", volumes, corners, corners)
    second = second / 20.0 - volume * np.outer(center, center)
    return MassProperties(volume, center, np.trace(second) * np.eye(3) - second)


def convex_hull(points_m: Points, max_vertices: int = MAX_HULL_VERTICES) -> Mesh:
    """Convex hull of points (P, 3), of at most so many vertices; empty if the points lie in a plane."""
    hull = _hull(points_m)
    return hull if len(hull.vertices_m) <= max_vertices else _coarse_hull(hull.vertices_m, max_vertices)


def _coarse_hull(points_m: Points, max_vertices: int) -> Mesh:
    """Hull of the `max_vertices` points that matter most: those farthest outside of the hull of the others."""
    chosen = np.unique(np.argmax(points_m @ _COMPASS.T, axis=0))
    while True:
        hull = _hull(points_m[chosen])
        normals = _face_normals(hull)
        outside = normals @ points_m.T - np.sum(normals * hull.vertices_m[hull.faces[:, 0]], axis=1)[:, None]  # (F, V)
        farthest = np.argmax(outside, axis=1)
        gaps = outside[np.arange(len(farthest)), farthest]
        ranked = farthest[np.argsort(-gaps)][: np.count_nonzero(gaps > HULL_TOLERANCE_M)]
        first = ranked[np.sort(np.unique(ranked, return_index=True)[1])]
        room = max_vertices - len(chosen)
        if not len(first) or room <= 0:
            return hull
        chosen = np.concatenate([chosen, first[:room]])


def shrink_for_contact(hull: Mesh) -> Mesh:
    """Moves the faces of a convex hull inwards by Bullet's margin, so that contact happens where the surface is drawn.

    A part thinner than three margins loses a third of its thickness on each side: a card of 0.8 mm then feels 2.3 mm
    thick.
    """
    normals = _face_normals(hull)
    heights = normals @ hull.vertices_m.T  # (F, V)
    thickness = float(np.min(np.ptp(heights, axis=1)))
    distance = min(CONTACT_MARGIN_M, thickness / 3.0)
    touches = (heights.max(axis=1, keepdims=True) - heights < 1e-7).astype(np.float64)  # (F, V)
    outer = np.einsum("fv,fi,fj->vij", touches, normals, normals)
    # The smallest motion of a vertex that moves all of its planes by one; least squares where more than three meet.
    steps = np.linalg.solve(outer + 1e-3 * np.eye(3), (touches.T @ normals)[..., None])[..., 0]
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    steps *= np.minimum(1.0, 2.0 / np.maximum(lengths, 1e-9))  # a needle's tip would otherwise fly past the middle
    return convex_hull(hull.vertices_m - distance * steps)


def union(meshes: Sequence[Mesh]) -> tuple[Mesh, NDArray[np.int32]]:
    """Union of closed meshes, and for each of its vertices the index of the mesh it came from.

    Vertices on a seam are there once for each of the two meshes, so that each keeps its colour.
    """
    if len(meshes) == 1:
        return meshes[0], np.zeros(len(meshes[0].vertices_m), dtype=np.int32)
    sources = [to_manifold(mesh).as_original() for mesh in meshes]
    merged = manifold3d.Manifold.batch_boolean(sources, manifold3d.OpType.Add).to_mesh64()
    ids = {source.original_id(): index for index, source in enumerate(sources)}
    starts = np.asarray(merged.run_index, dtype=np.int64)
    num_faces = (starts[1:] - starts[:-1]) // 3
    face_source = np.repeat([ids[original] for original in merged.run_original_id], num_faces)
    corners = np.asarray(merged.tri_verts, dtype=np.int64)
    keys, faces = np.unique(corners * len(meshes) + face_source[:, None], return_inverse=True)
    vertices = np.asarray(merged.vert_properties[:, :3], dtype=np.float64)[keys // len(meshes)]
    return Mesh(vertices, faces.reshape(-1, 3).astype(np.int32)), (keys % len(meshes)).astype(np.int32)


def _face_normals(mesh: Mesh) -> Points:
    a, b, c = (mesh.vertices_m[mesh.faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15))


def is_closed(mesh: Mesh) -> bool:
    """Whether a mesh bounds a solid: every edge belongs to two triangles that agree on what is outside."""
    return bool(len(mesh.faces)) and to_manifold(mesh).status() == manifold3d.Error.NoError


def to_manifold(mesh: Mesh) -> manifold3d.Manifold:
    """A mesh as a solid; its `status()` says whether the mesh is closed."""
    return manifold3d.Manifold(
        manifold3d.Mesh64(np.ascontiguousarray(mesh.vertices_m), np.ascontiguousarray(mesh.faces, dtype=np.uint64))
    )


def _hull(points_m: Points) -> Mesh:
    return from_manifold(manifold3d.Manifold.hull_points(np.ascontiguousarray(points_m, dtype=np.float64)))


def from_manifold(manifold: manifold3d.Manifold) -> Mesh:
    """The surface of a solid."""
    out = manifold.to_mesh64()
    vertices = np.array(out.vert_properties[:, :3], dtype=np.float64).reshape(-1, 3)
    return Mesh(vertices, np.array(out.tri_verts, dtype=np.int32).reshape(-1, 3))


_COMPASS = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], dtype=float)
