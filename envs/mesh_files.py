"""Objects from the user's own files, checked and made ready to collide.

Reading, checking and decomposing a file takes seconds, so the result is kept in the cache under a hash of its content.
Nothing about a file is guessed silently: a mesh that seems to be in millimetres is refused with the scale to pass.
"""

import dataclasses
import functools
import math
import re
from pathlib import Path

import numpy as np

from simtoreal.envs import asset_store, coacd_process, decomposition, mesh_reading, mesh_shapes, solids, urdf_files
from simtoreal.envs.asset_store import Blueprint
from simtoreal.envs.assets import AssetError, ObjectAsset, content_hash, write_cached
from simtoreal.envs.decomposition import decompose
from simtoreal.envs.mesh_reading import Surface, decimate
from simtoreal.envs.mesh_shapes import Collider, Shapes, read_shapes
from simtoreal.envs.mesh_sources import MeshSource
from simtoreal.envs.solids import Mesh, convex_hull, mass_properties
from simtoreal.envs.urdf_files import read_urdf

CELL_M = 0.5
SMALLEST_M = 0.003
NUM_VISUAL_FACES = 2000
NUM_SHAPE_FACES = 8000  # enough to decompose, and to reduce further for looking at
NOTED_FACES = 100_000  # from here on a user is told that a mesh was reduced
DENSITY_KG_M3 = 300.0  # of household things with air in them, where a file says nothing
MASS_RANGE_KG = (0.02, 1.0)
HEAVIEST_KG = 20.0
HEAD_BYTES = 1 << 16


class MeshLoader:
    """Makes assets of mesh sources.

    Args:
        cache_dir: where built objects are kept.
        scale: metres per unit of the files; 0.001 for meshes in millimetres.

    Raises:
        ValueError: the scale is not a positive number.
    """

    def __init__(self, cache_dir: Path, scale: float = 1.0) -> None:
        if not (math.isfinite(scale) and scale > 0.0):
            raise ValueError(f"objects_scale must be a positive number (0.001 for millimetres), got {scale}")
        self._scale = scale
        self._root = cache_dir / f"meshes_{_code_hash()}"
        self._checked: tuple[MeshSource, Shapes] | None = None  # so that a large file is not read twice

    def check(self, source: MeshSource) -> None:
        """Reads and checks a file without the slow step, the decomposition.

        Raises:
            AssetError: the file cannot be used; the message says why and what to do.
        """
        if self._cached_folder(source) is None:
            self._checked = (source, self._shapes(source))

    def asset(self, source: MeshSource) -> ObjectAsset:
        """The object of a file, from the cache or built now, which may take some seconds.

        Raises:
            AssetError: the file cannot be used; the message says why and what to do.
            OSError: the cache cannot be written.
        """
        folder = self._cached_folder(source)
        cached = None if folder is None else asset_store.load(folder)
        if cached is None:
            cached = self._build(source)
        return dataclasses.replace(cached, name=source.name)

    def _build(self, source: MeshSource) -> ObjectAsset:
        key = content_hash([repr(self._scale), *(path.read_bytes() for path in _files_of(source.path))])
        folder = self._root / key
        cached = asset_store.load(folder)
        if cached is None:
            shapes = self._checked[1] if self._checked and self._checked[0] == source else self._shapes(source)
            self._checked = None
            asset_store.save(_blueprint(source, shapes), folder)
            cached = asset_store.load(folder)
        if cached is None:
            raise AssetError(f"{source.path}: its cache in {folder} cannot be read back; delete that folder")
        write_cached(self._index(source), key)
        return cached

    def _shapes(self, source: MeshSource) -> Shapes:
        shapes = read_shapes(source.path, self._scale)
        _check_size(source.path, shapes.visual.mesh, self._scale)
        for collider in shapes.colliders:
            _check_size(source.path, collider.mesh, self._scale, part=True)
        if shapes.mass_kg is not None and shapes.mass_kg > HEAVIEST_KG:
            raise AssetError(f"{source.path}: mass {shapes.mass_kg:g} kg is over {HEAVIEST_KG:g} kg; is it in grams?")
        return shapes

    def _cached_folder(self, source: MeshSource) -> Path | None:
        try:
            folder = self._root / self._index(source).read_text(encoding="utf-8")
        except OSError:
            return None
        return folder if (folder / asset_store.URDF).is_file() else None

    def _index(self, source: MeshSource) -> Path:
        """File that remembers the content hash of files that have not changed: hashing megabytes takes a while."""
        stamps = []
        for path in _files_of(source.path):
            try:
                stat = path.stat()
            except OSError as error:
                raise AssetError(f"{path}: cannot be read: {error.strerror}") from error
            stamps.append(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}")
        return self._root / "index" / content_hash([repr(self._scale), *stamps])


