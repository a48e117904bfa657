"""The links and joints of an arm from its URDF or SDF, as plain records that any physics engine can be built from."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from simtoreal import frames
from simtoreal.envs.assets import AssetError
from simtoreal.envs.urdf_files import Geometry, read_geometry, read_numbers, read_origin
from simtoreal.frames import Matrix

JointKind = Literal["hinge", "slide", "fixed"]
_KINDS: dict[str, JointKind] = {
    "revolute": "hinge",
    "continuous": "hinge",
    "prismatic": "slide",
    "fixed": "fixed",
}  # of both formats
_SDF_VERSION = 1.7  # up to here the poses of links are given in the frame of the model


class Joint(NamedTuple):
    """How a link moves on its parent; the origin of the link lies on the axis."""

    name: str
    kind: JointKind
    axis: tuple[float, float, float]  # in the frame of the link
    lower: float  # rad or m
    upper: float
    effort: float  # N m or N, 0 where the file sets no limit


class Link(NamedTuple):
    """One rigid part of an arm."""

    name: str
    parent: str | None
    T_parent_link: Matrix  # (4, 4) with all joints at zero; of the first link in the frame of the file
    joint: Joint
    mass_kg: float
    T_link_com: Matrix  # (4, 4)
    visual: tuple[Geometry, ...]
    collision: tuple[Geometry, ...]


def read_robot_links(path: Path) -> tuple[Link, ...]:
    """Reads a `.urdf` or `.sdf` file; parents come before their children.

    Raises:
        ValueError: not XML, no single chain of links, a joint that is neither hinge, slide nor fixed, a missing mesh.
    """
    try:
        root = ET.fromstring(path.read_bytes().lstrip())
        links = _sdf_links(path, root) if path.suffix == ".sdf" else _urdf_links(path, root)
    except ET.ParseError as error:
        raise ValueError(f"{path}: is not valid XML: {error}") from error
    except AssetError as error:
        raise ValueError(str(error)) from error
    return _parents_first(path, links)


def _parents_first(path: Path, links: list[Link]) -> tuple[Link, ...]:
    roots = [link.name for link in links if link.parent is None]
    if len(roots) != 1:
        raise ValueError(f"{path}: a robot is one tree of links, this has {len(roots)} roots: {', '.join(roots[:4])}")
    ordered: list[Link] = []
    known: set[str | None] = {None}
    while len(ordered) < len(links):
        ready = [link for link in links if link.parent in known and link.name not in known]
        if not ready:
            lost = [link.name for link in links if link.name not in known]
            raise ValueError(f"{path}: no parent for the links {', '.join(lost[:4])}")
        ordered += ready
        known |= {link.name for link in ready}
    return tuple(ordered)


def _urdf_links(path: Path, root: ET.Element) -> list[Link]:
    joints = {_child(path, element, "child", "link"): element for element in root.findall("joint")}
    links = []
    for element in root.findall("link"):
        name = str(element.get("name"))
        above = joints.get(name)
        inertial = element.find("inertial")
        links.append(
            Link(
                name,
                None if above is None else _child(path, above, "parent", "link"),
                np.eye(4) if above is None else read_origin(path, above.find("origin")),
                _FIXED if above is None else _urdf_joint(path, above),
                0.0 if inertial is None else _value(path, inertial.find("mass"), "value"),
                np.eye(4) if inertial is None else read_origin(path, inertial.find("origin")),
                tuple(read_geometry(path, shape) for shape in element.findall("visual")),
                tuple(read_geometry(path, shape) for shape in element.findall("collision")),
            )
        )
    return links


_FIXED = Joint("", "fixed", (0.0, 0.0, 1.0), 0.0, 0.0, 0.0)


def _urdf_joint(path: Path, element: ET.Element) -> Joint:
    axis, limit = element.find("axis"), element.find("limit")
    x, y, z = (1.0, 0.0, 0.0) if axis is None else read_numbers(path, axis, "xyz", "1 0 0", 3)
    lower, upper = _value(path, limit, "lower"), _value(path, limit, "upper")
    return _joint(path, element, (x, y, z), (lower, upper, _value(path, limit, "effort")))


def _joint(
    path: Path, element: ET.Element, axis: tuple[float, float, float], limits: tuple[float, float, float]
) -> Joint:
    kind = _KINDS.get(str(element.get("type")))
    if kind is None:
        raise ValueError(
            f"{path}: joint {element.get('name')} is {element.get('type')!r}; allowed: {', '.join(_KINDS)}"
        )
    lower, upper, effort = limits
    if kind == "hinge" and not lower < upper:
        lower, upper = -math.pi, math.pi  # continuous
    return Joint(str(element.get("name")), kind, axis, lower, upper, effort)


def _value(path: Path, element: ET.Element | None, name: str) -> float:
    return 0.0 if element is None or name not in element.attrib else read_numbers(path, element, name, "0", 1)[0]


def _child(path: Path, element: ET.Element, tag: str, attribute: str) -> str:
    child = element.find(tag)
    if child is None:
        raise ValueError(f"{path}: joint {element.get('name')} has no <{tag}>")
    return str(child.get(attribute))


# --- SDF, of which this reads what arms need: links with poses in the frame of the model, joints at their child links


def _sdf_links(path: Path, root: ET.Element) -> list[Link]:
    model = root.find(".//model")
    if model is None or float(root.get("version", "1.6")) > _SDF_VERSION:
        raise ValueError(f"{path}: needs a <model>, and a version up to {_SDF_VERSION}; convert it, or give a URDF")
    T_model_link = {str(link.get("name")): _pose(path, link) for link in model.findall("link")}
    joints = {(element.findtext("child") or "").strip(): element for element in model.findall("joint")}
    links = []
    for element in model.findall("link"):
        name = str(element.get("name"))
        above, inertial = joints.get(name), element.find("inertial")
        parent = (above.findtext("parent") or "").strip() if above is not None else None
        if parent is not None and parent not in T_model_link:
            parent = None  # the world
        T_parent = T_model_link[name] if parent is None else frames.invert(T_model_link[parent]) @ T_model_link[name]
        links.append(
            Link(
                name,
                parent,
                T_parent,
                _FIXED if above is None or parent is None else _sdf_joint(path, above),
                0.0 if inertial is None else float(inertial.findtext("mass") or 0.0),
                np.eye(4) if inertial is None else _pose(path, inertial),
                tuple(_sdf_geometry(path, shape) for shape in element.findall("visual")),
                tuple(_sdf_geometry(path, shape) for shape in element.findall("collision")),
            )
        )
    return links


def _sdf_joint(path: Path, element: ET.Element) -> Joint:
    x, y, z = _floats(path, element.findtext("axis/xyz") or "0 0 1", 3)  # a fixed joint has none
    lower, upper, effort = (
        float(element.findtext(f"axis/limit/{name}") or 0.0) for name in ("lower", "upper", "effort")
    )
    return _joint(path, element, (x, y, z), (lower, upper, effort))


def _sdf_geometry(path: Path, element: ET.Element) -> Geometry:
    """The same shape as an element of a URDF would be."""
    shape = next(iter(element.find("geometry") or ()), None)
    if shape is None:
        raise ValueError(f"{path}: a <{element.tag}> has no geometry")
    plain = ET.Element(element.tag)
    x, y, z, *turns = _floats(path, element.findtext("pose") or "0 0 0 0 0 0", 6)
    ET.SubElement(plain, "origin", xyz=f"{x} {y} {z}", rpy=" ".join(map(str, turns)))
    attributes = {child.tag: (child.text or "").strip() for child in shape}
    if "uri" in attributes:
        attributes["filename"] = attributes.pop("uri").removeprefix("model://").lstrip("/")
    ET.SubElement(ET.SubElement(plain, "geometry"), shape.tag, attributes)
    diffuse = element.findtext("material/diffuse")
    if diffuse:
        ET.SubElement(ET.SubElement(plain, "material"), "color", rgba=diffuse)
    return read_geometry(path, plain)


def _pose(path: Path, element: ET.Element) -> Matrix:
    x, y, z, roll, pitch, yaw = _floats(path, element.findtext("pose") or "0 0 0 0 0 0", 6)
    origin = ET.Element("origin", xyz=f"{x} {y} {z}", rpy=f"{roll} {pitch} {yaw}")
    return read_origin(path, origin)


def _floats(path: Path, text: str | None, num: int) -> tuple[float, ...]:
    return read_numbers(path, ET.Element("values", values=text or ""), "values", "", num)
