"""Recorded frames as training samples: canonical views through the one image path, with grasps in the base frame."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames as se3
from simtoreal.contracts import FloatArray
from simtoreal.policies.grasp_map import in_view, viewpoint_of
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.view import View, from_camera_row
from simtoreal.transfer.data.labels import KnownGrasp

MAX_GRASPS = 8  # kept per frame: an episode closes its jaws a few times
_KNOWN_ABOVE = 0.5  # cells and bins whose target is at least this share the label; farther ones are unknown


@dataclass(frozen=True)
class RealFrames:
    """Arrays over the frames of a dataset that are used."""

    rgb: NDArray[np.uint8]  # (N, P, P, 3)
    height_m: NDArray[np.float32]  # (N, P, P), nan where unknown
    valid: NDArray[np.bool_]  # (N, P, P)
    edge_m: NDArray[np.float32]  # (N,)
    camera: NDArray[np.float64]  # (N, 21), rows as `View.camera_row`
    grasps: NDArray[np.float64]  # (N, MAX_GRASPS, 6): x, y, z, yaw, width in the base frame, quality (0 failed)
    num_grasps: NDArray[np.int32]  # (N,)
    episode: NDArray[np.int32]  # (N,) position in the dataset
    frame: NDArray[np.int32]  # (N,) in the episode

    def __len__(self) -> int:
        return len(self.edge_m)

    def view(self, index: int) -> View:
        """One frame, as `make_view` gave it."""
        K, T = from_camera_row(self.camera[index])
        return View(self.rgb[index], self.height_m[index], self.valid[index], K, T, float(self.edge_m[index]))

    def known(self, index: int) -> FloatArray:
        """What is known of a frame: (G, 6) as in `grasps`."""
        return self.grasps[index, : self.num_grasps[index]]

    @property
    def has_held(self) -> NDArray[np.bool_]:
        """(N,) whether a frame shows where something was held."""
        inside = np.arange(self.grasps.shape[1]) < self.num_grasps[:, None]
        return np.asarray((inside & (self.grasps[:, :, 5] > 0.5)).any(axis=1))

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """(N,) whether anything is known of a frame."""
        return np.asarray(self.num_grasps > 0)

    def of_episodes(self, episodes: NDArray[Any]) -> NDArray[np.int64]:
        """Indices of the frames of some episodes."""
        return np.flatnonzero(np.isin(self.episode, episodes))


def pack(view: View, known: tuple[KnownGrasp, ...]) -> dict[str, NDArray[Any]]:
    """One frame as a row of each array but `episode` and `frame`; grasps out of view are not known of it."""
    rows = np.zeros((MAX_GRASPS, 6))
    seen = [row for row in map(_row, known) if len(view_rows(row[None], view))][:MAX_GRASPS]
    for index, row in enumerate(seen):
        rows[index] = row
    return {
        "rgb": view.rgb,
        "height_m": view.height_m.astype(np.float32),
        "valid": view.valid,
        "edge_m": np.asarray(view.edge_m, dtype=np.float32),
        "camera": view.camera_row,
        "grasps": rows,
        "num_grasps": np.asarray(len(seen), dtype=np.int32),
    }


def stack(rows: list[dict[str, NDArray[Any]]]) -> RealFrames:
    """Frames from rows of all arrays; at least one."""
    return RealFrames(**{item.name: np.stack([row[item.name] for row in rows]) for item in fields(RealFrames)})


def view_rows(known: FloatArray, view: View) -> NDArray[np.float32]:
    """Grasps of the base frame (G, 6) as rows of the view, failures with quality 1; those outside are left out."""
    quality = np.where(known[:, 5] > 0.0, known[:, 5], 1.0)
    return in_view(known[:, :3], known[:, 3], known[:, 4], quality, viewpoint_of(view))


def masked_targets(
    held: NDArray[np.float32], failed: NDArray[np.float32], pixels: int, unknown_weight: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Targets (Y, F, h, w) of rows (G, 6), and how far each cell and bin (Y, h, w) is to be believed.

    Where something was held there is a grasp; where the jaws closed on nothing there is none; of every other cell
    nothing is known. `unknown_weight` believes that there is none, by that much.
    """
    wanted, missed, tried = targets(held, pixels), targets(failed, pixels)[:, 0], _reach(held, pixels)
    known = np.full(missed.shape, unknown_weight, dtype=np.float32)
    known[missed >= _KNOWN_ABOVE] = 1.0
    known[tried >= _KNOWN_ABOVE] = 1.0
    # Next to what was held the target falls off by convention, not because anybody tried there.
    between = (tried > 0) & (tried < _KNOWN_ABOVE) & (missed < _KNOWN_ABOVE)
    known[between] = 0.0
    return wanted, known


def _reach(held: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """What grasps reach (Y, h, w), however good they are."""
    alike = held.copy()
    alike[:, 5] = 1.0
    return targets(alike, pixels)[:, 0]


def _row(grasp: KnownGrasp) -> FloatArray:
    x, y, z = grasp.T_base_grasp[:3, 3]
    return np.array([x, y, z, se3.yaw_of(grasp.T_base_grasp), grasp.width_m, float(grasp.held)])
