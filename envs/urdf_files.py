"""Reads the URDF of an object: one rigid link with meshes or primitive shapes. Robots have joints and are refused."""

import dataclasses
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from simtoreal.envs.assets import AssetError
from simtoreal.frames import Matrix, rotation_from_vector, transform

_FILE_NAME = re.compile(r"""filename\s*=\s*["']([^"']+)["']""")
MESH_SUFFIXES = (".obj", ".ply", ".stl")  # where an object has several, the first says most
PRIMITIVES = {
    "box": ("size",),
    "sphere": ("radius",),
    "cylinder": ("radius", "length"),
    "capsule": ("radius", "length"),
}


class Geometry(NamedTuple):
    """One shape of a link."""

    kind: str  # "mesh" or a primitive
    mesh_path: Path | None
    size: tuple[float, ...]  # of a mesh its scale (3), of a primitive the attributes in `PRIMITIVES`
    T_link_shape: Matrix  # (4, 4)
    rgb: tuple[int, int, int] | None


@dataclasses.dataclass(frozen=True)
class ObjectUrdf:
    """What the URDF of an object says. Without inertial data the mass is None and the centre is to be computed."""

    path: Path
    visual: tuple[Geometry, ...]
    collision: tuple[Geometry, ...]
    mass_kg: float | None
    center_m: tuple[float, float, float] | None  # inertial origin in the link frame

    @property
    def mesh_paths(self) -> tuple[Path, ...]:
        """Every mesh file that the URDF names, without repeats."""
        paths = [shape.mesh_path for shape in (*self.visual, *self.collision) if shape.mesh_path is not None]
        return tuple(dict.fromkeys(paths))


def read_urdf(path: Path) -> ObjectUrdf:
    """Reads a URDF file.

    Raises:
        AssetError: not a URDF, not one rigid link, no shape, a number that is none, a mesh that is missing.
    """
    try:
        root = ET.fromstring(path.read_bytes().lstrip())  # PyBullet, too, lets blank lines go before the first tag
    except ET.ParseError as error:
        raise AssetError(f"{path}: is not valid XML: {error}") from error
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror}") from error
    link = _only_link(path, root)
    colors = {str(material.get("name")): _rgb(path, material) for material in root.findall("material")}
    visual = tuple(read_geometry(path, element, colors) for element in link.findall("visual"))
    collision = tuple(read_geometry(path, element, colors) for element in link.findall("collision"))
    if not visual and not collision:
        raise AssetError(f"{path}: has neither a <visual> nor a <collision> shape")
    mass_kg, center_m = _inertial(path, link)
    return ObjectUrdf(path, visual or collision, collision or visual, mass_kg, center_m)