def _check_size(path: Path, mesh: Mesh, scale: float, part: bool = False) -> None:
    """Raises AssetError for an object that cannot stand in the cell or be seen; of parts only what is too large."""
    largest = float(np.ptp(mesh.vertices_m, axis=0).max()) if len(mesh.vertices_m) else 0.0
    if largest > CELL_M:
        units = {"millimetres": 0.001, "centimetres": 0.01, "inches": 0.0254}
        fitting = {name: unit for name, unit in units.items() if 0.015 <= largest * unit <= CELL_M}
        advice = "an object of that size does not fit into the cell"
        if largest > 1.0 and fitting:
            hints = [f"{name} (then add objects_scale={scale * unit:g})" for name, unit in fitting.items()]
            advice = f"this looks like {' or '.join(hints)}"
        raise AssetError(f"{path}: largest extent {largest:.4g} m, at most {CELL_M} m: {advice}")
    if largest < SMALLEST_M and not part:
        advice = f"is it in kilometres, or scaled twice? Then add objects_scale={scale * 1000:g}"
        raise AssetError(f"{path}: largest extent {1000 * largest:.4g} mm, at least {1000 * SMALLEST_M:g} mm: {advice}")


def _blueprint(source: MeshSource, shapes: Shapes) -> Blueprint:
    notes = []
    num_faces = len(shapes.visual.mesh.faces)
    if num_faces > NOTED_FACES:
        notes.append(f"its {num_faces:,} triangles are reduced to {NUM_VISUAL_FACES:,} to look at and fewer to collide")
    small = decimate(shapes.visual, NUM_SHAPE_FACES)
    hulls: list[Mesh] = []
    for collider in shapes.colliders:
        mesh = small.mesh if collider.mesh is shapes.visual.mesh else collider.mesh
        parts, note = _convex_parts(source.path, Collider(mesh, collider.is_convex))
        hulls.extend(parts)
        notes.extend([note] if note else [])
    volume_m3, center_m, inertia_m5 = _combined(hulls)
    if shapes.center_m is not None:
        center_m = shapes.center_m
    mass_kg = shapes.mass_kg or float(np.clip(DENSITY_KG_M3 * volume_m3, *MASS_RANGE_KG))
    visual = _outside_out(decimate(small, NUM_VISUAL_FACES))
    return Blueprint(
        name=source.name,
        group="file",
        visual=Mesh(visual.mesh.vertices_m - center_m, visual.mesh.faces),
        vertex_rgb=visual.rgb,
        hulls=tuple(Mesh(hull.vertices_m - center_m, hull.faces) for hull in hulls),
        mass_kg=mass_kg,
        inertia_kg_m2=inertia_m5 * (mass_kg / volume_m3),
        notes=tuple(notes),
    )


def _convex_parts(path: Path, collider: Collider) -> tuple[tuple[Mesh, ...], str]:
    if collider.is_convex:
        return (convex_hull(collider.mesh.vertices_m),), ""
    try:
        return decompose(decimate(Surface(collider.mesh, None), NUM_SHAPE_FACES).mesh)
    except ValueError as error:
        raise AssetError(f"{path}: {error}; an object to grasp needs some thickness") from error


def _combined(hulls: list[Mesh]) -> tuple[float, solids.Points, solids.Points]:
    """Volume, centre (3,) and inertia (3, 3) about it of several parts together, for density one."""
    parts = [mass_properties(hull) for hull in hulls]
    volume = sum(part.volume_m3 for part in parts)
    center = np.sum([part.volume_m3 * part.center_m for part in parts], axis=0) / volume
    inertia = np.zeros((3, 3))
    for part in parts:
        offset = part.center_m - center
        inertia += part.inertia_m5 + part.volume_m3 * (offset @ offset * np.eye(3) - np.outer(offset, offset))
    return volume, center, inertia


def _outside_out(surface: Surface) -> Surface:
    """Turns the triangles of a mesh that is inside out; for an open mesh the sign of its volume is the best sign."""
    vertices, faces = surface.mesh
    inside = Mesh(vertices - vertices.mean(axis=0), faces)
    if mass_properties(inside).volume_m3 >= 0.0:
        return surface
    return Surface(Mesh(vertices, np.ascontiguousarray(faces[:, ::-1])), surface.rgb)


def _files_of(path: Path) -> tuple[Path, ...]:
    """Every file that an object depends on; one that is missing is left out here and reported by the reader."""
    meshes = read_urdf(path).mesh_paths if path.suffix.lower() == ".urdf" else ()
    files = [path, *meshes]
    for mesh in (path, *meshes):
        materials = _named_in(mesh, rb"^mtllib\s+(.+?)\s*$") if mesh.suffix.lower() == ".obj" else []
        files.extend(materials)
        for material in materials:
            files.extend(_named_in(material, rb"^\s*map_Kd\s+(.+?)\s*$"))
    return tuple(dict.fromkeys(files))


def _named_in(path: Path, pattern: bytes) -> list[Path]:
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return []
    names = [name.decode("utf-8", errors="replace") for name in re.findall(pattern, head, flags=re.MULTILINE)]
    return [path.parent / name for name in names if (path.parent / name).is_file()]


@functools.cache
def _code_hash() -> str:
    """Hash of the code that builds objects: files of an older version are never mistaken for those of this one."""
    modules = (asset_store, coacd_process, decomposition, mesh_reading, mesh_shapes, solids, urdf_files)
    paths = [__file__, *(module.__file__ for module in modules)]
    return content_hash([Path(str(path)).read_bytes() for path in paths])[:12]
