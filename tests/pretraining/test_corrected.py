from pathlib import Path

import pytest
import yaml

from simtoreal.config import ConfigError, PretrainConfig, Stage
from simtoreal.envs.gym_envs import EnvConfig
from simtoreal.envs.randomization import load_randomization
from simtoreal.identified import Identified, Posterior
from simtoreal.pretraining.corrected import in_identified_world
from simtoreal.pretraining.curriculum import CurriculumEnv

RANGE = {"base": "default", "timing": {"action_latency_s": "=U(0.1, 0.12)"}}


def written(folder: Path, robot: str = "panda") -> Path:
    path = folder / "identified.yaml"
    found = Identified(
        robot, 20.0, 3, {"action_latency_s": Posterior(0.11, 0.001, 0.1, 0.12, 0.0, 3)}, randomization=RANGE
    )
    path.write_text(yaml.safe_dump(found.to_plain()))
    return path


def config(folder: Path, **changes: object) -> PretrainConfig:
    return PretrainConfig(**{"stage": Stage.CONTROL, "bundle": "default", "out": folder / "out", **changes})  # type: ignore[arg-type]


def test_dynamics_and_timing_are_those_of_the_logs(tmp_path: Path):
    corrected = in_identified_world(config(tmp_path, identified=written(tmp_path), randomization="mild"))
    ranges = load_randomization(corrected.randomization)
    assert str(ranges.timing.action_latency_s) == "=U(0.1, 0.12)"
    assert ranges.visual == load_randomization("mild").visual


def test_without_a_file_nothing_changes(tmp_path: Path):
    assert in_identified_world(config(tmp_path)) == config(tmp_path)


def test_another_robot_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="speaks of kuka"):
        in_identified_world(config(tmp_path, identified=written(tmp_path, "kuka")))


def test_perception_has_no_use_for_it(tmp_path: Path):
    with pytest.raises(ConfigError, match="control stage"):
        PretrainConfig(stage=Stage.PERCEPTION, identified=written(tmp_path))


def test_the_curriculum_begins_and_ends_in_the_identified_ranges(tmp_path: Path):
    corrected = in_identified_world(config(tmp_path, identified=written(tmp_path)))
    env = CurriculumEnv(EnvConfig(("random_test",), corrected.randomization), corrected.randomization)
    try:
        for level in (0.0, 1.0):
            env.set_level(level)
            latency_s = env.ranges.sample(env.np_random).timing.action_latency_s
            assert 0.1 <= latency_s <= 0.12
    finally:
        env.close()
