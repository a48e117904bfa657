"""The Cornell images for `cornell.py`: the same square of each, its rectangles, and what agrees with them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from simtoreal.episodes.grasp_rectangles import LABEL, GraspRectangle, angle_between_rad, from_label, iou
from simtoreal.episodes.importing.rectangle_folders import CAMERA, CORNELL, RectangleSource
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.policies.encoders import EncoderSpec, GraspNet, for_inference
from simtoreal.policies.view import ViewSpec, to_tensor
from simtoreal.transfer.data.augmentation import Augmentation
from simtoreal.transfer.data.image_plane import (
    EDGE_M,
    Region,
    best_rectangle,
    label_picture,
    stack_pictures,
    symmetric_maps,
    with_shifted,
)
from simtoreal.transfer.data.real_frames import RealFrames

REGION = Region(left_px=140, top_px=84, edge_px=320)  # of every image alike: the sheet that the objects lie on
VIEW = ViewSpec("external", "rgb", 144, max_edge_m=EDGE_M)
ENCODER = EncoderSpec("conv_small", "rgb", 32)
# A picture has no horizon and no scale that anybody knows; the same for every arm, in simulation and on real images.
AUGMENTATION = Augmentation(
    roll_rad=math.pi, zoom=0.6, brightness=0.3, contrast=0.3, channel=0.15, noise=6.0, scale_free=True, window_px=96
)
JAW_PX = 25.0  # the map does not say how broad the jaws are; the rectangles of Cornell have 26 in the median
READ = 2  # version of how a rectangle is read from a map, which outcomes that are kept depend on
METRICS = {"rectangle": (0.25, math.radians(30.0)), "strict": (0.50, math.radians(15.0))}


class Pictures(NamedTuple):
    """All images."""

    names: list[str]
    fold: NDArray[np.int64]  # (N,)
    rectangles: list[list[GraspRectangle]]  # the positive ones
    frames: RealFrames


def load_pictures(folder: Path) -> Pictures:
    """The images of a folder, through the importer.

    Raises:
        SourceError: the folder does not hold them, or one is damaged.
        OSError: it has no `folds.json`.
    """
    folds = json.loads((folder / "folds.json").read_text(encoding="utf-8"))["objectwise_folds"]
    fold_of = {f"pcd{name}": number for number, names in enumerate(folds) for name in names}
    source = RectangleSource(folder, ImportConfig(source=folder), CORNELL)
    names = [name for name in source.names() if name in fold_of]
    rectangles, labelled = [], []
    for name in names:
        episode = source.open(name)
        rgb = next(iter(episode.frames)).images[CAMERA].rgb
        assert rgb is not None
        positive = [from_label(label) for label in episode.end().labels[LABEL] if label["positive"]]
        rectangles.append(positive)
        labelled.append(label_picture(rgb, with_shifted(positive), REGION, VIEW.pixels))
    return Pictures(names, np.array([fold_of[name] for name in names]), rectangles, stack_pictures(labelled))


def outcomes(nets: Mapping[GraspNet, float], pictures: Pictures, index: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the first choice of nets, asked together, agrees with a positive rectangle: (len(index), metrics).

    Args:
        nets: the nets, and how much the word of each counts.
        pictures: all images.
        index: those that are looked at.
    """
    found = np.zeros((len(index), len(METRICS)), dtype=np.bool_)
    for row, i, grasp_map in zip(found, index, _maps(nets, pictures.frames, index), strict=True):
        chosen = best_rectangle(grasp_map, pictures.frames.view(int(i)), REGION, JAW_PX)
        if chosen is not None:
            row[:] = [
                any(angle_between_rad(chosen, true) <= turn and iou(chosen, true) > overlap
                    for true in pictures.rectangles[i])
                for overlap, turn in METRICS.values()
            ]  # fmt: skip
    return found


def _maps(nets: Mapping[GraspNet, float], frames: RealFrames, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean of what the nets say, weighted."""
    views = torch.from_numpy(np.stack([to_tensor(frames.view(int(i)), VIEW) for i in index]))
    asked = [for_inference(net) for net in nets]
    said = [np.concatenate([symmetric_maps(net, batch) for batch in torch.split(views, 32)]) for net in asked]
    return np.average(said, axis=0, weights=list(nets.values())).astype(np.float32)
