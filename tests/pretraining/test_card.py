"""The card of a bundle says what was measured, and nothing that was not."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simtoreal.bundle import Bundle
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.pretraining.card import write_card
from simtoreal.pretraining.tracking import NoTracker, TensorBoardTracker, make_tracker

BUNDLE = Bundle(
    encoder={"name": "conv_small", "modality": "rgbd", "width": 8},
    view={},
    head="servo",
    scale=HeadScale(),
    error=PerceptionError((0.2, 0.4), (0.0031, 0.0062), (0.001, 0.002), (0.1, 0.2), (0.05, 0.10)),
    camera=CameraRecord("wrist", "rgbd", CameraModel.from_fov(64, 64, 1.0)),
    encoder_weights={"a": np.zeros((1000, 3), np.float32), "b": np.zeros(7, np.float32)},
)
MEASURED: dict[str, Any] = {
    "random_test": {
        "policy": {"pc_success": 91.5, "pc_success_ci95": [86.8, 94.6], "n_episodes": 200},
        "oracle": {"pc_success": 96.0, "pc_success_ci95": [92.3, 98.0], "n_episodes": 200},
        "random": None,
    },
    "heads": {"episodes": 120, "objects": "my_set", "success": {"servo": 0.9, "learned": 0.925}, "winner": "learned"},
    "timing": {"policy_step_p50_ms": 4.0},
    "training_wall_s": 812.0,
}  # fmt: skip


def test_figures_come_with_interval_and_number():
    card = write_card(dataclasses.replace(BUNDLE, figures=MEASURED), "quick")
    assert "| random_test | policy | 91.5 % | 86.8 to 94.6 | 200 |" in card
    assert "| random_test | oracle | 96.0 % |" in card
    assert "| random_test | random |" not in card
    assert "servo 90.0 %, learned 92.5 %; shipped: learned" in card


def test_what_was_not_measured_is_not_mentioned():
    card = write_card(BUNDLE, "quick")
    assert "## Measured" not in card
    assert "None" not in card


def test_a_reader_learns_what_it_is_and_what_it_is_not_for():
    card = write_card(BUNDLE, "full")
    assert "3,007 parameters" in card
    assert "preset=full" in card
    assert "64 x 64 px" in card
    assert "| 0.20 | 3.1 | 1.0 | 5.7 | 5.0 |" in card
    assert "## Not for" in card


@pytest.mark.parametrize("name", ["none", "tensorboard"])
def test_curves_go_where_they_are_wanted(name: str, tmp_path: Path):
    tracker = make_tracker(name, tmp_path / "logs")
    tracker.scalar("perception/loss", 0.5, 1)
    tracker.close()
    assert isinstance(tracker, NoTracker if name == "none" else TensorBoardTracker)
    written = list((tmp_path / "logs").glob("events.out.*")) if (tmp_path / "logs").exists() else []
    assert len(written) == (name == "tensorboard")
    assert all(path.stat().st_size > 50 for path in written)


def test_wandb_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'simtoreal\[wandb\]'"):
        make_tracker("wandb", tmp_path)
