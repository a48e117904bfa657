"""The shapes of one object as its file gives them: a surface to see, and colliders, in the file's frame, in metres."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from simtoreal.envs.household_shapes import rectangle, revolve, solid, stack
from simtoreal.envs.mesh_reading import Surface, join, read_surface, weld
from simtoreal.envs.solids import Mesh, Points, convex_hull, is_closed, mass_properties
from simtoreal.envs.urdf_files import Geometry, read_urdf
from simtoreal.frames import apply

MAX_GROUPS = 64
CONVEX_FRAC = 0.95  # volume over volume of the hull, from which on a part counts as convex
GREY = (160, 160, 160)


class Collider(NamedTuple):
    """A mesh to collide with; one that is not convex has to be decomposed first."""

    mesh: Mesh
    is_convex: bool


class Shapes(NamedTuple):
    """What a file says of an object."""

    visual: Surface
    colliders: tuple[Collider, ...]
    mass_kg: float | None  # None where the file does not say
    center_m: Points | None  # (3,) centre of mass, None where the file does not say


def read_shapes(path: Path, scale: float) -> Shapes:
    """Reads a URDF or a mesh file; `scale` is metres per unit of the file.

    Raises:
        AssetError: the file, or a mesh that it names, is missing or broken.
    """
    if path.suffix.lower() != ".urdf":
        surface = _scaled(read_surface(path), scale)
        return Shapes(surface, _colliders(path, surface, scale), None, None)
    urdf = read_urdf(path)
    visual = join([_surface(shape, scale) for shape in urdf.visual])
    colliders = tuple(collider for shape in urdf.collision for collider in _urdf_colliders(shape, scale))
    center_m = None if urdf.center_m is None else np.array(urdf.center_m) * scale
    return Shapes(visual, colliders, urdf.mass_kg, center_m)


def _surface(shape: Geometry, scale: float) -> Surface:
    """A shape of a URDF in the frame of its link; the colour of its material where the mesh has none."""
    surface = _primitive(shape) if shape.mesh_path is None else read_surface(shape.mesh_path)
    rgb = surface.rgb
    if rgb is None and shape.rgb is not None:
        rgb = np.tile(np.array(shape.rgb, dtype=np.uint8), (len(surface.mesh.vertices_m), 1))
    return Surface(_placed(surface.mesh, shape, scale), rgb)


def _urdf_colliders(shape: Geometry, scale: float) -> tuple[Collider, ...]:
    if shape.mesh_path is None:
        return (Collider(_placed(_primitive(shape).mesh, shape, scale), True),)
    parts = _colliders(shape.mesh_path, read_surface(shape.mesh_path), 1.0)
    return tuple(Collider(_placed(part.mesh, shape, scale), part.is_convex) for part in parts)


def _placed(mesh: Mesh, shape: Geometry, scale: float) -> Mesh:
    stretch = np.array(shape.size if shape.kind == "mesh" else (1.0, 1.0, 1.0))
    # A mirrored mesh is inside out until its triangles are turned as well.
    faces = mesh.faces if np.prod(stretch) > 0 else np.ascontiguousarray(mesh.faces[:, ::-1])
    return Mesh(scale * apply(shape.T_link_shape, mesh.vertices_m * stretch), faces)


def _scaled(surface: Surface, scale: float) -> Surface:
    return Surface(Mesh(surface.mesh.vertices_m * scale, surface.mesh.faces), surface.rgb)


def _primitive(shape: Geometry) -> Surface:
    if shape.kind == "box":
        x, y, z = shape.size
        return Surface(solid(stack(rectangle(x, y), (1.0, 1.0), (-z / 2, z / 2)), GREY).mesh, None)
    radius, half = shape.size[0], shape.size[1] / 2 if len(shape.size) > 1 else 0.0
    angle = np.linspace(0.02, 0.5 * np.pi, 7 if shape.kind != "cylinder" else 1)
    dome = radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    if shape.kind == "cylinder":
        dome = np.array([[radius, 0.0]])
    lift = np.array([0.0, half])
    below, above = dome * (1.0, -1.0) - lift, dome[::-1] + lift
    profile = np.concatenate([below, above if half else above[1:]])
    return Surface(solid(revolve(profile), GREY).mesh, None)


def _colliders(path: Path, surface: Surface, scale: float) -> tuple[Collider, ...]:
    """The groups of an OBJ if all of them are convex, as decompositions are stored; otherwise the whole mesh."""
    groups = _obj_groups(path) if path.suffix.lower() == ".obj" else []
    parts = [_scaled(weld(Surface(group, None)), scale).mesh for group in groups]
    if len(parts) > 1 and all(_is_convex(part) for part in parts):
        return tuple(Collider(part, True) for part in parts)
    return (Collider(surface.mesh, False),)


def _is_convex(mesh: Mesh) -> bool:
    if not is_closed(mesh):
        return False
    hull = convex_hull(mesh.vertices_m)
    return bool(len(hull.faces)) and mass_properties(mesh).volume_m3 > CONVEX_FRAC * mass_properties(hull).volume_m3


def _obj_groups(path: Path) -> list[Mesh]:
    """The `o` and `g` groups of an OBJ, of polygons cut into triangles; none if there are more than `MAX_GROUPS`."""
    data = path.read_bytes()
    if not 2 <= data.count(b"\no ") + data.count(b"\ng ") + data.startswith((b"o ", b"g ")) <= 2 * MAX_GROUPS:
        return []
    vertices: list[list[bytes]] = []
    groups: list[list[tuple[int, int, int]]] = [[]]
    for line in data.split(b"\n"):
        words = line.split()
        kind = words[0] if words else b""
        if kind == b"v":
            vertices.append(words[1:4])
        elif kind in (b"o", b"g") and groups[-1]:
            groups.append([])
        elif kind == b"f":
            corners = [_corner(word, len(vertices)) for word in words[1:]]
            groups[-1].extend((corners[0], *pair) for pair in itertools.pairwise(corners[1:]))
    points = np.array(vertices, dtype=np.float64)
    return [Mesh(points, np.array(faces, dtype=np.int32)) for faces in groups if faces]


def _corner(word: bytes, num_vertices: int) -> int:
    index = int(word.split(b"/", 1)[0])
    return index - 1 if index > 0 else num_vertices + index
