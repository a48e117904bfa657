"""The planner on shapes whose best grasps are known."""

import numpy as np
import pytest
import trimesh

from simtoreal import frames
from simtoreal.envs.planner import (
    GraspSet,
    GripperGeometry,
    clear_of,
    diverse,
    fits_gripper,
    plan_grasps,
    surface_points,
)

GRIPPER = GripperGeometry()
CENTRE_M = np.array([0.5, 0.1])


def plan(mesh: trimesh.Trimesh, yaw_rad: float = 0.0, seed: int = 0, table_z_m: float = 0.0) -> GraspSet:
    """Plans on a mesh that stands on the table at CENTRE_M."""
    T = frames.transform((*CENTRE_M, table_z_m - mesh.bounds[0, 2]), frames.rotation_about_z(yaw_rad))
    return plan_grasps(mesh.vertices, mesh.faces, T, GRIPPER, np.random.default_rng(seed), table_z_m=table_z_m)


def angle_to(yaws_rad: np.ndarray, yaw_rad: float) -> np.ndarray:
    """Smallest angle between closing directions, radians."""
    return np.abs((yaws_rad - yaw_rad + np.pi / 2) % np.pi - np.pi / 2)


def test_long_box_is_gripped_across_its_short_side():
    grasps = plan(trimesh.creation.box((0.05, 0.12, 0.05)), yaw_rad=0.4)
    best = diverse(grasps, 5)
    assert np.all(angle_to(best.yaws_rad, 0.4) < np.radians(0.5))
    assert np.allclose(best.widths_m, 0.05, atol=0.003)
    assert np.linalg.norm(best.positions_m[0, :2] - CENTRE_M) < 0.015
    assert best.qualities[0] > 0.8


def test_box_that_fits_both_ways_is_gripped_both_ways():
    grasps = plan(trimesh.creation.box((0.05, 0.05, 0.05)))
    from_x = angle_to(grasps.yaws_rad, 0.0)
    best = [grasps.qualities[from_x < 0.1].max(), grasps.qualities[from_x > np.pi / 2 - 0.1].max()]
    diagonal = grasps.qualities[angle_to(from_x, np.pi / 4) < 0.1].max()
    assert min(best) > 0.95
    assert diagonal < 0.85


@pytest.mark.parametrize(
    "mesh", [trimesh.creation.cylinder(0.025, 0.08, sections=48), trimesh.creation.icosphere(3, 0.028)]
)
def test_round_objects_are_gripped_at_the_centre_from_all_sides(mesh: trimesh.Trimesh):
    grasps = plan(mesh)
    central = np.linalg.norm(grasps.positions_m[:, :2] - CENTRE_M, axis=1) < 0.004
    yaw_bin = ((grasps.yaws_rad + np.pi / 2) // (np.pi / 12)).astype(int)
    best = np.array([grasps.qualities[central & (yaw_bin == k)].max() for k in range(12)])
    assert best.min() > 0.75
    assert np.ptp(best) < 0.1


def test_too_large_box_has_no_grasp():
    grasps = plan(trimesh.creation.box((0.12, 0.12, 0.12)))
    assert not fits_gripper(grasps)
    assert diverse(grasps, 5).num <= 5


def test_bowl_is_gripped_at_its_wall():
    bowl = trimesh.creation.annulus(0.066, 0.070, 0.05)
    grasps = plan(bowl)
    assert fits_gripper(grasps)
    radius = np.linalg.norm(grasps.positions_m[:10, :2] - CENTRE_M, axis=1)
    assert np.allclose(radius, 0.068, atol=0.006)


def test_fingers_stay_above_the_table_and_the_palm_above_the_object():
    for height_m in (0.02, 0.05, 0.15):
        grasps = plan(trimesh.creation.box((0.04, 0.04, height_m)), table_z_m=0.03)
        tips_m = grasps.positions_m[:, 2] - 0.03
        assert tips_m.min() > 0.003
        assert np.all(tips_m + GRIPPER.finger_length_m > height_m)
        assert tips_m[0] < height_m - 0.008


def test_flat_card_is_gripped_low_and_rated_lower():
    card = plan(trimesh.creation.box((0.085, 0.054, 0.003)))
    block = plan(trimesh.creation.box((0.085, 0.054, 0.03)))
    assert card.num > 0
    assert 0.0005 < card.positions_m[0, 2] < 0.0025
    assert card.qualities[0] < 0.8 * block.qualities[0]


def test_same_seed_same_grasps_and_other_seed_same_quality():
    mesh = trimesh.creation.capsule(height=0.06, radius=0.02)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    first, again, other = plan(mesh, seed=3), plan(mesh, seed=3), plan(mesh, seed=4)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a, b)
    assert abs(first.qualities[0] - other.qualities[0]) < 0.1


