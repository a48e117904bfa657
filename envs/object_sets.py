"""Named sets of objects: `random_train`, `random_test`, `household_train`, `household_test`, or any folder.

Listing a set is cheap and reads no geometry that it can avoid; an object is built, or read from the cache, when
`ObjectSet.asset` asks for it.
"""

import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs import household
from simtoreal.envs.assets import (
    NOMINAL_FRICTION,
    AssetError,
    AssetProblem,
    ObjectAsset,
    content_hash,
)

RANDOM_SPLITS = {"random_train": range(900), "random_test": range(900, 1000)}
SET_NAMES = (*RANDOM_SPLITS, *household.NUM_PER_SPLIT)
RANDOM_SCALE = 0.015  # as in every URDF of pybullet_data/random_urdfs
RANDOM_MASS_KG = 0.1
MAX_IN_MEMORY = 512  # about 20 MB; a worker that needs more objects reads them again from disk


class ObjectSet:
    """Objects by name, built on demand and remembered.

    Example:
        >>> objects = load_object_set("random_test", Path("/tmp"))
        >>> len(objects), objects.asset("900").group
        (100, 'random')
    """

    def __init__(
        self,
        name: str,
        names: tuple[str, ...],
        load: Callable[[str], ObjectAsset],
        problems: Iterable[AssetProblem] = (),
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        self.name = name
        self.names = names
        self._problems = dict.fromkeys(problems)
        self._paths = paths or {}
        self._known = frozenset(names)
        self._load = load
        self._recent: OrderedDict[str, ObjectAsset] = OrderedDict()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @property
    def problems(self) -> tuple[AssetProblem, ...]:
        """Files that were left out, those that failed since, and objects used with a reservation, without repeats."""
        return tuple(self._problems)

    def asset(self, name: str) -> ObjectAsset:
        """One object of the set.

        Raises:
            AssetError: the set has no such object, or its file turned out to be unusable.
            OSError: the cache cannot be written.
        """
        if name not in self._known:
            some = f"{len(self.names)}, {self.names[0]!r} to {self.names[-1]!r}"
            raise AssetError(f"object set {self.name!r} has no object {name!r}; it has {some}")
        if name not in self._recent:
            self._recent[name] = self._loaded(name)
            if len(self._recent) > MAX_IN_MEMORY:
                self._recent.popitem(last=False)
        self._recent.move_to_end(name)
        return self._recent[name]

    def usable(self, progress: Callable[[str], None] | None = None) -> "ObjectSet":
        """The same set without the objects that cannot be built, all of which are built now: do it before a long run.

        Args:
            progress: told the name of each object when it is done.

        Raises:
            ValueError: nothing is left; the message has the reasons.
        """
        names = [name for name in self.names if self._is_usable(name, progress)]
        if not names:
            raise ValueError(no_usable_object(self.name, self.problems))
        return ObjectSet(self.name, tuple(names), self._load, self._problems, self._paths)

    def _is_usable(self, name: str, progress: Callable[[str], None] | None) -> bool:
        try:
            self.asset(name)
        except AssetError:
            return False
        finally:
            if progress is not None:
                progress(name)
        return True

    def _loaded(self, name: str) -> ObjectAsset:
        try:
            asset = self._load(name)
        except AssetError as error:
            path, _, reason = str(error).partition(": ")
            self._problems[AssetProblem(Path(path), reason)] = None
            raise
        for note in asset.notes:
            self._problems[AssetProblem(self._paths.get(name, Path(name)), note)] = None
        return asset


def load_object_set(name_or_dir: str, cache_dir: Path, scale: float = 1.0) -> ObjectSet:
    """Opens an object set by name, or a folder of `.urdf`, `.obj`, `.stl` and `.ply` files.

    Args:
        name_or_dir: one of `SET_NAMES`, or a folder (or a single file).
        cache_dir: where generated files are kept, see `assets.default_cache_dir`.
        scale: metres per unit of the files in a folder; 0.001 for meshes in millimetres.

    Raises:
        ValueError: neither a set nor a folder with a usable object; the message has the reasons.
    """
    if name_or_dir in SET_NAMES and scale != 1.0:
        raise ValueError(
            f"objects_scale={scale:g} is for folders of files; {name_or_dir!r} has its own sizes: leave it 1"
        )
    if name_or_dir in household.NUM_PER_SPLIT:
        split, names = name_or_dir, household.object_names(name_or_dir)
        return ObjectSet(split, names, lambda name: household.household_asset(split, name, cache_dir))
    if name_or_dir in RANDOM_SPLITS:
        return _random_set(name_or_dir)
    if not Path(name_or_dir).expanduser().exists():
        raise ValueError(f"no object set {name_or_dir!r}, and no such folder; the sets are {', '.join(SET_NAMES)}")
    return _folder_set(Path(name_or_dir).expanduser(), cache_dir, scale)


def no_usable_object(where: str, problems: Sequence[AssetProblem]) -> str:
    """The message for a set of which nothing can be used: the first reasons, and how many more there are."""
    reasons = "".join(f"\n  {problem.path}: {problem.reason}" for problem in problems[:5])
    more = f"\n  and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f"{where}: no usable object among {len(problems)}:{reasons}{more}"


def _folder_set(root: Path, cache_dir: Path, scale: float) -> ObjectSet:
    # Mesh libraries take half a second and 60 MB, which workers on the built-in sets need not spend.
    from simtoreal.envs.mesh_files import MeshLoader
    from simtoreal.envs.mesh_sources import find_objects

    sources, problems = find_objects(root)
    loader = MeshLoader(cache_dir, scale)
    # One object that can be used is looked for now, so that a folder in millimetres is refused before anything starts.
    while sources:
        try:
            loader.check(sources[0])
            break
        except AssetError as error:
            path, _, reason = str(error).partition(": ")
            problems.append(AssetProblem(Path(path), reason))
            sources.pop(0)
    if not sources:
        raise ValueError(no_usable_object(str(root), problems))
    by_name = {source.name: source for source in sources}
    paths = {source.name: source.path for source in sources}
    return ObjectSet(str(root), tuple(by_name), lambda name: loader.asset(by_name[name]), problems, paths)


def pybullet_data_dir() -> Path:
    """Folder of the data files that are installed with PyBullet, found without importing anything."""
    spec = importlib.util.find_spec("pybullet_data")
    if spec is None or spec.origin is None:
        raise ValueError("pybullet_data is not installed: run `pip install pybullet`, which brings it")
    return Path(spec.origin).parent


def _random_set(name: str) -> ObjectSet:
    root = pybullet_data_dir() / "random_urdfs"
    names, problems = [], []
    for index in RANDOM_SPLITS[name]:
        path = root / f"{index:03d}" / f"{index:03d}.obj"
        reason = _random_problem(path)
        if reason:
            problems.append(AssetProblem(path, reason))
        else:
            names.append(path.stem)
    if not names:
        raise ValueError(f"object set {name!r} is empty: {root} holds no usable object; reinstall pybullet")
    return ObjectSet(name, tuple(names), lambda stem: _random_asset(root / stem / f"{stem}.obj"), tuple(problems))


def _random_problem(path: Path) -> str:
    """Why an object cannot be used, or an empty string. A text search: parsing 1000 meshes would take a second."""
    try:
        text = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not path.with_suffix(".urdf").is_file():
        return "has no URDF beside it"
    return "has vertices that are not finite" if b"nan" in text.lower() else ""


def _random_asset(path: Path) -> ObjectAsset:
    # The URDF puts the inertial origin at the mesh origin, so the obj frame is the scaled frame of the file.
    data = path.read_bytes()
    urdf = path.with_suffix(".urdf")
    vertices, faces = _parse_obj(data)
    return ObjectAsset(
        name=path.stem,
        group="random",
        urdf_path=urdf,
        vertices_m=vertices * RANDOM_SCALE,
        faces=faces,
        vertex_rgb=None,
        mass_kg=RANDOM_MASS_KG,
        friction=NOMINAL_FRICTION,
        sha=content_hash([data, urdf.read_bytes()]),
    )


def _parse_obj(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices (V, 3) and faces (F, 3) of an OBJ of plain triangles; several times faster than a general loader."""
    lines = data.split(b"\n")
    vertices = np.array([line.split()[1:4] for line in lines if line.startswith(b"v ")], dtype=np.float64)
    corners = [line.replace(b"/", b" ").split() for line in lines if line.startswith(b"f ")]
    step = (len(corners[0]) - 1) // 3
    faces = np.array([corner[1 :: max(step, 1)][:3] for corner in corners], dtype=np.int32) - 1
    return vertices, faces
