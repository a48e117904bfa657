"""Evaluations in the second world: the same runner, other scenes, and settings of one world refused in the other."""

import dataclasses
import json
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install 'simtoreal[mujoco]'")

from simtoreal.config import Arm, ConfigError, EvaluateConfig, World, parse
from simtoreal.envs import worlds
from simtoreal.envs.mujoco_cell import MujocoCell
from simtoreal.envs.reality import load_reality
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job
from simtoreal.evaluation.runner import EvaluationPlan, evaluate, run_evaluation, spec_from
from simtoreal.progress import Progress


@pytest.fixture(scope="module")
def second(spec: ArenaSpec) -> ArenaSpec:
    return dataclasses.replace(spec, world="mujoco", reality=load_reality("default").to_plain(), randomization={})


def test_the_result_does_not_depend_on_the_number_of_workers(second: ArenaSpec, quiet: Progress, tmp_path: Path):
    one, two = (
        run_evaluation(second, EvaluationPlan(3, ("oracle",), workers, tmp_path / str(workers)), quiet)
        for workers in (1, 2)
    )
    assert one.records == two.records
    assert sum(record.success for record in one.records["oracle"]) >= 2


def test_arms_meet_the_same_scene_and_its_values_are_kept(second: ArenaSpec):
    arena = Arena(second)
    oracle, chance = (arena.run(Job(arm, 0, "block")).record for arm in ("oracle", "random"))
    assert oracle.world_sample == chance.world_sample
    reality = load_reality("default")
    low, high = reality.physics.friction.ends(1.0)
    assert low <= oracle.world_sample["physics.friction"] <= high
    assert json.loads(json.dumps(oracle.to_dict()))["world_sample"]["looks.table"] in reality.looks.tables
    arena.close()


@pytest.mark.parametrize("placement", ["wrist", "external"])
def test_a_policy_sees_this_world_through_either_camera(second: ArenaSpec, bundle_dir: Path, placement: str):
    arena = Arena(dataclasses.replace(second, bundle=bundle_dir))
    camera = dataclasses.replace(arena._camera(), placement=placement)
    arena.close()
    arena = Arena(dataclasses.replace(second, bundle=bundle_dir, camera=camera))
    policy, cell = arena.policy("policy")
    assert isinstance(cell, MujocoCell)
    observation = cell.reset(arena.scene(Job("policy", 1, "can"), 0))
    policy.reset()
    assert np.isfinite(policy.act(observation).delta_m).all()
    assert (observation.distortion is not None) == (
        any(arena.scene(Job("policy", 1, "can"), 0).world.optics.distortion)
    )
    arena.close()


@pytest.mark.slow
def test_the_command_writes_report_and_films(bundle_dir: Path, objects_dir: Path, tmp_path: Path):
    config = EvaluateConfig(
        bundle=str(bundle_dir), world=World.MUJOCO, reality="mild", objects=str(objects_dir), episodes=1,
        arms=(Arm.POLICY,), workers=1, videos=1, out=tmp_path,
    )  # fmt: skip
    evaluate(config)
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "MuJoCo, reality=mild" in report
    assert "world=mujoco reality=mild" in report
    films = list((tmp_path / "videos").glob("*.mp4"))
    assert len(films) == 1
    with av.open(str(films[0])) as film:
        assert film.streams.video[0].average_rate == 20
    assert json.loads((tmp_path / "eval_info.json").read_text())["config"]["reality"] == "mild"


def test_no_reality_is_the_default_one(bundle_dir: Path):
    spec = spec_from(EvaluateConfig(bundle=str(bundle_dir), world=World.MUJOCO))
    assert spec.reality == load_reality("default").to_plain()
    assert spec_from(EvaluateConfig(bundle=str(bundle_dir))).reality == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reality": "harsh"}, "reality=harsh is for world=mujoco; world=pybullet has randomization=NAME"),
        ({"world": "mujoco", "randomization": "harsh"}, "randomization=harsh is for world=pybullet"),
        ({"world": "gazebo"}, "world=gazebo"),
    ],
)
def test_settings_of_one_world_are_refused_in_the_other(settings: dict[str, str], message: str):
    with pytest.raises(ConfigError, match=message):
        parse(settings, EvaluateConfig)


def test_without_mujoco_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worlds.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'simtoreal\[mujoco\]'"):
        worlds.check_world("mujoco", with_camera=False)
    worlds.check_world("pybullet", with_camera=True)
