"""Low-poly meshes of robot links from their collision shapes: a renderer's cost is triangles, and links are hulls."""

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import trimesh
from numpy.typing import NDArray

from simtoreal import frames

_BOX, _CYLINDER, _MESH, _SPHERE, _CAPSULE = 3, 4, 5, 2, 7  # PyBullet's GEOM_* numbers
_MAX_HULL_FACES = 120
ShapeData = tuple[int, Sequence[float], str, Sequence[float], Sequence[float]]


def link_mesh(shapes: Sequence[ShapeData]) -> tuple[NDArray[np.float64], NDArray[np.int32]] | None:
    """One mesh of all collision shapes of a link, in its inertial frame; None for a link without shape.

    Args:
        shapes: type, dimensions, file name, local position (3,) and quaternion (4,) of each, as PyBullet reports them.
    """
    parts = [mesh for shape in shapes if (mesh := _shape_mesh(shape)) is not None]
    if not parts:
        return None
    whole = cast(trimesh.Trimesh, trimesh.util.concatenate(parts))
    return np.asarray(whole.vertices, dtype=np.float64), np.asarray(whole.faces, dtype=np.int32)


def _shape_mesh(shape: ShapeData) -> trimesh.Trimesh | None:
    kind, dimensions, filename, position_m, quat_xyzw = shape
    if kind == _BOX:
        mesh: trimesh.Trimesh = trimesh.creation.box(dimensions)
    elif kind in (_CYLINDER, _CAPSULE):
        mesh = trimesh.creation.cylinder(dimensions[1], dimensions[0], sections=12)
    elif kind == _SPHERE:
        mesh = trimesh.creation.icosphere(1, dimensions[0])
    elif kind == _MESH and filename:
        mesh = _hull(filename).copy()
        mesh.apply_scale(dimensions)
    else:
        return None
    mesh.apply_transform(frames.from_quat(position_m, quat_xyzw))
    return mesh


@lru_cache(maxsize=64)
def _hull(filename: str) -> trimesh.Trimesh:
    hull: trimesh.Trimesh = cast(trimesh.Trimesh, trimesh.load(filename, force="mesh")).convex_hull
    if len(hull.faces) > _MAX_HULL_FACES:
        hull = hull.simplify_quadric_decimation(face_count=_MAX_HULL_FACES)
    return hull
