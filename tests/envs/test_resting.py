"""Resting poses: stable, on the table, the same in every run, and kept on disk."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.envs.assets import AssetError
from simtoreal.envs.bullet_world import BulletWorld
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.resting import NUM_POSES, RestingPoses
from simtoreal.envs.robot import RobotSpec


@pytest.mark.parametrize("name", ["bar", "block", "can"])
def test_every_pose_stands_on_the_table(toys: ObjectSet, resting: RestingPoses, name: str):
    asset = toys.asset(name)
    poses = resting.poses(asset)
    assert poses.shape == (NUM_POSES, 4, 4)
    for T in poses:
        assert frames.apply(T, asset.vertices_m)[:, 2].min() == pytest.approx(0.0, abs=1e-9)
        assert T[:2, 3] == pytest.approx(0.0)
        assert T[:3, :3] @ T[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)


def test_a_block_rests_on_its_faces(toys: ObjectSet, resting: RestingPoses):
    for T in resting.poses(toys.asset("block")):
        assert np.abs(T[2, :3]).max() == pytest.approx(1.0, abs=1e-3)


def test_the_first_pose_is_the_one_the_author_chose(toys: ObjectSet, resting: RestingPoses):
    T = resting.poses(toys.asset("can"))[0]
    assert T[2, 2] == pytest.approx(1.0, abs=1e-3)
    assert T[2, 3] == pytest.approx(0.035, abs=1e-4)


def test_an_object_stays_where_it_rests(toys: ObjectSet, resting: RestingPoses, panda: RobotSpec):
    world = BulletWorld(panda)
    asset = toys.asset("bar")
    for T_rest in resting.poses(asset):
        body = world.add_object(asset, frames.transform((0.5, 0.2, 0.0)) @ T_rest, 1.0)
        world.step(120)
        T = world.pose(body)
        assert np.linalg.norm(T[:3, 3] - T_rest[:3, 3] - (0.5, 0.2, 0.0)) < 2e-3
        assert np.trace(T[:3, :3].T @ T_rest[:3, :3]) > 1 + 2 * np.cos(0.02)
        world.remove(body)
    world.close()


def test_the_same_object_rests_the_same_in_another_cache(toys: ObjectSet, resting: RestingPoses, tmp_path: Path):
    other = RestingPoses(tmp_path)
    # Other objects first: what was dropped before must not matter.
    other.poses(toys.asset("can"))
    assert np.array_equal(other.poses(toys.asset("bar")), resting.poses(toys.asset("bar")))


def test_poses_are_read_from_disk_and_made_anew_when_broken(
    toys: ObjectSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asset = toys.asset("block")
    poses = RestingPoses(tmp_path).poses(asset)
    (path,) = (tmp_path / "resting").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(RestingPoses, "_drop_all", lambda *_: pytest.fail("dropped although it is on disk"))
        assert np.array_equal(RestingPoses(tmp_path).poses(asset), poses)
    path.write_bytes(path.read_bytes()[:200])
    assert np.array_equal(RestingPoses(tmp_path).poses(asset), poses)


def test_the_authored_pose_is_drawn_with_forty_percent(toys: ObjectSet, resting: RestingPoses):
    rng = np.random.default_rng(0)
    drawn = [resting.draw(toys.asset("block"), rng) for _ in range(1000)]
    counts = np.bincount(drawn, minlength=NUM_POSES)
    assert 360 < counts[0] < 440
    assert counts[1:].min() > 80


def test_an_object_that_falls_through_the_table_is_refused_by_name(toys: ObjectSet, tmp_path: Path):
    urdf = tmp_path / "ghost.urdf"
    urdf.write_text(
        '<robot name="ghost"><link name="ghost"><inertial><mass value="0.1"/>'
        '<inertia ixx="1e-4" iyy="1e-4" izz="1e-4" ixy="0" ixz="0" iyz="0"/></inertial></link></robot>'
    )
    ghost = dataclasses.replace(toys.asset("block"), urdf_path=urdf, sha="f" * 20)
    with pytest.raises(AssetError, match=r"ghost\.urdf.*never comes to rest.*collision shape"):
        RestingPoses(tmp_path).poses(ghost)
