"""Low-poly meshes of robot links from their collision shapes: a renderer's cost is triangles, and links are hulls.

They are kept on disk by content: a simulator worker then does without the mesh library, which takes 50 MB.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.assets import content_hash, default_cache_dir
from simtoreal.envs.storage import load_arrays, save_arrays

if TYPE_CHECKING:
    import trimesh

_VERSION = 1  # of the meshes on disk
_BOX, _CYLINDER, _MESH, _SPHERE, _CAPSULE = 3, 4, 5, 2, 7  # PyBullet's GEOM_* numbers
_MAX_HULL_FACES = 120
ShapeData = tuple[int, Sequence[float], str, Sequence[float], Sequence[float]]


def link_mesh(shapes: Sequence[ShapeData]) -> tuple[NDArray[np.float64], NDArray[np.int32]] | None:
    """One mesh of all collision shapes of a link, in its inertial frame; None for a link without shape.

    Args:
        shapes: type, dimensions, file name, local position (3,) and quaternion (4,) of each, as PyBullet reports them.
    """
    path = default_cache_dir() / "links" / f"{_digest(shapes)}-v{_VERSION}.npz"
    stored = load_arrays(path)
    if stored is None:
        vertices, faces = _build(shapes)
        stored = {"vertices_m": vertices, "faces": faces}
        with contextlib.suppress(OSError):  # without a place to keep them, they are built every time
            save_arrays(path, stored)
    corners = stored["faces"].astype(np.int32)
    return (stored["vertices_m"], corners) if len(corners) else None


def _digest(shapes: Sequence[ShapeData]) -> str:
    files = [Path(shape[2]).read_bytes() for shape in shapes if shape[0] == _MESH and shape[2]]
    return content_hash([*files, *(repr((kind, sizes, position, quat)) for kind, sizes, _, position, quat in shapes)])


def _build(shapes: Sequence[ShapeData]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import trimesh

    parts = [mesh for shape in shapes if (mesh := _shape_mesh(shape)) is not None]
    if not parts:
        return np.zeros((0, 3)), np.zeros((0, 3))
    whole = cast(trimesh.Trimesh, trimesh.util.concatenate(parts))
    return np.asarray(whole.vertices, dtype=np.float64), np.asarray(whole.faces, dtype=np.float64)


def _shape_mesh(shape: ShapeData) -> "trimesh.Trimesh | None":
    import trimesh

    kind, dimensions, filename, position_m, quat_xyzw = shape
    if kind == _BOX:
        mesh: trimesh.Trimesh = trimesh.creation.box(dimensions)
    elif kind in (_CYLINDER, _CAPSULE):
        mesh = trimesh.creation.cylinder(dimensions[1], dimensions[0], sections=12)
    elif kind == _SPHERE:
        mesh = trimesh.creation.icosphere(1, dimensions[0])
    elif kind == _MESH and filename:
        mesh = _hull(filename)
        mesh.apply_scale(dimensions)
    else:
        return None
    mesh.apply_transform(frames.from_quat(position_m, quat_xyzw))
    return mesh


def _hull(filename: str) -> "trimesh.Trimesh":
    import trimesh

    hull: trimesh.Trimesh = cast(trimesh.Trimesh, trimesh.load(filename, force="mesh")).convex_hull
    if len(hull.faces) > _MAX_HULL_FACES:
        hull = hull.simplify_quadric_decimation(face_count=_MAX_HULL_FACES)
    return hull
