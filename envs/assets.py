"""Objects to grasp: what every object set hands out, how it is kept on disk, and what goes wrong with one.

An asset has two shapes. `urdf_path` is what the simulator loads: its collision parts are convex. `vertices_m` and
`faces` are what the renderer and the grasp planner see. Both live in the `obj` frame, which is the frame that PyBullet
reports for the base of the loaded URDF: its inertial frame, centre of mass at the origin, +Z the way up that the author
chose.
"""

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CACHE_ENV = "SIMTOREAL_CACHE"
NOMINAL_FRICTION = 0.8


class AssetError(ValueError):
    """An object cannot be used; the message names the file and says why and what to do."""


class AssetProblem(NamedTuple):
    """A file that was left out of an object set, or is used with a reservation."""

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectAsset:
    """One rigid object, ready to be simulated, rendered and planned on."""

    name: str
    group: str  # shape group: "random", "box", "mug", ..., or "file" for the user's own
    urdf_path: Path  # what the simulator loads
    vertices_m: NDArray[np.float64]  # (V, 3), obj frame
    faces: NDArray[np.int32]  # (F, 3), counter-clockwise seen from outside
    vertex_rgb: NDArray[np.uint8] | None  # (V, 3), None where the file has no colours
    mass_kg: float
    friction: float  # nominal lateral coefficient
    sha: str  # of everything above: two assets with one hash are the same object
    notes: tuple[str, ...] = ()  # reservations, as "reduced from 1,000,000 triangles"

    @property
    def extents_m(self) -> NDArray[np.float64]:
        """Size (3,) of the axis-aligned box around the object in its own frame."""
        return np.asarray(np.ptp(self.vertices_m, axis=0))


def default_cache_dir() -> Path:
    """Folder for generated objects and convex decompositions: `SIMTOREAL_CACHE`, else `~/.cache/simtoreal`."""
    configured = os.environ.get(CACHE_ENV, "").strip()
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "simtoreal"


def content_hash(parts: Iterable[bytes | str]) -> str:
    """Hash (hex, 20 digits) of several pieces of content; the borders between them count."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:20]


def cache_write_error(folder: Path, error: OSError) -> OSError:
    """The error to raise when a file of the cache cannot be written: names the folder and how to choose another."""
    reason = error.strerror or str(error)
    advice = f"Free some space, or set {CACHE_ENV} to a folder that can be written."
    return OSError(error.errno, f"cannot write the object cache in {folder}: {reason}. {advice}")


def write_cached(path: Path, text: str) -> None:
    """Writes a small file of the cache so that a reader, or a second writer, never sees half of it.

    Raises:
        OSError: the cache is read-only or full; the message says which folder and what to set.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise cache_write_error(path.parent, error) from error
