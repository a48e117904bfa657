"""Perception training: it learns, goes on exactly where it was killed, and measures its own error honestly."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from simtoreal import frames as se3
from simtoreal.policies.encoders import EncoderSpec, GraspNet, build_encoder
from simtoreal.policies.grasp_map import Viewpoint, decode
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.view import ViewSpec
from simtoreal.pretraining.frame_sets import FrameSet
from simtoreal.pretraining.perception import (
    PerceptionRun,
    TrainingPlan,
    error_model,
    grasp_errors,
    grasp_loss,
    make_batch,
    train_encoder,
)
from simtoreal.pretraining.tracking import Tracker
from simtoreal.progress import Progress

SPEC, VIEW = EncoderSpec(width=16), ViewSpec()


def plan(epochs: int = 4, **changes: Any) -> TrainingPlan:
    return dataclasses.replace(TrainingPlan(epochs, 16, 3e-3, seed=0, device="cpu", num_threads=1), **changes)


def logits(quality: NDArray[np.float32]) -> NDArray[np.float32]:
    inside = np.clip(quality, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))


class Perfect:
    """A network that knows the labels; frames must be asked for in order."""

    def __init__(self, frames: FrameSet) -> None:
        self._frames, self._next = frames, 0

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        maps = []
        for _ in range(len(inputs)):
            wanted = targets(self._frames.rows(self._next), VIEW.pixels)
            wanted[:, 0] = logits(wanted[:, 0])
            maps.append(wanted)
            self._next += 1
        return torch.from_numpy(np.stack(maps))


def in_front_of_flat_table(rows: NDArray[np.float32]) -> tuple[FrameSet, Viewpoint]:
    """One frame seen from straight above the table."""
    pixels, eye_m, edge_m = VIEW.pixels, 0.35, 0.26
    focal, middle = pixels * eye_m / edge_m, 0.5 * (pixels - 1)
    K = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
    T = se3.look_at((0.5, 0.0, eye_m), (0.5, 0.0, 0.0), up=(0.0, 1.0, 0.0))
    rng = np.random.default_rng(0)
    grasps = np.zeros((1, 160, 6), np.float32)
    grasps[0, : len(rows)] = rows
    frames = FrameSet(
        rgb=rng.integers(0, 255, (1, pixels, pixels, 3), dtype=np.uint8),
        height_m=rng.uniform(0, 0.1, (1, pixels, pixels)).astype(np.float16),
        valid=np.ones((1, pixels, pixels), dtype=bool),
        edge_m=np.array([edge_m], np.float32),
        camera=np.concatenate([K.ravel(), T[:3].ravel()])[None].astype(np.float32),
        distance_m=np.array([0.35], np.float32),
        grasps=grasps,
        num_grasps=np.array([len(rows)], np.int32),
    )
    return frames, frames.viewpoint(0)


def mirrored(flip: bool) -> np.random.Generator:
    """A generator whose first draw decides to mirror, or not to."""
    return next(
        np.random.default_rng(seed) for seed in range(100) if (np.random.default_rng(seed).random() < 0.5) == flip
    )


@pytest.mark.parametrize("yaw_rad", [0.0, 0.6, -1.2, np.pi / 2 - 0.01, -np.pi / 2])
def test_a_mirrored_frame_decodes_to_the_mirrored_grasp(yaw_rad: float):
    rows = np.array([[20.3, 41.7, 0.04, yaw_rad, 0.05, 0.9]], np.float32)
    frames, viewpoint = in_front_of_flat_table(rows)
    batches = [make_batch(frames, np.array([0]), VIEW, mirrored(flip)) for flip in (False, True)]
    assert torch.equal(batches[0][0].flip(-1), batches[1][0])
    (plain,), (flipped,) = (decode(wanted[0].numpy(), viewpoint, 1) for _, wanted in batches)
    # Seen from above, mirroring the image turns x about the middle of the view and yaw about zero.
    assert flipped.T_base_grasp[0, 3] - 0.5 == pytest.approx(0.5 - plain.T_base_grasp[0, 3], abs=1e-5)
    assert flipped.T_base_grasp[1:3, 3] == pytest.approx(plain.T_base_grasp[1:3, 3], abs=1e-5)
    turn = se3.yaw_of(flipped.T_base_grasp) + se3.yaw_of(plain.T_base_grasp) - 2 * viewpoint.yaw_rad
    assert se3.wrap_half_turn(turn) == pytest.approx(0.0, abs=1e-4)


def test_half_of_the_frames_are_mirrored_and_none_is_changed_in_the_store(frames: FrameSet):
    before = frames.grasps.copy()
    index = np.zeros(200, dtype=np.int64)
    inputs, _ = make_batch(frames, index, VIEW, np.random.default_rng(0))
    same = (inputs == inputs[0]).flatten(1).all(dim=1)
    assert 70 < int(same.sum()) < 130
    assert np.array_equal(frames.grasps, before)


@pytest.mark.parametrize("modality", ["rgb", "depth", "rgbd"])
def test_batches_have_the_shapes_of_the_encoder(frames: FrameSet, modality: str):
    view = ViewSpec(modality=modality)
    inputs, wanted = make_batch(frames, np.arange(3), view, np.random.default_rng(0))
    net = build_encoder(EncoderSpec("conv_small", view.modality, 8))
    assert net(inputs).shape == wanted.shape
    assert torch.isfinite(inputs).all()
    assert torch.isfinite(grasp_loss(net(inputs), wanted))


def test_the_loss_is_least_at_the_labels_and_blind_to_geometry_where_there_is_no_grasp(frames: FrameSet):
    _, wanted = make_batch(frames, np.arange(8), VIEW, np.random.default_rng(0))
    perfect = wanted.clone()
    perfect[:, :, 0] = torch.from_numpy(logits(wanted[:, :, 0].numpy()))
    best = float(grasp_loss(perfect, wanted))
    nowhere = perfect.clone()
    nowhere[:, :, 1:] += 5.0 * (wanted[:, :, :1] < 0.01)
    assert float(grasp_loss(nowhere, wanted)) == pytest.approx(best)
    for field in range(1, wanted.shape[2]):
        off = perfect.clone()
        off[:, :, field] += 0.3
        assert float(grasp_loss(off, wanted)) > best + 0.1


def test_training_learns_the_frames_it_is_shown(frames: FrameSet, curves: Any, quiet: Progress, tmp_path: Path):
    net = train_encoder(SPEC, VIEW, frames, plan(16), PerceptionRun(tmp_path, False, curves, quiet))
    loss = curves.values["perception/loss"]
    assert len(loss) == 16
    assert loss[-1] < 0.5 * loss[0]
    assert not net.training, "a trained encoder is ready to be used"


class Killed(Exception):
    """Stands for a kill between two epochs."""


class KilledTracker:
    """A tracker whose process ends while it reports an epoch."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def scalar(self, name: str, value: float, step: int) -> None:
        if step == self._epoch:
            raise Killed

    def close(self) -> None: ...


