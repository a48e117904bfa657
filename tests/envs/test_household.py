import multiprocessing
from pathlib import Path

import numpy as np
import pybullet
import pytest

from simtoreal.envs import asset_store
from simtoreal.envs.household import GROUP_NAMES, design, household_asset, object_names
from simtoreal.envs.household_draw import HELD_OUT_PART, NUM_CELLS, TRAIN_PART, Draw
from simtoreal.envs.mesh_reading import Surface, weld
from simtoreal.envs.object_sets import load_object_set
from simtoreal.envs.solids import Mesh, Points, convex_hull, is_closed, mass_properties, shrink_for_contact
from simtoreal.frames import apply, from_quat

SPLITS = ("household_train", "household_test")


@pytest.mark.parametrize(("split", "num"), [("household_train", 1400), ("household_test", 280)])
def test_every_group_has_its_share_of_every_prefix(split: str, num: int) -> None:
    names = object_names(split)
    assert len(set(names)) == num
    assert len(GROUP_NAMES) == 14
    for prefix in (num, num // 2):
        groups = [name.rsplit("_", 1)[0] for name in names[:prefix]]
        assert {groups.count(group) for group in GROUP_NAMES} == {prefix // 14}


def test_an_object_depends_on_its_split_and_index_only() -> None:
    first, again = design("household_train", 18), design("household_train", 18)
    np.testing.assert_array_equal(first.visual.vertices_m, again.visual.vertices_m)
    assert first.mass_kg == again.mass_kg
    other = design("household_test", 18)
    assert first.group == other.group == "mug"
    assert not np.array_equal(first.visual.vertices_m, other.visual.vertices_m)


def test_no_held_out_parameter_lies_among_the_training_values() -> None:
    def values(held_out: bool) -> Points:
        draw = Draw(np.random.default_rng(3), held_out)
        return np.sort([draw.between(0.0, 1.0) for _ in range(3000)])

    train, test = values(False), values(True)
    nearest = np.abs(train[:, None] - test[None]).min()
    assert nearest >= min(HELD_OUT_PART[0] - TRAIN_PART[1], 1.0 - HELD_OUT_PART[1]) / NUM_CELLS - 1e-9
    assert test[0] < 0.2 < 0.9 < test[-1]  # and yet they cover the same scale
    assert train[0] < 0.05 < 0.85 < train[-1]


def test_ratios_are_spread_over_the_logarithm_within_their_interval() -> None:
    draw = Draw(np.random.default_rng(0), held_out=False)
    values = np.array([draw.ratio(0.01, 1.0) for _ in range(2000)])
    assert 0.01 <= values.min() < values.max() <= 1.0
    assert 0.08 < np.median(values) < 0.12


@pytest.mark.parametrize("index", range(28))
@pytest.mark.parametrize("split", SPLITS)
def test_shape_mass_and_collision_parts_agree(split: str, index: int) -> None:
    blueprint = design(split, index)
    vertices, faces = blueprint.visual
    assert is_closed(weld(Surface(blueprint.visual, None)).mesh)
    assert len(faces) <= 1500
    properties = mass_properties(blueprint.visual)
    np.testing.assert_allclose(properties.center_m, 0.0, atol=1e-9)
    assert 0.02 <= blueprint.mass_kg <= 0.6
    assert np.linalg.eigvalsh(blueprint.inertia_kg_m2).min() > 0.0
    assert np.ptp(vertices, axis=0).max() <= 0.27
    assert blueprint.vertex_rgb is not None
    assert blueprint.vertex_rgb.shape == vertices.shape
    # What is seen is what collides: every vertex lies in a convex part, and no part reaches out of the visible shape.
    inside = np.min([_distance_outside(hull, vertices) for hull in blueprint.hulls], axis=0)
    assert inside.max() < 0.0015
    corners = np.concatenate([hull.vertices_m for hull in blueprint.hulls])
    assert (corners.min(axis=0) >= vertices.min(axis=0) - 1e-6).all()
    assert (corners.max(axis=0) <= vertices.max(axis=0) + 1e-6).all()
    volume_m3 = sum(mass_properties(hull).volume_m3 for hull in blueprint.hulls)
    assert 0.97 < volume_m3 / properties.volume_m3 < 1.6


def _distance_outside(hull: Mesh, points_m: Points) -> Points:
    a, b, c = (hull.vertices_m[hull.faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals @ points_m.T - np.sum(normals * a, axis=1)[:, None]).max(axis=0)


def test_sizes_reach_from_a_card_to_a_bottle_and_most_objects_fit_the_gripper() -> None:
    extents = np.array([np.ptp(design("household_test", index).visual.vertices_m, axis=0) for index in range(280)])
    assert extents.min() < 0.0015
    assert 0.2 < extents[:, 2].max() <= 0.22
    fits = (extents[:, :2].min(axis=1) < 0.075) | (extents[:, 2] < 0.04)
    assert 0.7 < fits.mean() < 1.0  # a bowl, besides, can be held by its rim


def test_groups_look_like_what_they_are_called() -> None:
    def shapes(group: str) -> list[tuple[float, Points]]:
        indices = range(GROUP_NAMES.index(group), 280, len(GROUP_NAMES))
        return [_solid_fraction_and_extents("household_test", index) for index in indices]

    assert all(fraction < 0.55 for fraction, _ in shapes("bowl") + shapes("mug") + shapes("plate"))  # hollow
    assert all(fraction > 0.9 for fraction, _ in shapes("can") + shapes("thin"))
    assert all(extents[2] > 1.7 * extents[0] for _, extents in shapes("bottle"))  # standing
    assert all(extents[2] < 0.2 * extents[0] for _, extents in shapes("thin"))
    assert all(extents[0] > 0.13 for _, extents in shapes("tool"))
    assert sum(extents[0] > extents[1] + 0.015 for _, extents in shapes("mug")) >= 8  # with a handle


def _solid_fraction_and_extents(split: str, index: int) -> tuple[float, Points]:
    visual = design(split, index).visual
    hull_m3 = mass_properties(convex_hull(visual.vertices_m)).volume_m3
    return mass_properties(visual).volume_m3 / hull_m3, np.ptp(visual.vertices_m, axis=0)


def test_contact_hulls_leave_room_for_the_margin_of_the_simulator() -> None:
    thick = convex_hull(np.array([(x, y, z) for x in (0, 0.05) for y in (0, 0.04) for z in (0, 0.03)]))
    np.testing.assert_allclose(np.ptp(shrink_for_contact(thick).vertices_m, axis=0), (0.048, 0.038, 0.028), atol=1e-5)
    card = convex_hull(np.array([(x, y, z) for x in (0, 0.05) for y in (0, 0.04) for z in (0, 0.0009)]))
    np.testing.assert_allclose(np.ptp(shrink_for_contact(card).vertices_m, axis=0)[2], 0.0003, atol=1e-5)


def test_objects_stand_on_a_table_in_the_frame_that_they_promise(cache_dir: Path) -> None:
    client = pybullet.connect(pybullet.DIRECT)
    try:
        for name in object_names("household_test")[:14]:
            if name.split("_")[0] not in ("fruit", "superquadric", "tube"):  # which may roll
                _check_it_stands(client, name, cache_dir)
    finally:
        pybullet.disconnect(client)


def _check_it_stands(client: int, name: str, cache_dir: Path) -> None:
    pybullet.resetSimulation(physicsClientId=client)
    pybullet.setGravity(0, 0, -9.81, physicsClientId=client)
    table = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=(0.5, 0.5, 0.2), physicsClientId=client)
    pybullet.createMultiBody(0, table, basePosition=(0, 0, -0.2), physicsClientId=client)
    asset = household_asset("household_test", name, cache_dir)
    start_m = 0.004 - float(asset.vertices_m[:, 2].min())
    flags = pybullet.URDF_USE_INERTIA_FROM_FILE  # also with these the base frame has to stay as written
    body = pybullet.loadURDF(str(asset.urdf_path), (0, 0, start_m), flags=flags, physicsClientId=client)
    for _ in range(240):
        pybullet.stepSimulation(physicsClientId=client)
    T_base_obj = from_quat(*pybullet.getBasePositionAndOrientation(body, physicsClientId=client))
    lowest_m = float(apply(T_base_obj, asset.vertices_m)[:, 2].min())
    assert T_base_obj[2, 2] > 0.98, f"{name} fell over"
    assert abs(lowest_m) < 0.0015, f"{name} rests {lowest_m} m above the table"


def test_files_are_made_once_and_damaged_ones_again(tmp_path: Path) -> None:
    objects = load_object_set("household_test", tmp_path)
    asset = objects.asset("mug_0004")
    folder = asset.urdf_path.parent
    collision = (folder / "collision.obj").read_text()
    assert collision.count("o part_") == len(design("household_test", 4).hulls)
    written = asset.urdf_path.stat().st_mtime_ns
    again = load_object_set("household_test", tmp_path).asset("mug_0004")
    assert again.urdf_path.stat().st_mtime_ns == written
    assert again.sha == asset.sha
    np.testing.assert_array_equal(again.vertices_m, asset.vertices_m)
    record = folder / asset_store.RECORD
    record.write_bytes(record.read_bytes()[:200])
    repaired = load_object_set("household_test", tmp_path).asset("mug_0004")
    assert repaired.sha == asset.sha
    assert [path.name for path in folder.parent.iterdir()] == ["mug_0004"]


def _sha(cache_dir: Path) -> str:
    return household_asset("household_test", "bowl_0003", cache_dir).sha


def test_processes_may_make_the_same_object_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        hashes = pool.map(_sha, [tmp_path] * 6)
    assert len(set(hashes)) == 1
    folders = [path.name for path in (tmp_path.iterdir().__next__() / "household_test").iterdir()]
    assert folders == ["bowl_0003"]


def test_a_full_disk_is_reported_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(asset_store.np, "savez", full)
    with pytest.raises(OSError, match=r"cannot write the object cache in .*No space left.*SIMTOREAL_CACHE"):
        household_asset("household_test", "can_0001", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
