"""Perception pretraining: supervised, on single rendered frames with privileged grasp labels."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from simtoreal.perception_error import PerceptionError
from simtoreal.policies.encoders import EncoderSpec, GraspNet, build_encoder
from simtoreal.policies.grasp_map import decode
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.view import ViewSpec, channels
from simtoreal.pretraining.checkpoints import load_checkpoint, save_checkpoint
from simtoreal.pretraining.frame_sets import FrameSet, batches
from simtoreal.pretraining.tracking import Tracker
from simtoreal.progress import Progress

_REGRESSION_WEIGHT = (1.0, 1.5, 1.0, 1.0, 0.5)  # width, height, du, dv, dyaw
_POSITIVE_WEIGHT = 10.0
_MIN_TARGET = 0.1  # cells with less than this teach no geometry
_DISTANCE_EDGES_M = (0.0, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.55, 0.7, 0.9, 1.2)
_GOOD_FRAC = 0.6  # a true grasp this good, of the best in the frame, is a right answer
_WRONG_M, _WRONG_RAD = 0.025, 0.6  # farther than this from every good grasp is no grasp at all


@dataclass(frozen=True)
class TrainingPlan:
    """How the encoder is trained."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    device: str
    num_threads: int


def train_encoder(
    spec: EncoderSpec, view: ViewSpec, frames: FrameSet, plan: TrainingPlan, run: "PerceptionRun"
) -> GraspNet:
    """Trains an encoder on a frame set; goes on from the last finished epoch where `run.folder` holds one."""
    torch.set_num_threads(plan.num_threads)
    torch.manual_seed(plan.seed)
    net = build_encoder(spec, run.weights, pretrained=run.weights is not None or spec.name != "conv_small").to(
        plan.device
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=plan.learning_rate, weight_decay=1e-4)
    steps_per_epoch = len(frames) // plan.batch_size
    if steps_per_epoch == 0:
        raise ValueError(f"batch_size={plan.batch_size} is more than the {len(frames)} frames; render more or lower it")
    schedule = LambdaLR(optimizer, _warm_cosine(plan.epochs * steps_per_epoch))
    first = _restore(run.folder / "perception.pt", net, optimizer, schedule) if run.resume else 0
    with run.progress.task("perception", (plan.epochs - first) * steps_per_epoch) as bar:
        for epoch in range(first, plan.epochs):
            rng = np.random.default_rng((plan.seed, epoch))
            net.train()
            total = 0.0
            for index in batches(len(frames), plan.batch_size, rng):
                inputs, wanted = make_batch(frames, index, view, rng)
                loss = grasp_loss(net(inputs.to(plan.device)), wanted.to(plan.device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                optimizer.step()
                schedule.step()
                total += loss.item()
                bar.advance(note=f"loss {loss.item():.3f}")
            run.tracker.scalar("perception/loss", total / steps_per_epoch, epoch)
            save_checkpoint(
                run.folder / "perception.pt",
                {
                    "net": net.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "epoch": epoch + 1,
                },
            )
    return net.eval()


def _restore(path: Path, net: GraspNet, optimizer: torch.optim.Optimizer, schedule: LambdaLR) -> int:
    """Takes up a checkpoint, if there is one; returns how many epochs it has behind it."""
    state = load_checkpoint(path)
    if state is None:
        return 0
    try:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        return int(state["epoch"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is of another encoder; remove it, or choose another folder with out=") from error


@dataclass(frozen=True)
class PerceptionRun:
    """Where a training writes, and whom it tells."""

    folder: Path
    resume: bool
    tracker: Tracker
    progress: Progress
    weights: Path | None = None  # of a pretrained backbone


def make_batch(
    frames: FrameSet, index: NDArray[np.int64], view: ViewSpec, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Inputs (B, C, P, P) and targets (B, Y, F, h, w); half of the frames mirrored, labels with them."""
    inputs, wanted = [], []
    for i in index:
        planes = channels(frames.rgb[i], frames.height_m[i].astype(np.float32), frames.valid[i],
                          float(frames.edge_m[i]), view.modality)  # fmt: skip
        rows = frames.rows(int(i))
        if rng.random() < 0.5:
            planes, rows = mirrored(planes, rows)
        inputs.append(planes)
        wanted.append(targets(rows, view.pixels))
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(wanted))


def mirrored(planes: NDArray[np.float32], rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A view (C, P, P) as a mirror shows it, and its grasps (G, 6) with it."""
    rows = rows.copy()
    rows[:, 0] = planes.shape[-1] - 1 - rows[:, 0]
    rows[:, 3] = -rows[:, 3]
    return planes[:, :, ::-1], rows


def grasp_loss(predicted: Tensor, wanted: Tensor, known: Tensor | None = None) -> Tensor:
    """Cross entropy of the soft quality, plus smooth L1 of the geometry where there is a grasp.

    Args:
        predicted: maps (B, Y, F, h, w), quality as a logit.
        wanted: the same of the labels, quality in [0, 1].
        known: how far the label of each cell and bin (B, Y, h, w) is to be believed, in [0, 1]; None is everywhere.
    """
    quality = wanted[:, :, 0]
    weight = 1.0 + _POSITIVE_WEIGHT * quality
    if known is not None:
        weight = weight * known
    entropy = F.binary_cross_entropy_with_logits(predicted[:, :, 0], quality, weight=weight, reduction="none")
    mask = quality * (quality > _MIN_TARGET)
    if known is not None:
        mask = mask * (known > 0)
    scale = predicted.new_tensor(_REGRESSION_WEIGHT)[None, None, :, None, None]
    errors = F.smooth_l1_loss(predicted[:, :, 1:], wanted[:, :, 1:], beta=0.1, reduction="none") * scale
    geometry = (errors.sum(2) * mask).sum() / mask.sum().clamp(min=1.0)
    return 40.0 * entropy.mean() + geometry


def _warm_cosine(total_steps: int, warm_steps: int = 200) -> Any:
    warm = min(warm_steps, max(1, total_steps // 10))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        share = (step - warm) / max(1, total_steps - warm)
        return 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0))) + 1e-3

    return factor


def predict_maps(
    net: GraspNet, frames: FrameSet, index: NDArray[np.int64], view: ViewSpec, device: str
) -> NDArray[np.float32]:
    """Grasp maps (B, Y, F, h, w) with qualities in [0, 1]."""
    inputs = np.stack(
        [
            channels(frames.rgb[i], frames.height_m[i].astype(np.float32), frames.valid[i], float(frames.edge_m[i]),
                     view.modality)
            for i in index
        ]
    )  # fmt: skip
    with torch.inference_mode():
        maps = net(torch.from_numpy(inputs).to(device)).float().cpu()
        maps[:, :, 0] = maps[:, :, 0].sigmoid()
    return np.asarray(maps.numpy())


def grasp_errors(net: GraspNet, frames: FrameSet, view: ViewSpec, device: str) -> dict[str, NDArray[np.float64]]:
    """Error of the best predicted grasp of every frame that shows a good one.

    Returns:
        Columns `distance_m`, `lateral_m` (along one axis), `height_m`, `yaw_rad`, `wrong` (0 or 1), `quality`; signed
        errors are against the nearest good true grasp.
    """
    rows: list[tuple[float, ...]] = []
    for start in range(0, len(frames), 64):
        index = np.arange(start, min(start + 64, len(frames)))
        for i, grasp_map in zip(index, predict_maps(net, frames, index, view, device), strict=True):
            error = _frame_error(frames, int(i), grasp_map)
            if error is not None:
                rows.append(error)
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 6)
    return dict(zip(("distance_m", "lateral_m", "height_m", "yaw_rad", "wrong", "quality"), table.T, strict=True))


def _frame_error(frames: FrameSet, index: int, grasp_map: NDArray[np.float32]) -> tuple[float, ...] | None:
    true = frames.rows(index)
    if len(true) == 0 or true[:, 5].max() < 0.3:
        return None
    viewpoint = frames.viewpoint(index)
    found = decode(grasp_map, viewpoint, 1)
    if not found:
        return None
    good = true[true[:, 5] >= _GOOD_FRAC * true[:, 5].max()]
    metres_per_px = float(frames.edge_m[index]) / viewpoint.pixels
    yaw = math.atan2(found[0].T_base_grasp[1, 0], found[0].T_base_grasp[0, 0]) - viewpoint.yaw_rad
    du = (found[0].pixel[0] - good[:, 0]) * metres_per_px
    dv = (found[0].pixel[1] - good[:, 1]) * metres_per_px
    turn = (yaw - good[:, 3] + math.pi / 2) % math.pi - math.pi / 2
    nearest = int(np.argmin(np.hypot(du, dv) / 0.01 + np.abs(turn) / 0.25))
    wrong = math.hypot(du[nearest], dv[nearest]) > _WRONG_M or abs(turn[nearest]) > _WRONG_RAD
    height = float(found[0].T_base_grasp[2, 3] - good[nearest, 2])
    # Both image axes are alike; keeping one keeps the sign of the error.
    return (float(frames.distance_m[index]), float(du[nearest]), height, float(turn[nearest]), float(wrong),
            found[0].quality)  # fmt: skip


def error_model(errors: dict[str, NDArray[np.float64]], min_frames: int = 30) -> PerceptionError:
    """Fits the error model to measured errors: robust spread per distance bin.

    Raises:
        ValueError: there are too few frames to fit anything.
    """
    columns: dict[str, list[float]] = {
        name: [] for name in ("distance_m", "lateral_m", "height_m", "yaw_rad", "wrong_frac")
    }
    distance = errors["distance_m"]
    for low, high in itertools.pairwise(_DISTANCE_EDGES_M):
        inside = (distance >= low) & (distance < high)
        if int(inside.sum()) < min_frames:
            continue
        right = inside & (errors["wrong"] == 0)
        columns["distance_m"].append(float(distance[inside].mean()))
        for name in ("lateral_m", "height_m", "yaw_rad"):
            columns[name].append(float(np.sqrt(np.mean(errors[name][right] ** 2))) if right.any() else 0.01)
        columns["wrong_frac"].append(float(errors["wrong"][inside].mean()))
    if not columns["distance_m"]:
        raise ValueError(f"only {len(distance)} frames show a good grasp; render more to measure the error")
    return PerceptionError(**{name: tuple(values) for name, values in columns.items()})