def weights(net: GraspNet) -> dict[str, NDArray[Any]]:
    return {name: value.numpy() for name, value in net.state_dict().items()}


def run_in(folder: Path, resume: bool, tracker: Tracker, quiet: Progress) -> PerceptionRun:
    return PerceptionRun(folder, resume, tracker, quiet)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    frames: FrameSet, curves: Any, quiet: Progress, tmp_path: Path
):
    whole = train_encoder(SPEC, VIEW, frames, plan(), run_in(tmp_path / "a", False, curves, quiet))
    with pytest.raises(Killed):
        train_encoder(SPEC, VIEW, frames, plan(), run_in(tmp_path / "b", False, KilledTracker(2), quiet))
    curves.steps.clear()
    torch.manual_seed(99)
    resumed = train_encoder(SPEC, VIEW, frames, plan(), run_in(tmp_path / "b", True, curves, quiet))
    assert curves.steps["perception/loss"] == [2, 3], "finished epochs are not trained again"
    expected = weights(whole)
    assert all(np.array_equal(value, expected[name]) for name, value in weights(resumed).items())
    # A finished training is only read.
    curves.steps.clear()
    again = train_encoder(SPEC, VIEW, frames, plan(), run_in(tmp_path / "b", True, curves, quiet))
    assert not curves.steps
    assert all(np.array_equal(value, expected[name]) for name, value in weights(again).items())


