"""Batches of real frames: inputs, targets, and what is known of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simtoreal.camera import project
from simtoreal.contracts import FloatArray
from simtoreal.policies.view import View, ViewSpec, to_tensor
from simtoreal.pretraining.perception import mirrored
from simtoreal.transfer.data.augmentation import EXTERNAL, Augmentation, augment
from simtoreal.transfer.data.real_frames import RealFrames, masked_targets, view_rows

_WITH_GRASP = 0.8  # of the windows are drawn around one


class Batch(NamedTuple):
    """Real frames for one step."""

    inputs: Tensor  # (B, C, P, P)
    wanted: Tensor  # (B, Y, F, h, w), quality in [0, 1]
    known: Tensor  # (B, Y, h, w), how far each cell is to be believed

    def to(self, device: str) -> "Batch":
        """The same on a device."""
        return Batch(self.inputs.to(device), self.wanted.to(device), self.known.to(device))


@dataclass(frozen=True)
class BatchMaker:
    """Makes batches of real frames, as a strategy wants them."""

    frames: RealFrames
    view: ViewSpec
    augmented: bool
    unknown_weight: float
    chosen: Augmentation | None = None  # instead of what suits the camera

    @property
    def augmentation(self) -> Augmentation:
        if self.chosen is not None:
            return self.chosen
        return EXTERNAL if self.view.placement == "external" else Augmentation()

    def make(self, index: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Frames by index, disturbed and mirrored if the strategy wants that."""
        return Batch(
            *(torch.from_numpy(np.stack(part)) for part in zip(*(self._one(i, rng) for i in index), strict=True))
        )

    def inputs(self, index: NDArray[np.int64]) -> Tensor:
        """Frames by index as they are, (B, C, P, P)."""
        return torch.from_numpy(np.stack([to_tensor(self.frames.view(int(i)), self.view) for i in index]))

    def _one(self, index: np.int64, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        view, known = self.frames.view(int(index)), self.frames.known(int(index)).copy()
        if self.augmented:
            whole, view = view, augment(view, self.augmentation, rng, self._target_px(view, known, rng))
            if self.augmentation.scale_free:
                known[:, 4] *= whole.metres_per_px / view.metres_per_px
                view = view._replace(edge_m=whole.edge_m)
        planes = to_tensor(view, self.view)
        held, failed = view_rows(known[known[:, 5] > 0.0], view), view_rows(known[known[:, 5] == 0.0], view)
        if self.augmented and rng.random() < 0.5:
            _, failed = mirrored(planes, failed)
            planes, held = mirrored(planes, held)
        return np.ascontiguousarray(planes), *masked_targets(held, failed, planes.shape[-1], self.unknown_weight)

    def _target_px(self, view: View, known: FloatArray, rng: np.random.Generator) -> FloatArray | None:
        """What a window shows: mostly a grasp, and else any place, since most places hold none."""
        if not self.augmentation.window_px:
            return None
        if len(known) and rng.random() < _WITH_GRASP:
            return np.asarray(project(known[[rng.integers(len(known))], :3], view.K, view.T_base_view)[0])
        return np.asarray(rng.uniform(0.2, 0.8, 2) * view.rgb.shape[0])


def draw_balanced(
    frames: RealFrames, index: NDArray[np.int64], num: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Frames out of `index`: first an episode, then one of its frames, so that long episodes do not rule."""
    episodes = np.unique(frames.episode[index])
    chosen = rng.choice(episodes, size=num)
    return np.array([rng.choice(index[frames.episode[index] == episode]) for episode in chosen], dtype=np.int64)
