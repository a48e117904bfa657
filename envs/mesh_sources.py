"""Finds the objects in a folder of URDF and mesh files, whatever its layout, without reading any mesh.

One object is: a URDF (the meshes that it names are its own, not further objects); a mesh file with a name of its own,
in whichever of its formats says most; or a folder of meshes with names that say nothing (`textured.obj`,
`google_16k/nontextured.ply`, `meshes/model.obj`), as scan data sets have them, which gives the object its name.
"""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from simtoreal.envs.assets import AssetError, AssetProblem
from simtoreal.envs.urdf_files import MESH_SUFFIXES, mesh_names, read_urdf

SUFFIXES = (".urdf", *MESH_SUFFIXES)
MAX_DEPTH = 6
# Names that say nothing of the object, most wanted first.
_SCANS = ("textured", "textured_simple", "model", "model_normalized", "object", "mesh", "nontextured")
STEMS = (*_SCANS, "nontextured_proc_stl", "visual", "collision", "merged_cloud")
_RESOLUTIONS = ("google_16k", "google_64k", "google_512k")
FOLDERS = (*_RESOLUTIONS, "meshes", "mesh", "visual", "models", "urdf", "poisson", "tsdf", "clouds", "collision")
# `x_vhacd.obj` beside `x.obj` is a collision shape of x.
COMPANIONS = ("_vhacd", "_coacd", "_collision", "_col", "_convex", "_hull", "_decomposed", "_decomp")
HEAD_BYTES = 1 << 18


class MeshSource(NamedTuple):
    """One object of a folder, before it has been read."""

    name: str
    path: Path


def find_objects(root: Path) -> tuple[list[MeshSource], list[AssetProblem]]:
    """Lists the objects in a folder (or the one object in a file) by name, and files that are broken at first sight.

    Raises:
        ValueError: the folder is missing or holds no file of a known kind.
    """
    files = _files(root)
    groups: dict[Path, list[Path]] = {}
    hidden, problems = _urdf_parts(files)
    broken = {problem.path for problem in problems}
    for path in files:
        if path.resolve() not in hidden and not _is_companion(path, files):
            groups.setdefault(_group_key(path, root), []).append(path)
    found = []
    for key, paths in groups.items():
        best = min(paths, key=_rank)
        reason = "" if best in broken else _first_sight(best)
        if reason:
            problems.append(AssetProblem(best, reason))
        elif best not in broken:
            found.append((key, best))
    return _named(found, root), problems


def _files(root: Path) -> set[Path]:
    if root.is_file() and root.suffix.lower() in SUFFIXES:
        return {root}
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder, and no {', '.join(SUFFIXES)} file of that name")
    files: set[Path] = set()
    for folder, folders, names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = [name for name in folders if not name.startswith(".") and depth < MAX_DEPTH]
        files.update(Path(folder) / name for name in names if Path(name).suffix.lower() in SUFFIXES and name[0] != ".")
    if not files:
        raise ValueError(f"{root}: the folder holds no {', '.join(SUFFIXES)} file, in it or in folders below it")
    return files


def _urdf_parts(files: set[Path]) -> tuple[set[Path], list[AssetProblem]]:
    """The mesh files that belong to a URDF, and the URDFs that are broken."""
    hidden: set[Path] = set()
    problems = []
    for path in sorted(path for path in files if path.suffix.lower() == ".urdf"):
        try:
            hidden.update(mesh.resolve() for mesh in read_urdf(path).mesh_paths)
        except AssetError as error:
            problems.append(AssetProblem(path, str(error).removeprefix(f"{path}: ")))
            # The meshes of a robot, or of a broken URDF, are not objects in their own right.
            names = mesh_names(path)
            near = [mesh for mesh in files if mesh.name in names and mesh.is_relative_to(path.parent.parent)]
            hidden.update(mesh.resolve() for mesh in near)
    return hidden, problems


def _is_companion(path: Path, files: set[Path]) -> bool:
    for ending in COMPANIONS:
        stem = path.stem.removesuffix(ending)
        if stem != path.stem and any(path.with_name(stem + suffix) in files for suffix in SUFFIXES):
            return True
    return False


def _group_key(path: Path, root: Path) -> Path:
    """The same for all files of one object: a path without suffix, or the folder that names the object."""
    if path.stem.lower() not in STEMS or path == root:
        return path.with_suffix("")
    folder = path.parent
    while folder != root and folder.name.lower() in FOLDERS:
        folder = folder.parent
    return folder


def _rank(path: Path) -> tuple[int, int, int, str]:
    stem, folder = path.stem.lower(), path.parent.name.lower()
    return (
        SUFFIXES.index(path.suffix.lower()),
        FOLDERS.index(folder) if folder in FOLDERS else -1,
        STEMS.index(stem) if stem in STEMS else -1,
        str(path),
    )


def _first_sight(path: Path) -> str:
    """What is wrong with a file, as far as its size and first bytes tell; empty if nothing is."""
    suffix = path.suffix.lower()
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not size:
        return "is empty"
    is_mesh = {
        ".urdf": True,  # has been read already
        ".obj": head.startswith(b"v ") or b"\nv " in head or size > HEAD_BYTES,
        ".ply": head.startswith(b"ply"),
        ".stl": head.lstrip().startswith(b"solid") or size == 84 + 50 * int.from_bytes(head[80:84], "little"),
    }
    return "" if is_mesh[suffix] else f"is cut off or is no {suffix} file"


def _named(found: list[tuple[Path, Path]], root: Path) -> list[MeshSource]:
    """Gives every object its own name: that of its file or folder, with the folders above where several share one."""
    count = Counter(key.name for key, _ in found)
    sources = []
    for key, path in sorted(found):
        below = key.relative_to(root).parts if key != root and key.is_relative_to(root) else (key.name,)
        sources.append(MeshSource(key.name if count[key.name] == 1 else "-".join(below), path))
    return sources