def test_qualities_are_sorted_probabilities_and_yaws_are_wrapped():
    grasps = plan(trimesh.creation.cylinder(0.02, 0.05))
    assert np.all(np.diff(grasps.qualities) <= 0.0)
    assert grasps.qualities.min() >= 0.0
    assert grasps.qualities.max() <= 1.0
    assert np.all((grasps.yaws_rad >= -np.pi / 2) & (grasps.yaws_rad < np.pi / 2))


def test_grasps_move_with_the_object():
    mesh = trimesh.creation.box((0.04, 0.07, 0.04))
    grasps = plan(mesh)
    T = frames.transform((-0.1, 0.2, 0.01), frames.rotation_about_z(2.5))
    moved = grasps.transformed(T)
    assert np.allclose(moved.positions_m, frames.apply(T, grasps.positions_m))
    assert np.all(angle_to(moved.yaws_rad, grasps.yaws_rad[0] + 2.5)[0] < 1e-9)
    with pytest.raises(ValueError, match="keep \\+Z up"):
        grasps.transformed(frames.transform(R=frames.rotation_from_vector((0.3, 0.0, 0.0))))


def test_neighbour_blocks_the_finger_on_its_side_only():
    grasps = plan(trimesh.creation.box((0.05, 0.05, 0.05)))
    wall = trimesh.creation.box((0.01, 0.2, 0.06))
    wall.apply_translation((CENTRE_M[0] + 0.036, CENTRE_M[1], 0.03))
    points, _ = surface_points(wall.vertices, wall.faces, 3000, np.random.default_rng(0))
    mask = clear_of(grasps, points, GRIPPER)
    good = grasps.qualities > 0.8
    assert not np.any(mask & (angle_to(grasps.yaws_rad, 0.0) < 0.2))
    assert np.any(mask & good & (angle_to(grasps.yaws_rad, np.pi / 2) < 0.1))
    assert clear_of(grasps, np.zeros((0, 3)), GRIPPER).all()


def test_diverse_grasps_differ():
    picked = diverse(plan(trimesh.creation.cylinder(0.03, 0.06)), 6)
    assert picked.num == 6
    for i in range(6):
        near = np.linalg.norm(picked.positions_m - picked.positions_m[i], axis=1) < 0.015
        alike = near & (angle_to(picked.yaws_rad, picked.yaws_rad[i]) < 0.35)
        assert alike.sum() == 1


def test_surface_points_lie_evenly_on_the_mesh():
    box = trimesh.creation.box((0.02, 0.04, 0.06))
    points, normals = surface_points(box.vertices, box.faces, 4400, np.random.default_rng(0))
    on_x = np.abs(np.abs(points[:, 0]) - 0.01) < 1e-9
    assert on_x.sum() == pytest.approx(4400 * 24 / 44, rel=0.01)
    assert np.allclose(np.abs(normals[on_x][:, 0]), 1.0)


def test_broken_mesh_and_gripper_are_named():
    box = trimesh.creation.box((0.02, 0.04, 0.06))
    broken = box.vertices.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        plan_grasps(broken, box.faces, np.eye(4), GRIPPER, np.random.default_rng(0))
    with pytest.raises(ValueError, match="max_opening_m"):
        GripperGeometry(max_opening_m=0.0)
