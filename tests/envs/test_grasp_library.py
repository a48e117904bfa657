"""Planned grasps move with the object, spare its neighbours, and are planned once."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs import grasp_library
from simtoreal.envs.grasp_library import GraspLibrary, neighbour_points
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.planner import GraspSet
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import PlacedObject, Scene, Scenery, SceneSampler


def moved(scene: Scene, *objects: PlacedObject, scenery: tuple[Scenery, ...] = ()) -> Scene:
    return Scene(scene.seed, scene.world, objects, scenery)


def placed_at(item: PlacedObject, x_m: float, y_m: float, yaw_rad: float, resting: RestingPoses) -> PlacedObject:
    T = frames.transform((x_m, y_m, 0.0), frames.rotation_about_z(yaw_rad))
    return PlacedObject(item.asset, T @ resting.poses(item.asset)[0], 1.0, 0, T)


def as_rows(grasps: GraspSet) -> NDArray[np.float64]:
    return np.column_stack([grasps.positions_m, grasps.yaws_rad, grasps.widths_m, grasps.qualities])


def test_grasps_are_where_the_object_is(plain: SceneSampler, library: GraspLibrary):
    for seed in range(8):
        scene = plain.sample((seed,), "bar")
        item = scene.objects[0]
        grasps = library.in_scene(scene, 0)
        assert grasps.num > 50
        inside = frames.apply(frames.invert(item.T_base_obj), grasps.positions_m)
        low, high = item.asset.vertices_m.min(axis=0), item.asset.vertices_m.max(axis=0)
        assert ((inside > low - 0.012) & (inside < high + 0.012)).all()
        assert np.all(np.diff(grasps.qualities) <= 1e-7), "best first"


def test_grasps_turn_with_the_object(plain: SceneSampler, library: GraspLibrary, resting: RestingPoses):
    item = plain.sample((0,), "bar").objects[0]
    scene = plain.sample((0,), "bar")
    here = library.in_scene(moved(scene, placed_at(item, 0.5, 0.0, 0.0, resting)), 0)
    there = library.in_scene(moved(scene, placed_at(item, 0.45, 0.06, 1.1, resting)), 0)
    motion = frames.transform((0.45, 0.06, 0)) @ frames.transform((0, 0, 0), frames.rotation_about_z(1.1))
    expected = frames.apply(motion @ frames.transform((-0.5, 0, 0)), here.positions_m)
    assert there.positions_m == pytest.approx(expected, abs=1e-6)
    turn = (there.yaws_rad - here.yaws_rad - 1.1 + math.pi / 2) % math.pi - math.pi / 2
    assert np.abs(turn).max() < 1e-6


def test_a_larger_object_has_wider_grasps(toys: ObjectSet, library: GraspLibrary):
    widths = [library.at_rest(toys.asset("bar"), 0, scale).widths_m[0] for scale in (0.9, 1.1)]
    assert widths[1] / widths[0] == pytest.approx(1.1 / 0.9, rel=0.05)


def test_grasps_that_would_hit_a_neighbour_are_left_out(
    plain: SceneSampler, library: GraspLibrary, resting: RestingPoses
):
    scene = plain.sample((0,), "block")
    block = placed_at(scene.objects[0], 0.5, 0.0, 0.0, resting)
    alone = library.in_scene(moved(scene, block), 0)
    wall = Scenery((0.2, 0.02, 0.10), frames.transform((0.5, 0.040, 0.05)), (0.5, 0.5, 0.5), 0)
    beside = library.in_scene(moved(scene, block, scenery=(wall,)), 0)
    assert 0 < beside.num < alone.num
    across = np.abs((beside.yaws_rad + math.pi / 2) % math.pi - math.pi / 2)
    assert np.median(across[:20]) < 0.4, "the jaws close along the wall, not against it"


def test_a_sheet_on_the_table_is_no_obstacle(plain: SceneSampler, library: GraspLibrary, resting: RestingPoses):
    scene = plain.sample((0,), "block")
    block = placed_at(scene.objects[0], 0.5, 0.0, 0.0, resting)
    sheet = Scenery((0.2, 0.2, 0.001), frames.transform((0.5, 0.0, 0.0005)), (0.5, 0.5, 0.5), 0)
    with_sheet = moved(scene, block, scenery=(sheet,))
    assert len(neighbour_points(with_sheet, 0, [block.T_base_obj])) == 0
    assert library.in_scene(with_sheet, 0).num == library.in_scene(moved(scene, block), 0).num


def test_obstacle_points_lie_on_the_others_and_not_on_the_object_itself(plain: SceneSampler):
    scene = plain.sample((2,), "block", 2)
    points = neighbour_points(scene, 0, [item.T_base_obj for item in scene.objects])
    other = scene.objects[1]
    local = frames.apply(frames.invert(other.T_base_obj), points)
    assert len(points) > 100
    assert (np.abs(local) <= np.abs(other.asset.vertices_m).max(axis=0) + 1e-6).all()


def test_grasps_are_planned_once_and_then_read(
    toys: ObjectSet, panda: RobotSpec, resting: RestingPoses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asset = toys.asset("can")
    planned = GraspLibrary(panda.gripper.geometry, resting, tmp_path).at_rest(asset, 1, 1.0)
    (path,) = (tmp_path / "grasps").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(grasp_library, "plan_grasps", lambda *_, **__: pytest.fail("planned although it is on disk"))
        read = GraspLibrary(panda.gripper.geometry, resting, tmp_path).at_rest(asset, 1, 1.0)
    assert np.array_equal(as_rows(read), as_rows(planned)), "a warm cache must not change any result"
    path.write_bytes(b"PK\x03\x04 cut off")
    again = GraspLibrary(panda.gripper.geometry, resting, tmp_path).at_rest(asset, 1, 1.0)
    assert np.array_equal(as_rows(again), as_rows(planned))


def test_another_gripper_has_grasps_of_its_own(
    toys: ObjectSet, panda: RobotSpec, resting: RestingPoses, tmp_path: Path
):
    narrow = dataclasses.replace(panda.gripper.geometry, max_opening_m=0.035)
    wide_set, narrow_set = (
        GraspLibrary(geometry, resting, tmp_path).at_rest(toys.asset("block"), 0, 1.0)
        for geometry in (panda.gripper.geometry, narrow)
    )
    assert wide_set.widths_m.max() > 0.035 > narrow_set.widths_m.max()


def test_an_object_in_an_unforeseen_pose_is_planned_anew(plain: SceneSampler, library: GraspLibrary):
    item = plain.sample((0,), "can").objects[0]
    leaning = frames.transform((0.5, 0.0, 0.05), frames.rotation_from_vector((0.0, 0.6, 0.0)))
    grasps = library.planned(item, leaning, 0.0)
    assert grasps.num > 0
    assert np.abs(grasps.positions_m[:, :2] - (0.5, 0.0)).max() < 0.06
