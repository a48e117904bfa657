"""An episode of an evaluation: the same scene for every arm, a record that tells what happened, and no lost run."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simtoreal.bundle import load_bundle
from simtoreal.camera import CameraModel
from simtoreal.envs.assets import AssetError
from simtoreal.envs.bullet_cell import BulletCell
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene
from simtoreal.evaluation import arena as arena_module
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job, camera_of
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.learned_grasps import LearnedGrasps
from simtoreal.runtime import Step


@pytest.fixture(scope="module")
def arena(spec: ArenaSpec) -> Iterator[Arena]:
    arena = Arena(spec)
    yield arena
    arena.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena_module, "MAX_EPISODE_S", 1.0)


def test_the_oracle_grasps_and_says_so(arena: Arena):
    run = arena.run(Job("oracle", 0, "block"))
    record = run.record
    assert record.success
    assert record.failure == ""
    assert (record.arm, record.episode, record.object_name, record.target_name) == ("oracle", 0, "block", "block")
    assert record.scene_seed == "5-0-0"
    assert record.fits_gripper
    assert record.num_attempts >= 1
    assert 1.0 < record.duration_s < 12.0
    assert run.num_steps == len(run.policy_s)
    assert record.duration_s == pytest.approx(run.num_steps / 20)
    assert record.world_sample["dynamics.friction"] > 0


@pytest.mark.usefixtures("short")
def test_chance_fails_until_time_is_up(arena: Arena):
    run = arena.run(Job("random", 0, "block"))
    assert not run.record.success
    assert run.record.failure
    assert run.num_steps == 20


@pytest.mark.usefixtures("short")
def test_an_episode_is_the_same_whatever_ran_before(arena: Arena, spec: ArenaSpec):
    fresh = Arena(spec)
    first = fresh.run(Job("random", 3, "can")).record
    arena.run(Job("oracle", 1, "bar"))
    arena.run(Job("random", 2, "bar"))
    assert arena.run(Job("random", 3, "can")).record == first
    fresh.close()


def test_every_arm_meets_the_same_scene(arena: Arena):
    a, b = (arena.scene(Job(arm, 4, "can"), 0) for arm in ("oracle", "random"))
    assert np.array_equal(a.objects[0].T_base_obj, b.objects[0].T_base_obj)
    assert a.world == b.world
    assert arena.scene(Job("oracle", 5, "can"), 0).world != a.world


class Failing:
    """Makes a method fail so many times."""

    def __init__(self, method: Any, error: Exception, times: int) -> None:
        self.method, self.error, self.left = method, error, times

    def __call__(self, *arguments: Any) -> Any:
        if self.left:
            self.left -= 1
            raise self.error
        return self.method(*arguments)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("error", [InvalidScene("rolled away"), AssetError("neighbour.stl: broken")])
def test_a_lost_scene_is_drawn_again_and_counted(arena: Arena, error: Exception, monkeypatch: pytest.MonkeyPatch):
    cell = arena.cell(with_camera=False)
    monkeypatch.setattr(cell, "reset", Failing(cell.reset, error, 2))
    record = arena.run(Job("random", 0, "block")).record
    assert record.invalid_redraws == 2
    assert record.scene_seed == "5-0-2"


def test_a_scene_that_is_always_lost_says_which(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    cell = arena.cell(with_camera=False)
    monkeypatch.setattr(cell, "reset", Failing(cell.reset, InvalidScene("rolled away"), 99))
    with pytest.raises(InvalidScene, match="episode 7, object can: 10 invalid scenes in a row"):
        arena.run(Job("random", 7, "can"))


@pytest.mark.usefixtures("short")
def test_a_scene_lost_midway_is_filmed_from_its_new_beginning(arena: Arena, monkeypatch: pytest.MonkeyPatch):
    class Frames:
        def __init__(self) -> None:
            self.indices: list[int] = []

        def episode_start(self) -> None:
            self.indices.clear()

        def step(self, step: Step) -> None:
            self.indices.append(step.index)

        def episode_end(self) -> None: ...

    cell = arena.cell(with_camera=False)
    send = cell.send_action
    calls: list[int] = []

    def lose_once(action: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise InvalidScene("an object left the cell")
        return send(action)

    monkeypatch.setattr(cell, "send_action", lose_once)
    frames = Frames()
    run = arena.run(Job("random", 0, "block"), [frames])
    assert frames.indices == list(range(run.num_steps))
    assert run.record.invalid_redraws == 1


def test_only_the_learned_policy_pays_for_a_camera(spec: ArenaSpec, bundle_dir: Path):
    arena = Arena(dataclasses.replace(spec, bundle=bundle_dir))
    learned, cell = arena.policy("policy")
    assert isinstance(learned, GraspPolicy)
    assert isinstance(learned.source, LearnedGrasps)
    assert cell is arena.cell(with_camera=True)
    assert arena.policy("oracle")[1] is arena.cell(with_camera=False)
    arena.close()
    head_alone = Arena(dataclasses.replace(spec, bundle=bundle_dir, grasps="privileged"))
    policy, cell = head_alone.policy("policy")
    assert isinstance(policy, GraspPolicy)
    assert not isinstance(policy.source, LearnedGrasps)
    assert cell is head_alone.cell(with_camera=False)
    assert head_alone.run(Job("policy", 0, "block")).record.success
    head_alone.close()


@pytest.mark.usefixtures("short")
def test_a_policy_that_never_saw_a_grasp_failed_for_that(
    spec: ArenaSpec, bundle_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(LearnedGrasps, "estimate", lambda *_: None)
    arena = Arena(dataclasses.replace(spec, bundle=bundle_dir))
    assert arena.run(Job("policy", 0, "block")).record.failure == "no_grasp_seen"
    arena.close()


def test_the_policy_arm_without_a_bundle_says_so(arena: Arena):
    with pytest.raises(ValueError, match="needs a bundle"):
        arena.policy("policy")


def test_the_camera_is_that_of_the_bundle_unless_told_otherwise(
    spec: ArenaSpec, bundle_dir: Path, depth_bundle_dir: Path
):
    assert camera_of(load_bundle(depth_bundle_dir)).rgb is False
    model = CameraModel.from_fov(80, 60, 0.9)
    assert camera_of(load_bundle(bundle_dir), model).model == model
    other = CameraSetup("wrist", model)
    arena = Arena(dataclasses.replace(spec, bundle=bundle_dir, camera=other))
    _, cell = arena.policy("policy")
    observation = cell.reset(arena.scene(Job("policy", 0, "block"), 0))
    assert observation.rgb is not None
    assert observation.rgb.shape == (60, 80, 3)
    arena.close()


@pytest.mark.usefixtures("short")
def test_several_objects_are_tried_together(spec: ArenaSpec):
    arena = Arena(dataclasses.replace(spec, num_objects=3))
    run = arena.run(Job("random", 0, "block"))
    cell = arena.cell(with_camera=False)
    assert isinstance(cell, BulletCell)
    assert len(cell.scene.objects) == 3
    assert run.record.target_name == "block"
    arena.close()
