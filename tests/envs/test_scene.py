"""Scenes: drawn from a seed alone, with room for the hand, and placed the same whatever else is randomized."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.envs.assets import AssetError
from simtoreal.envs.object_sets import ObjectSet, load_object_set
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.scene import WORKSPACE_CENTRE_M, Scene, SceneSampler, footprint_radius_m


def same(a: Scene, b: Scene) -> bool:
    if len(a.objects) != len(b.objects) or len(a.scenery) != len(b.scenery):
        return False
    objects = all(
        x.asset.sha == y.asset.sha and x.scale == y.scale and np.array_equal(x.T_base_obj, y.T_base_obj)
        for x, y in zip(a.objects, b.objects, strict=True)
    )
    boxes = all(
        x.extents_m == y.extents_m and x.rgb == y.rgb and np.array_equal(x.T_base_box, y.T_base_box)
        for x, y in zip(a.scenery, b.scenery, strict=True)
    )
    return objects and boxes and a.world == b.world


def test_a_seed_gives_the_same_scene_whoever_asks_and_in_whatever_order(
    harsh: SceneSampler, objects_dir: Path, cache_dir: Path
):
    other = SceneSampler(
        load_object_set(str(objects_dir), cache_dir), RestingPoses(cache_dir), load_randomization("harsh")
    )
    first = [harsh.sample((3, i), "block", 2) for i in range(4)]
    second = [other.sample((3, i), "block", 2) for i in reversed(range(4))]
    assert all(same(a, b) for a, b in zip(first, reversed(second), strict=True))
    assert not same(first[0], first[1])
    assert first[0].seed == (3, 0)


def test_the_target_comes_first_and_the_others_are_of_the_set(plain: SceneSampler, toys: ObjectSet):
    scene = plain.sample((0,), "can", 3)
    assert scene.objects[0].asset.name == "can"
    assert len(scene.objects) == 3
    assert {item.asset.name for item in scene.objects} <= set(toys.names)


def test_objects_stand_on_the_table_near_the_centre(harsh: SceneSampler):
    for seed in range(20):
        scene = harsh.sample((seed,), "bar")
        item = scene.objects[0]
        points = frames.apply(item.T_base_obj, item.asset.vertices_m * item.scale)
        assert points[:, 2].min() == pytest.approx(scene.world.dynamics.table_height_m, abs=1e-9)
        assert np.abs(item.T_base_obj[:2, 3] - WORKSPACE_CENTRE_M).max() <= 0.10 + 1e-9


def test_the_planar_motion_leads_from_the_resting_pose_to_the_scene(harsh: SceneSampler, resting: RestingPoses):
    item = harsh.sample((5,), "bar").objects[0]
    T_rest = resting.poses(item.asset)[item.resting_index].copy()
    T_rest[2, 3] *= item.scale
    assert item.T_table_rest @ T_rest == pytest.approx(item.T_base_obj)
    assert item.T_table_rest[2, 2] == pytest.approx(1.0)


def test_several_objects_do_not_touch(plain: SceneSampler):
    for seed in range(15):
        scene = plain.sample((seed,), "block", 3)
        for a, b in itertools.combinations(scene.objects, 2):
            apart_m = math.dist(a.T_base_obj[:2, 3], b.T_base_obj[:2, 3])
            assert apart_m > footprint_radius_m(a.asset, a.scale) + footprint_radius_m(b.asset, b.scale)


def test_blocks_leave_room_for_the_hand_and_sheets_do_not_collide(harsh: SceneSampler):
    blocks = sheets = 0
    for seed in range(40):
        scene = harsh.sample((seed,), "block")
        item = scene.objects[0]
        for box in scene.scenery:
            bottom_m = box.T_base_box[2, 3] - box.extents_m[2] / 2
            assert bottom_m == pytest.approx(scene.world.dynamics.table_height_m)
            if box.collides:
                blocks += 1
                reach_m = math.hypot(*box.extents_m[:2]) / 2 + footprint_radius_m(item.asset, item.scale)
                assert math.dist(box.T_base_box[:2, 3], item.T_base_obj[:2, 3]) > reach_m + 0.09
            else:
                sheets += 1
                assert box.extents_m[2] < 0.002
    assert min(blocks, sheets) > 5


def test_what_is_randomized_does_not_move_the_objects(plain: SceneSampler, harsh: SceneSampler):
    for seed in range(10):
        a, b = (sampler.sample((seed,), "bar").objects[0] for sampler in (plain, harsh))
        assert a.resting_index == b.resting_index
        assert a.T_base_obj[:2, 3] == pytest.approx(b.T_base_obj[:2, 3])


def test_scales_come_in_steps_so_that_planned_grasps_can_be_kept(harsh: SceneSampler):
    scales = {harsh.sample((seed,), "bar").objects[0].scale for seed in range(40)}
    assert len(scales) > 2
    assert all(abs(20 * scale - round(20 * scale)) < 1e-9 for scale in scales)


def test_an_object_that_is_not_in_the_set_is_named(plain: SceneSampler):
    with pytest.raises(AssetError, match="teapot"):
        plain.sample((0,), "teapot")
