"""Meshes that a second physics engine is built from: convex parts of objects, and what links of an arm look like.

They are kept on disk by content, so that a simulator worker does without the mesh library.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from simtoreal.envs.assets import ObjectAsset, content_hash, default_cache_dir
from simtoreal.envs.solids import CONTACT_MARGIN_M, Mesh, convex_hull
from simtoreal.envs.storage import load_arrays, save_arrays
from simtoreal.envs.urdf_files import Geometry

_VERSION = 1  # of the meshes on disk
_MAX_PART_VERTICES = 64
_MAX_LINK_FACES = 900
_MAX_IN_MEMORY = 512  # objects; about 20 MB
_parts: OrderedDict[str, tuple[Mesh, ...]] = OrderedDict()


def convex_parts(asset: ObjectAsset) -> tuple[Mesh, ...]:
    """The convex parts (obj frame, scale one) whose union collides.

    They are kept apart: one hull around all of them would close every mug and every handle.
    """
    if asset.sha not in _parts:
        path = default_cache_dir() / "parts" / f"{asset.sha}-v{_VERSION}.npz"
        _parts[asset.sha] = _kept(path, lambda: _read_parts(asset))
        if len(_parts) > _MAX_IN_MEMORY:
            _parts.popitem(last=False)
    _parts.move_to_end(asset.sha)
    return _parts[asset.sha]


def contact_margin_m(asset: ObjectAsset) -> float:
    """How far contact happens outside of the parts: built objects are shrunk by the margin that Bullet adds."""
    return 0.0 if asset.group == "random" else CONTACT_MARGIN_M


def link_look(shape: Geometry) -> Mesh:
    """What a mesh of a link looks like, in few triangles, in the frame of its file times its scale."""
    return _link_mesh("look", _path(shape), shape.size)


def link_hull(shape: Geometry) -> Mesh:
    """The convex hull of a mesh of a link, likewise."""
    return _link_mesh("hull", _path(shape), shape.size)


def _path(shape: Geometry) -> Path:
    if shape.mesh_path is None:
        raise ValueError(f"a {shape.kind} has no mesh")
    return shape.mesh_path


@lru_cache(maxsize=128)
def _link_mesh(use: str, path: Path, scale: tuple[float, ...]) -> Mesh:
    key = content_hash([path.read_bytes(), repr((scale, _MAX_LINK_FACES, _MAX_PART_VERTICES))])
    kept = default_cache_dir() / "links" / f"{use}-{key}-v{_VERSION}.npz"
    return _kept(kept, lambda: (_BUILDERS[use](path, scale),))[0]


def _kept(path: Path, build: Callable[[], tuple[Mesh, ...]]) -> tuple[Mesh, ...]:
    stored = load_arrays(path)
    if stored is None:
        meshes = build()
        stored = {"count": np.array([len(meshes)])}
        for i, mesh in enumerate(meshes):
            stored |= {f"vertices_{i}": mesh.vertices_m, f"faces_{i}": mesh.faces.astype(np.float64)}
        with contextlib.suppress(OSError):  # without a place to keep them, they are built every time
            save_arrays(path, stored)
    return tuple(
        Mesh(stored[f"vertices_{i}"].astype(np.float64), stored[f"faces_{i}"].astype(np.int32))
        for i in range(int(stored["count"][0]))
    )


def _read_parts(asset: ObjectAsset) -> tuple[Mesh, ...]:
    from simtoreal.envs.mesh_shapes import read_shapes

    colliders = read_shapes(asset.urdf_path, 1.0).colliders
    hulls = [convex_hull(collider.mesh.vertices_m, _MAX_PART_VERTICES) for collider in colliders]
    return tuple(hull for hull in hulls if len(hull.faces))


def _look(path: Path, scale: tuple[float, ...]) -> Mesh:
    from simtoreal.envs.mesh_reading import Surface, decimate

    return decimate(Surface(_scaled(path, scale), None), _MAX_LINK_FACES).mesh


def _hull(path: Path, scale: tuple[float, ...]) -> Mesh:
    return convex_hull(_scaled(path, scale).vertices_m, _MAX_PART_VERTICES)


_BUILDERS = {"look": _look, "hull": _hull}


def _scaled(path: Path, scale: tuple[float, ...]) -> Mesh:
    from simtoreal.envs.mesh_reading import read_surface

    mesh = read_surface(path).mesh
    return Mesh(mesh.vertices_m * np.array(scale), mesh.faces)
