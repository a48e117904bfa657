"""Who gained and who lost: held-out episodes by what they show, corrected for looking many times."""

import re
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import camera
from simtoreal.contracts import FloatArray
from simtoreal.evaluation.statistics import holm, paired_mean_difference
from simtoreal.policies.view import View
from simtoreal.transfer.data.real_frames import RealFrames

_PATCH_PX = 2
_GREY = 50  # saturation or value of 255 below which there is no hue
_HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
_MIN_EPISODES = 3  # fewer say nothing of a slice
Labels = NDArray[np.str_]


def describe(
    frames: RealFrames, episodes: NDArray[np.int64], object_names: Sequence[str] | None = None
) -> dict[str, Labels]:
    """For each way of slicing the slice of each episode (E,): width, colour and kind of object, brightness, place.

    Args:
        frames: of all episodes.
        episodes: (E,) with something held.
        object_names: of each; the kind is the name without its number, as in `mug_0007`.
    """
    rows = [frames.of_episodes(np.array([episode])) for episode in episodes]
    rows = [index[frames.has_held[index]] for index in rows]
    grasps = [frames.grasps[index[-1], : frames.num_grasps[index[-1]]] for index in rows]
    held = np.array([known[known[:, 5] > 0.5][0] for known in grasps])
    brightness = np.array([float(frames.rgb[index].mean()) for index in rows])
    middle = np.median(held[:, :2], axis=0)
    named = {} if object_names is None else {"kind of object": np.array([kind_of(name) for name in object_names])}
    views = [frames.view(int(index[-1])) for index in rows]
    return {
        **named,
        "colour": np.array([colour_of(view, grasp) for view, grasp in zip(views, held, strict=True)]),
        "object between the jaws": _halves(held[:, 4], "narrow", "wide"),
        "picture": _halves(brightness, "dark", "bright"),
        "place": _halves(np.linalg.norm(held[:, :2] - middle, axis=1), "middle of the cell", "edge of the cell"),
        "side": _halves(held[:, 1], "right", "left"),
    }


def kind_of(object_name: str) -> str:
    """The shape group that a name begins with, or what people called the object, without a number.

    >>> kind_of("mug_0007"), kind_of("red cup 2"), kind_of("907")
    ('mug', 'red cup', 'numbered')
    """
    return re.sub(r"[\s_-]*\d+$", "", object_name).strip() or ("numbered" if object_name.strip() else "unnamed")


def colour_of(view: View, grasp: FloatArray) -> str:
    """Colour of what lies at a grasp (6,) in a view: grey, or the nearest of six hues."""
    u, v = camera.project(grasp[:3], view.K, view.T_base_view).round().astype(int).tolist()
    patch = view.rgb[max(v - _PATCH_PX, 0) : v + _PATCH_PX + 1, max(u - _PATCH_PX, 0) : u + _PATCH_PX + 1]
    if not patch.any():
        return "no colour"
    hue, saturation, value = np.median(cv2.cvtColor(patch, cv2.COLOR_RGB2HSV).reshape(-1, 3), axis=0).tolist()
    if saturation < _GREY or value < _GREY:
        return "grey"
    return _HUES[round(hue / 30.0) % len(_HUES)]  # OpenCV's hue is half of 360 degrees


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