def mesh_names(path: Path) -> set[str]:
    """Names, without folders, of all files that a URDF mentions, even one that `read_urdf` refuses."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {Path(name).name for name in _FILE_NAME.findall(text)}


def _only_link(path: Path, root: ET.Element) -> ET.Element:
    if root.tag != "robot":
        raise AssetError(f"{path}: its outermost element is <{root.tag}>, a URDF has <robot>")
    moving = [joint.get("name", "?") for joint in root.findall("joint") if joint.get("type") != "fixed"]
    if moving:
        raise AssetError(f"{path}: has moving joints ({', '.join(moving[:4])}); an object to grasp is one rigid link")
    links = root.findall("link")
    if len(links) != 1:
        names = ", ".join(link.get("name", "?") for link in links[:4])
        raise AssetError(
            f"{path}: has {len(links)} links ({names}); an object to grasp is one link: merge the fixed ones"
        )
    return links[0]


def read_geometry(
    path: Path, element: ET.Element, colors: Mapping[str, tuple[int, int, int] | None] = MappingProxyType({})
) -> Geometry:
    """The shape of a `<visual>` or `<collision>`.

    Raises:
        AssetError: it has no shape or one that is not supported, a number that is none, or a mesh that is missing.
    """
    T_link_shape = read_origin(path, element.find("origin"))
    material = element.find("material")
    rgb = None if material is None else _rgb(path, material) or colors.get(str(material.get("name")))
    geometry = element.find("geometry")
    shape = None if geometry is None else next(iter(geometry), None)
    if shape is None:
        raise AssetError(f"{path}: a <{element.tag}> has no geometry")
    if shape.tag == "mesh":
        scale = read_numbers(path, shape, "scale", "1 1 1", 3)
        return Geometry("mesh", _mesh_path(path, shape.get("filename", "")), scale, T_link_shape, rgb)
    if shape.tag not in PRIMITIVES:
        known = ", ".join(("mesh", *PRIMITIVES))
        raise AssetError(f"{path}: geometry <{shape.tag}> is not supported; use one of {known}")
    size = [number for name in PRIMITIVES[shape.tag] for number in read_numbers(path, shape, name, "")]
    if min(size) <= 0.0 or len(size) != (3 if shape.tag == "box" else len(PRIMITIVES[shape.tag])):
        raise AssetError(f"{path}: <{shape.tag}> needs positive {' and '.join(PRIMITIVES[shape.tag])}, got {size}")
    return Geometry(shape.tag, None, tuple(size), T_link_shape, rgb)


def _inertial(path: Path, link: ET.Element) -> tuple[float | None, tuple[float, float, float] | None]:
    inertial = link.find("inertial")
    mass = None if inertial is None else inertial.find("mass")
    if inertial is None or mass is None:
        return None, None
    mass_kg = read_numbers(path, mass, "value", "", 1)[0]
    if mass_kg <= 0.0:
        return None, None  # what a URDF says of scenery; an object gets its mass from its volume
    x, y, z = read_origin(path, inertial.find("origin"))[:3, 3]
    return mass_kg, (float(x), float(y), float(z))


def read_origin(path: Path, element: ET.Element | None) -> Matrix:
    """The transform (4, 4) of an `<origin>`; nothing is no motion.

    Raises:
        AssetError: a number is none.
    """
    if element is None:
        return np.eye(4)
    roll, pitch, yaw = read_numbers(path, element, "rpy", "0 0 0", 3)
    R = rotation_from_vector((0, 0, yaw)) @ rotation_from_vector((0, pitch, 0)) @ rotation_from_vector((roll, 0, 0))
    return transform(read_numbers(path, element, "xyz", "0 0 0", 3), R)


def read_numbers(path: Path, element: ET.Element, name: str, default: str, num: int | None = None) -> tuple[float, ...]:
    """The finite numbers of an attribute, `num` of them.

    Raises:
        AssetError: they are not numbers, or not as many.
    """
    text = element.get(name, default)
    try:
        values = tuple(float(word) for word in text.split())
    except ValueError:
        values = ()
    if not values or not all(math.isfinite(value) for value in values) or num not in (None, len(values)):
        wanted = f"{num} finite numbers" if num else "finite numbers"
        raise AssetError(f"{path}: <{element.tag} {name}={text!r}> must hold {wanted}")
    return values


def _rgb(path: Path, material: ET.Element) -> tuple[int, int, int] | None:
    color = material.find("color")
    if color is None:
        return None
    red, green, blue = (
        round(255 * min(max(value, 0.0), 1.0)) for value in read_numbers(path, color, "rgba", "", 4)[:3]
    )
    return red, green, blue


def _mesh_path(path: Path, name: str) -> Path:
    """The file behind a mesh reference; `package://` is looked for in the folders above the URDF."""
    relative = name.removeprefix("package://").removeprefix("file://")
    if Path(relative).suffix.lower() not in MESH_SUFFIXES:
        raise AssetError(
            f"{path}: mesh {name!r} is not one of {', '.join(MESH_SUFFIXES)}: convert it, and name the new file"
        )
    candidates = [path.parent / relative]
    if name.startswith("package://"):
        inside = Path(*Path(relative).parts[1:])
        candidates = [parent / part for parent in path.resolve().parents for part in (Path(relative), inside)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise AssetError(f"{path}: its mesh {name!r} is missing (looked for {candidates[0]})")
