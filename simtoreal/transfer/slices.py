"""Who gained and who lost: held-out episodes by what they show, corrected for looking many times."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import FloatArray
from simtoreal.evaluation.statistics import holm, paired_mean_difference
from simtoreal.transfer.real_frames import RealFrames

_MIN_EPISODES = 3  # fewer say nothing of a slice
Labels = NDArray[np.str_]


def describe(frames: RealFrames, episodes: NDArray[np.int64]) -> dict[str, Labels]:
    """For each way of slicing the slice of each episode (E,): width of the object, brightness, place in the cell."""
    rows = [frames.of_episodes(np.array([episode])) for episode in episodes]
    rows = [index[frames.has_held[index]] for index in rows]
    grasps = [frames.grasps[index[-1], : frames.num_grasps[index[-1]]] for index in rows]
    held = np.array([known[known[:, 5] > 0.5][0] for known in grasps])
    brightness = np.array([float(frames.rgb[index].mean()) for index in rows])
    middle = np.median(held[:, :2], axis=0)
    return {
        "object between the jaws": _halves(held[:, 4], "narrow", "wide"),
        "picture": _halves(brightness, "dark", "bright"),
        "place": _halves(np.linalg.norm(held[:, :2] - middle, axis=1), "middle of the cell", "edge of the cell"),
        "side": _halves(held[:, 1], "right", "left"),
    }


def by_slice(
    gain: FloatArray, episodes: NDArray[np.int64], slices: dict[str, Labels], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Mean gain (E,) of every slice with its interval, and a p value that counts how many slices there are."""
    found: list[dict[str, Any]] = []
    for kind, labels in slices.items():
        for name in np.unique(labels):
            inside = labels == name
            if int(inside.sum()) < _MIN_EPISODES:
                continue
            values = gain[inside]
            difference = paired_mean_difference(values, np.zeros_like(values), episodes[inside].tolist(), rng=rng)
            found.append({"kind": kind, "slice": str(name), "n_episodes": int(inside.sum()), **difference._asdict()})
    for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
        row["p_corrected"] = float(p)
    return found


def _halves(values: FloatArray, below: str, above: str) -> Labels:
    """Lower and upper half; where all are alike there is one slice."""
    return np.where(values > np.median(values), above, below)
