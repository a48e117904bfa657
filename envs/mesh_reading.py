"""Reads a mesh file into plain arrays, with the colours of its texture, and makes large meshes small."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import fast_simplification
import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from simtoreal.envs.assets import AssetError
from simtoreal.envs.solids import Mesh

# What trimesh gives to a material that says nothing: no colour of the object.
UNSAID_RGB = (102, 102, 102)
NUM_TEXTURED_FACES = 2000


class Surface(NamedTuple):
    """A mesh and the colour of each vertex, None where the file has none."""

    mesh: Mesh
    rgb: NDArray[np.uint8] | None  # (V, 3)


def read_surface(path: Path) -> Surface:
    """Reads an `.obj`, `.stl` or `.ply` file, all of its parts as one mesh, in the units of the file.

    Raises:
        AssetError: the file is missing, empty, damaged, holds no triangles, or vertices that are not finite.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own arithmetic; what matters is checked here
        return _read(path)


def _read(path: Path) -> Surface:
    try:
        scene = trimesh.load_scene(path, process=False, maintain_order=True)
        parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a parser that meets a damaged file may raise anything
        raise AssetError(f"{path}: is damaged or not a {path.suffix} mesh ({type(error).__name__}: {error})") from error
    if not parts:
        raise AssetError(f"{path}: holds no triangles (is it empty, or a point cloud?)")
    num_bad = sum(int(np.count_nonzero(~np.isfinite(part.vertices).all(axis=1))) for part in parts)
    if num_bad:
        raise AssetError(f"{path}: has {num_bad} vertices that are not finite; export the mesh again")
    return weld(join([_surface(part) for part in parts]))


def join(surfaces: list[Surface]) -> Surface:
    """Several surfaces as one; where only some have colours, the others become grey."""
    starts = np.cumsum([0, *(len(surface.mesh.vertices_m) for surface in surfaces)])
    vertices = np.concatenate([surface.mesh.vertices_m for surface in surfaces])
    faces = [surface.mesh.faces + start for surface, start in zip(surfaces, starts[:-1], strict=True)]
    rgb = None
    if any(surface.rgb is not None for surface in surfaces):
        rgb = np.concatenate(
            [
                np.full((len(surface.mesh.vertices_m), 3), 160, dtype=np.uint8) if surface.rgb is None else surface.rgb
                for surface in surfaces
            ]
        )
    return Surface(Mesh(vertices, np.concatenate(faces).astype(np.int32)), rgb)


def weld(surface: Surface) -> Surface:
    """Joins vertices at one place (a texture's seam splits them), drops faces without area and unused vertices."""
    vertices, faces = surface.mesh
    size = float(np.ptp(vertices, axis=0).max()) or 1.0
    cells = np.round((vertices - vertices.min(axis=0)) / (size * 1e-6)).astype(np.int64)  # below 2**20
    keys = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    joined = inverse[faces]
    distinct = (joined[:, 0] != joined[:, 1]) & (joined[:, 1] != joined[:, 2]) & (joined[:, 2] != joined[:, 0])
    used, kept = np.unique(joined[distinct], return_inverse=True)
    keep = first[used]
    rgb = None if surface.rgb is None else surface.rgb[keep]
    return Surface(Mesh(vertices[keep], kept.reshape(-1, 3).astype(np.int32)), rgb)


def decimate(surface: Surface, num_faces: int) -> Surface:
    """A surface of about `num_faces` triangles or fewer; each vertex keeps the colour of the nearest old one."""
    vertices, faces = surface.mesh
    if len(faces) <= num_faces:
        return surface
    center = vertices.mean(axis=0)  # single precision is enough around the centre
    points, triangles = fast_simplification.simplify(
        (vertices - center).astype(np.float32), faces, target_count=num_faces
    )
    small = Mesh(np.asarray(points, dtype=np.float64) + center, np.asarray(triangles, dtype=np.int32))
    if surface.rgb is None:
        return Surface(small, None)
    nearest = cKDTree(vertices).query(small.vertices_m)[1]
    return Surface(small, surface.rgb[nearest])


def _surface(part: trimesh.Trimesh) -> Surface:
    """Arrays of a part of a file. Colours live at vertices, so a textured mesh of few triangles gets more of them."""
    rgb = None
    try:
        while _has_image(part) and 4 * len(part.faces) <= NUM_TEXTURED_FACES:
            part = part.subdivide()
        rgb = _vertex_rgb(part)
    except (AttributeError, IndexError, OSError, SyntaxError, TypeError, ValueError):
        pass  # a damaged picture costs the object its colours, and no more
    return Surface(Mesh(np.array(part.vertices, dtype=np.float64), np.array(part.faces, dtype=np.int32)), rgb)


def _has_image(part: trimesh.Trimesh) -> bool:
    return getattr(getattr(part.visual, "material", None), "image", None) is not None


def _vertex_rgb(part: trimesh.Trimesh) -> NDArray[np.uint8] | None:
    """Colours (V, 3) of a part, sampled from its texture; None if it has none."""
    visual: Any = part.visual
    if visual is not None and visual.kind == "texture":
        if visual.uv is None and _has_image(part):
            return None
        visual = visual.to_color()
    elif visual is None or visual.kind is None:
        return None
    colors = np.array(visual.vertex_colors, dtype=np.uint8)[:, :3]
    if colors.shape != (len(part.vertices), 3) or (colors == UNSAID_RGB).all():
        return None
    return colors
