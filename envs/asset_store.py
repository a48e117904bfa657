"""Built objects on disk: one folder each, with a URDF, its meshes and an `.npz` that is read back in a millisecond.

A folder appears under its name only when it is complete, so two processes may build the same object at once.
"""

import dataclasses
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.assets import NOMINAL_FRICTION, ObjectAsset, cache_write_error, content_hash
from simtoreal.envs.solids import Mesh, Points, shrink_for_contact

RECORD = "asset.npz"
URDF = "object.urdf"
DEFAULT_RGB = (160, 160, 160)


@dataclasses.dataclass(frozen=True, eq=False)
class Blueprint:
    """An object before it has files: everything in the obj frame, whose origin is the centre of mass."""

    name: str
    group: str
    visual: Mesh
    vertex_rgb: NDArray[np.uint8] | None  # (V, 3)
    hulls: tuple[Mesh, ...]  # convex, together the shape that collides
    mass_kg: float
    inertia_kg_m2: Points  # (3, 3) about the origin
    notes: tuple[str, ...] = ()


def save(blueprint: Blueprint, folder: Path) -> None:
    """Writes the files of an object to `folder`, unless another process was faster.

    Raises:
        OSError: the cache is read-only or full; the message says which folder and what to set.
    """
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        _write_files(blueprint, temporary)
        temporary.chmod(0o755)  # mkdtemp makes it private, but a cache may be shared
        _publish(temporary, folder)
    except OSError as error:
        raise cache_write_error(folder.parent, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def load(folder: Path) -> ObjectAsset | None:
    """Reads an object back; None where there is none, or where its record is damaged and has to be built again."""
    if not (folder / URDF).is_file():
        return None
    try:
        with (folder / RECORD).open("rb") as stream, np.load(stream, allow_pickle=False) as record:
            return ObjectAsset(
                name=str(record["name"]),
                group=str(record["group"]),
                urdf_path=folder / URDF,
                vertices_m=record["vertices_m"],
                faces=record["faces"],
                vertex_rgb=record["vertex_rgb"] if len(record["vertex_rgb"]) else None,
                mass_kg=float(record["mass_kg"]),
                friction=NOMINAL_FRICTION,
                sha=str(record["sha"]),
                notes=tuple(str(note) for note in record["notes"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _publish(temporary: Path, folder: Path) -> None:
    try:
        os.rename(temporary, folder)
    except OSError:
        if load(folder) is not None:
            return  # another process built the same object
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)


def _write_files(blueprint: Blueprint, folder: Path) -> None:
    contact = [shrink_for_contact(hull) for hull in blueprint.hulls]
    # A hull flatter than rounding errors shrinks to nothing; keep it as it is.
    contact = [thin if len(thin.faces) else hull for thin, hull in zip(contact, blueprint.hulls, strict=True)]
    collision = obj_text(contact)
    mean_rgb = DEFAULT_RGB if blueprint.vertex_rgb is None else blueprint.vertex_rgb.mean(axis=0)
    urdf = _urdf_text(blueprint, np.asarray(mean_rgb) / 255.0)
    (folder / "collision.obj").write_text(collision, encoding="utf-8")
    (folder / "visual.obj").write_text(obj_text([blueprint.visual]), encoding="utf-8")
    (folder / URDF).write_text(urdf, encoding="utf-8")
    rgb = np.zeros((0, 3), dtype=np.uint8) if blueprint.vertex_rgb is None else blueprint.vertex_rgb
    vertices, faces = blueprint.visual
    np.savez(
        folder / RECORD,
        name=np.array(blueprint.name),
        group=np.array(blueprint.group),
        vertices_m=vertices,
        faces=faces,
        vertex_rgb=rgb,
        mass_kg=np.array(blueprint.mass_kg),
        notes=np.array(blueprint.notes, dtype=np.str_),
        sha=np.array(content_hash([vertices.tobytes(), faces.tobytes(), rgb.tobytes(), collision, urdf])),
    )


def obj_text(meshes: list[Mesh]) -> str:
    """An OBJ with one `o` group a mesh; PyBullet makes one convex hull of each group of a collision mesh."""
    lines, offset = [], 1
    for index, mesh in enumerate(meshes):
        num_vertices, num_faces = len(mesh.vertices_m), len(mesh.faces)
        lines.append(f"o part_{index}\n")
        lines.append("v %.7f %.7f %.7f\n" * num_vertices % tuple(mesh.vertices_m.ravel().tolist()))
        lines.append("f %d %d %d\n" * num_faces % tuple((mesh.faces + offset).ravel().tolist()))
        offset += num_vertices
    return "".join(lines)


def _urdf_text(blueprint: Blueprint, rgb: NDArray[np.float64]) -> str:
    inertia = blueprint.inertia_kg_m2
    # Products of inertia stay zero: PyBullet would turn the base frame into the principal axes, away from the mesh.
    tensor = " ".join(f'i{axis}{axis}="{value:.6e}"' for axis, value in zip("xyz", np.diag(inertia), strict=True))
    return f"""<?xml version="1.0"?>
<robot name="object">
  <link name="object">
    <inertial>
      <origin xyz="0 0 0" rpy="0 0 0"/>
      <mass value="{blueprint.mass_kg:.6f}"/>
      <inertia {tensor} ixy="0" ixz="0" iyz="0"/>
    </inertial>
    <visual>
      <geometry><mesh filename="visual.obj"/></geometry>
      <material name="mean"><color rgba="{rgb[0]:.3f} {rgb[1]:.3f} {rgb[2]:.3f} 1"/></material>
    </visual>
    <collision>
      <geometry><mesh filename="collision.obj"/></geometry>
    </collision>
  </link>
</robot>
"""
