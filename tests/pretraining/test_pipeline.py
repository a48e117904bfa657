"""The whole pretraining, very small: from nothing to a measured bundle, and on from where it was stopped."""

import dataclasses
import json
from pathlib import Path

import pytest

from simtoreal.bundle import load_bundle
from simtoreal.config import (
    ControlConfig,
    EvaluationConfig,
    PerceptionConfig,
    PresetConfig,
    PretrainConfig,
    RunLogger,
    Stage,
)
from simtoreal.policies.load import make_policy
from simtoreal.pretraining import cloning, pipeline
from simtoreal.pretraining.pipeline import pretrain

TINY = PresetConfig(
    name="tiny",
    perception=PerceptionConfig(num_scenes=20, frames_per_scene=4, epochs=3, batch_size=16, learning_rate=3e-3),
    control=ControlConfig(
        total_steps=60, cloning_steps=20, num_envs=1, learning_starts=10, batch_size=16, gamma=0.99, net_arch=(16, 16)
    ),
    evaluation=EvaluationConfig(episodes=2),
)


@pytest.fixture
def config(objects_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretrainConfig:
    monkeypatch.setattr(pipeline, "_HOLDOUT_SCENES", 20)
    monkeypatch.setattr(pipeline, "_HOLDOUT_FRAMES", 8)
    for name in ("_ROUND_STEPS", "_LAST_STEPS", "_CRITIC_STEPS"):
        monkeypatch.setattr(cloning, name, 5)
    return PretrainConfig(
        preset=TINY, out=tmp_path / "run", workers=1, objects=(str(objects_dir),), randomization="mild",
        logger=RunLogger.TENSORBOARD,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pretraining_ends_in_a_measured_bundle_and_is_not_done_twice(config: PretrainConfig):
    pretrain(config)
    out = config.out
    bundle = load_bundle(out / "bundle")
    assert bundle.head in ("servo", "learned")
    assert bundle.head_weights
    assert bundle.figures["heads"]["episodes"] == 1
    assert bundle.figures["heads"]["winner"] == bundle.head
    assert bundle.figures["random_test"]["policy"]["n_episodes"] == 2
    assert set(bundle.provenance["data"]) == {"train_frames", "held_out_frames"}
    assert "| random_test | policy |" in bundle.card
    make_policy(bundle).reset()
    info = json.loads((out / "evaluation" / "eval_info.json").read_text())
    assert info["overall"]["n_episodes"] == 2
    report = (out / "evaluation" / "report.html").read_text()
    assert "tiny pretraining" in report
    assert list((out / "logs").glob("events.out.*"))

    before = (out / "checkpoints" / "perception.pt").read_bytes()
    pretrain(dataclasses.replace(config, resume=True))
    again = load_bundle(out / "bundle")
    assert (out / "checkpoints" / "perception.pt").read_bytes() == before
    assert all((again.encoder_weights[name] == value).all() for name, value in bundle.encoder_weights.items())
    assert again.error == bundle.error


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_perception_alone_ships_with_the_servo_and_control_builds_on_it(config: PretrainConfig, tmp_path: Path):
    pretrain(dataclasses.replace(config, stage=Stage.PERCEPTION))
    perception = load_bundle(config.out / "bundle")
    assert perception.head == "servo"
    assert not perception.head_weights
    pretrain(
        dataclasses.replace(config, stage=Stage.CONTROL, bundle=str(config.out / "bundle"), out=tmp_path / "control")
    )
    whole = load_bundle(tmp_path / "control" / "bundle")
    assert whole.head_weights
    assert all((whole.encoder_weights[name] == value).all() for name, value in perception.encoder_weights.items())
