"""The control side of a fine-tuning, from recorded bars: a candidate with a residual, and sections of the ledger."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from bar_episodes import write
from bar_scenes import VIEW

from simtoreal.bundle import Bundle, CameraRecord, load_bundle
from simtoreal.camera import CameraModel
from simtoreal.episodes.errors import DatasetError
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.encoders import GraspNet
from simtoreal.policies.load import encoder_weights
from simtoreal.policies.parts import make_head, view_record
from simtoreal.policies.residual_head import ResidualHead
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError
from simtoreal.transfer.control.side import PerceptionSide, control_side, shippable
from simtoreal.transfer.settings import FinetuneConfig, HeadStrategy
from simtoreal.transfer.tuning.training import Domain


@pytest.fixture
def bundle(trained: GraspNet, domain: Domain) -> Bundle:
    camera = CameraRecord("wrist", "rgbd", CameraModel.from_fov(64, 48, 1.0))
    return Bundle(asdict(domain.spec), view_record(VIEW), "servo", HeadScale(), PerceptionError(), camera,
                  encoder_weights(trained), card="# A policy\n")  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("bars") / "dataset", (True,) * 7 + (False,) * 2)


def perception(bundle: Bundle) -> PerceptionSide:
    return PerceptionSide(Path("source"), bundle, bundle.error, 0.2, 0.19)


def test_a_residual_becomes_the_candidate_and_ships_only_when_proven(
    bundle: Bundle, recorded: Path, tmp_path: Path, quiet: Progress
):
    config = FinetuneConfig(episodes=recorded, out=tmp_path, head=HeadStrategy.RESIDUAL, workers=1)
    found = control_side(config, perception(bundle), quiet)
    assert isinstance(make_head(load_bundle(tmp_path / "candidate")), ResidualHead)
    assert found.sections["head"]["n_episodes"] == 9
    assert found.sections["head"]["n_held_out"] == 1
    ledger = {"head": found.sections["head"], "forced": False, "online": None, "verdict": "improved"}
    assert not shippable(bundle, found.bundle, ledger).head_weights
    ledger["online"] = {"gain": {"low": 0.05}}
    assert shippable(bundle, found.bundle, ledger) is found.bundle


def test_auto_keeps_the_head_and_says_where_the_gap_sits(
    bundle: Bundle, recorded: Path, tmp_path: Path, quiet: Progress
):
    found = control_side(FinetuneConfig(episodes=recorded, out=tmp_path), perception(bundle), quiet)
    assert found.bundle is bundle
    assert found.sections["head"] is None
    assert found.sections["gap"]["logs"]["first"] == "neither"
    assert found.sections["gap"]["online"] is None


def test_keep_does_not_look(bundle: Bundle, tmp_path: Path, quiet: Progress):
    config = FinetuneConfig(episodes=tmp_path / "none", out=tmp_path, head=HeadStrategy.KEEP)
    assert control_side(config, perception(bundle), quiet).sections == {"gap": None, "head": None}


def test_only_failures_are_too_little_for_a_head(bundle: Bundle, tmp_path: Path, quiet: Progress):
    failures = write(tmp_path / "failures", (False,) * 8)
    config = FinetuneConfig(episodes=failures, out=tmp_path / "out", head=HeadStrategy.RESIDUAL)
    with pytest.raises(DatasetError, match="0 of them successes"):
        control_side(config, perception(bundle), quiet)


def test_one_episode_identifies_nothing(bundle: Bundle, tmp_path: Path, quiet: Progress):
    alone = write(tmp_path / "alone", (True,))
    config = FinetuneConfig(episodes=alone, out=tmp_path / "out", head=HeadStrategy.IDENTIFIED)
    with pytest.raises(ConfigError, match="do not tell enough of the arm"):
        control_side(config, perception(bundle), quiet)
    assert np.isfinite(bundle.encoder_weights["readout.weight"]).all()
