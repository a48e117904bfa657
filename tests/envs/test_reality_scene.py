"""Scenes of the second world come from the seed alone, hold what the reality says, and leave room for a hand."""

import math
from itertools import combinations

import numpy as np
import pytest

from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.reality import Reality, load_reality
from simtoreal.envs.reality_scene import RealitySampler
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.scene import WORKSPACE_CENTRE_M, footprint_radius_m

SEEDS = [(0, i) for i in range(12)]


@pytest.fixture(scope="module", params=["mild", "default", "harsh"])
def sampler(request: pytest.FixtureRequest, toys: ObjectSet, resting: RestingPoses) -> RealitySampler:
    return RealitySampler(toys, resting, load_reality(request.param))


def test_the_same_seed_gives_the_same_scene_whatever_was_drawn_before(sampler: RealitySampler):
    first = sampler.sample((5, 1), "can")
    sampler.sample((6, 1), "bar")
    again = sampler.sample((5, 1), "can")
    assert first.world == again.world
    for a, b in zip((*first.objects,), (*again.objects,), strict=True):
        assert a.asset.name == b.asset.name
        np.testing.assert_array_equal(a.T_base_obj, b.T_base_obj)
    for one, other in zip(first.scenery, again.scenery, strict=True):
        assert (one.extents_m, one.kind) == (other.extents_m, other.kind)
        np.testing.assert_array_equal(one.T_base_box, other.T_base_box)


def test_the_target_comes_first_and_lies_in_the_workspace(sampler: RealitySampler):
    for seed in SEEDS:
        scene = sampler.sample(seed, "can")
        target = scene.objects[0]
        assert target.asset.name == "can"
        assert np.abs(target.T_base_obj[:2, 3] - WORKSPACE_CENTRE_M).max() <= 0.10
        bottom = (target.asset.vertices_m @ target.T_base_obj[2, :3] * target.scale).min() + target.T_base_obj[2, 3]
        assert bottom == pytest.approx(scene.table_height_m, abs=1e-6)


def test_objects_keep_their_distance(sampler: RealitySampler):
    for seed in SEEDS:
        scene = sampler.sample(seed, "bar", num_objects=2)
        for a, b in combinations(scene.objects, 2):
            reach = footprint_radius_m(a.asset, a.scale) + footprint_radius_m(b.asset, b.scale)
            assert math.dist(a.T_base_obj[:2, 3], b.T_base_obj[:2, 3]) > reach


def test_there_is_as_much_as_the_reality_says(sampler: RealitySampler):
    numbers = []
    for seed in SEEDS:
        scene = sampler.sample(seed, "block")
        content = scene.world.content
        assert 1 <= len(scene.objects) <= 1 + content.num_neighbours
        solid = [prop for prop in scene.scenery if prop.collides]
        assert len(solid) <= content.num_blocks + content.num_fixtures
        assert len(scene.scenery) - len(solid) == content.num_sheets
        numbers.append(len(scene.objects) + len(solid) - 1)
    assert np.mean(numbers) >= 0.7 * np.mean(
        [
            sum((c.num_neighbours, c.num_blocks, c.num_fixtures))
            for c in (sampler.sample(seed, "block").world.content for seed in SEEDS)
        ]
    )


def test_solid_things_stand_apart_and_leave_room_for_fingers(sampler: RealitySampler):
    for seed in SEEDS:
        scene = sampler.sample(seed, "block")
        solid = [prop for prop in scene.scenery if prop.collides]
        for a, b in combinations(solid, 2):
            assert math.dist(a.T_base_box[:2, 3], b.T_base_box[:2, 3]) > a.radius_m + b.radius_m
        for prop in solid:
            assert prop.T_base_box[2, 3] - prop.extents_m[2] / 2 == pytest.approx(scene.table_height_m)
            for item in scene.objects:
                distance = math.dist(prop.T_base_box[:2, 3], item.T_base_obj[:2, 3])
                assert distance > 0.5 * min(prop.extents_m[:2]) + footprint_radius_m(item.asset, item.scale) + 0.02


def test_asked_for_objects_come_on_top_of_what_the_reality_adds(toys: ObjectSet, resting: RestingPoses):
    plain = RealitySampler(toys, resting, Reality())
    assert len(plain.sample((1,), "can").objects) == 1
    assert len(plain.sample((1,), "can", num_objects=2).objects) == 2
    assert plain.sample((1,), "can").scenery == ()
    larger = RealitySampler(toys, resting, Reality().updated({"physics": {"object_scale": 1.13}}))
    assert larger.sample((1,), "can").objects[0].scale == pytest.approx(1.15)