def test_without_resume_training_starts_over(frames: FrameSet, curves: Any, quiet: Progress, tmp_path: Path):
    for _ in range(2):
        train_encoder(SPEC, VIEW, frames, plan(1), run_in(tmp_path, False, curves, quiet))
    assert curves.steps["perception/loss"] == [0, 0]
    assert curves.values["perception/loss"][0] == curves.values["perception/loss"][1]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04K\x01."])
def test_a_broken_checkpoint_says_what_to_do(
    frames: FrameSet, curves: Any, quiet: Progress, tmp_path: Path, content: bytes
):
    (tmp_path / "perception.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"perception\.pt is not a readable checkpoint.*remove it"):
        train_encoder(SPEC, VIEW, frames, plan(1), run_in(tmp_path, True, curves, quiet))


def test_a_checkpoint_of_another_encoder_says_what_to_do(
    frames: FrameSet, curves: Any, quiet: Progress, tmp_path: Path
):
    train_encoder(EncoderSpec(width=8), VIEW, frames, plan(1), run_in(tmp_path, False, curves, quiet))
    with pytest.raises(ValueError, match=r"perception\.pt is of another encoder; remove it"):
        train_encoder(SPEC, VIEW, frames, plan(1), run_in(tmp_path, True, curves, quiet))


def test_a_batch_larger_than_the_frames_says_what_to_do(frames: FrameSet, curves: Any, quiet: Progress, tmp_path: Path):
    with pytest.raises(ValueError, match=r"batch_size=64 is more than the 48 frames"):
        train_encoder(SPEC, VIEW, frames, plan(1, batch_size=64), run_in(tmp_path, False, curves, quiet))


def test_a_perfect_predictor_has_no_error(frames: FrameSet):
    errors = grasp_errors(Perfect(frames), frames, VIEW, "cpu")  # type: ignore[arg-type]
    assert len(errors["wrong"]) > 30
    assert not errors["wrong"].any()
    assert np.abs(errors["lateral_m"]).max() < 1e-3
    assert np.abs(errors["height_m"]).max() < 1e-3
    assert np.abs(errors["yaw_rad"]).max() < 0.02
    model = error_model(errors, min_frames=5)
    assert max(model.lateral_m) < 1e-3
    assert max(model.height_m) < 1e-3
    assert max(model.wrong_frac) == 0.0


def test_an_untrained_predictor_is_mostly_wrong(frames: FrameSet):
    torch.manual_seed(0)
    errors = grasp_errors(build_encoder(SPEC).eval(), frames, VIEW, "cpu")
    assert errors["wrong"].mean() > 0.4


def columns(num: int, seed: int = 0, **spread: float) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    sizes = {"lateral_m": 0.003, "height_m": 0.002, "yaw_rad": 0.1, **spread}
    table = {name: rng.normal(0.0, size, num) for name, size in sizes.items()}
    return {**table, "distance_m": rng.uniform(0.2, 0.4, num), "wrong": np.zeros(num), "quality": np.ones(num)}


def test_the_error_model_recovers_the_spread_it_was_given():
    near, far = columns(3000), columns(3000, 1, lateral_m=0.009)
    far["distance_m"] += 0.4
    far["wrong"][:600] = 1.0
    far["lateral_m"][:600] = 0.2  # what is no grasp at all is counted as such and does not widen the spread
    model = error_model({name: np.concatenate([near[name], far[name]]) for name in near})
    assert list(model.distance_m) == sorted(model.distance_m)
    assert model.at(0.3)["lateral_m"] == pytest.approx(0.003, rel=0.15)
    assert model.at(0.7)["lateral_m"] == pytest.approx(0.009, rel=0.15)
    assert model.at(0.3)["yaw_rad"] == pytest.approx(0.1, rel=0.15)
    assert model.at(0.3)["wrong_frac"] == 0.0
    assert model.at(0.7)["wrong_frac"] == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("num", [0, 5, 29])
def test_too_few_frames_to_measure_an_error_is_an_error(num: int):
    with pytest.raises(ValueError, match=f"only {num} frames show a good grasp"):
        error_model(columns(num))
