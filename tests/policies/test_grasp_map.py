"""The grasp map: what is written into it as a label is read out of it again."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.policies.grasp_map import (
    CELL_PX,
    FIELDS,
    NUM_YAWS,
    WIDTH_SCALE_M,
    Candidate,
    Viewpoint,
    decode,
    in_view,
    read_again,
)
from simtoreal.policies.grasp_targets import targets

PIXELS = 64


def viewpoint(eye_m: tuple[float, float, float] = (0.46, 0.03, 0.35), view_yaw_rad: float = 0.4) -> Viewpoint:
    edge_m = 0.26
    target = np.array([0.5, 0.0, 0.0])
    focal = PIXELS * float(np.linalg.norm(np.array(eye_m) - target)) / edge_m
    middle = 0.5 * (PIXELS - 1)
    K = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
    T = frames.look_at(eye_m, target, up=(-math.sin(view_yaw_rad), math.cos(view_yaw_rad), 0.0))
    return Viewpoint(K, T, math.atan2(T[1, 0], T[0, 0]), PIXELS)


def round_trip(
    grasps: list[tuple[float, float, float, float]], num: int, qualities: list[float] | None = None
) -> list[Candidate]:
    """Grasps (x, y, z, yaw) into a map and out again."""
    table = np.array(grasps)
    view = viewpoint()
    quality = np.array(qualities or [0.9] * len(grasps))
    rows = in_view(table[:, :3], table[:, 3], np.full(len(grasps), 0.04), quality, view)
    assert len(rows) == len(grasps)
    return decode(targets(rows, PIXELS), view, num)


def position_error_m(candidate: Candidate, grasp: tuple[float, float, float, float]) -> float:
    return float(np.linalg.norm(candidate.T_base_grasp[:3, 3] - grasp[:3]))


def yaw_error_rad(candidate: Candidate, yaw_rad: float) -> float:
    return abs(frames.wrap_half_turn(frames.yaw_of(candidate.T_base_grasp) - yaw_rad))


grasp = st.tuples(
    st.floats(0.42, 0.58), st.floats(-0.08, 0.08), st.floats(-0.01, 0.12), st.floats(-math.pi / 2, math.pi / 2)
)


@given(grasp, st.floats(0.005, 0.08), st.floats(0.2, 1.0))
def test_a_grasp_comes_back_as_it_was(grasp: tuple[float, float, float, float], width_m: float, quality: float):
    view = viewpoint()
    table = np.array([grasp])
    rows = in_view(table[:, :3], table[:, 3], np.array([width_m]), np.array([quality]), view)
    (best,) = decode(targets(rows, PIXELS), view, 1)
    assert position_error_m(best, grasp) < 2e-3
    assert yaw_error_rad(best, grasp[3]) < math.radians(2.0)
    assert best.width_m == pytest.approx(width_m, abs=1e-4)
    assert best.quality == pytest.approx(quality, abs=1e-5)


@pytest.mark.parametrize("yaw_deg", [-90.0, -89.9, -82.6, 82.4, 89.9, 89.99])
def test_yaw_wraps_at_a_quarter_turn(yaw_deg: float):
    # The view itself is turned: the wrap of the base and that of the view are both met.
    for extra in (0.0, viewpoint().yaw_rad):
        yaw = math.radians(yaw_deg) + extra
        (best,) = round_trip([(0.5, 0.0, 0.03, yaw)], 1)
        assert yaw_error_rad(best, yaw) < math.radians(0.1)


def test_nearly_equal_grasps_on_both_sides_of_the_wrap_are_one_peak():
    yaw = viewpoint().yaw_rad + math.pi / 2
    found = round_trip([(0.5, 0.0, 0.03, yaw - 0.02), (0.5, 0.0, 0.03, yaw + 0.02)], 8)
    strong = [candidate for candidate in found if candidate.quality > 0.5]
    assert all(yaw_error_rad(candidate, yaw) < 0.03 for candidate in strong)


def test_several_grasps_are_all_found_best_first():
    grasps = [(0.46, -0.05, 0.02, 0.1), (0.54, 0.05, 0.06, -1.2), (0.50, 0.00, 0.04, 0.9)]
    found = round_trip(grasps, 3, [0.5, 0.9, 0.7])
    assert [candidate.quality for candidate in found] == pytest.approx([0.9, 0.7, 0.5])
    for candidate, index in zip(found, (1, 2, 0), strict=True):
        assert position_error_m(candidate, grasps[index]) < 2e-3


def test_a_round_object_keeps_a_grasp_in_every_yaw_bin():
    yaws = (np.arange(NUM_YAWS) + 0.5) * math.pi / NUM_YAWS - math.pi / 2 + viewpoint().yaw_rad
    rows = in_view(
        np.tile([0.5, 0.0, 0.03], (NUM_YAWS, 1)), yaws, np.full(NUM_YAWS, 0.05), np.full(NUM_YAWS, 0.8), viewpoint()
    )
    quality = targets(rows, PIXELS)[:, 0].max(axis=(1, 2))
    assert quality == pytest.approx(0.8)


def test_the_better_of_two_grasps_in_one_cell_gives_the_geometry():
    low, high = (0.5, 0.0, 0.02, 0.3), (0.5, 0.0, 0.07, 0.3)
    (best,) = round_trip([high, low], 1, [0.4, 0.9])
    assert position_error_m(best, low) < 2e-3


def test_quality_is_full_in_the_cell_of_the_grasp_and_gone_two_cells_away():
    rows = np.array([[30.0, 34.0, 0.03, 0.1, 0.04, 1.0]], dtype=np.float32)
    quality = targets(rows, PIXELS)[:, 0].max(axis=0)
    column, row = round((30.5) / CELL_PX - 0.5), round((34.5) / CELL_PX - 0.5)
    assert quality[row, column] == pytest.approx(1.0)
    far = np.ones_like(quality, dtype=bool)
    far[row - 1 : row + 2, column - 1 : column + 2] = False
    assert quality[far].max() == 0.0


def test_grasps_outside_the_view_or_behind_the_camera_are_left_out():
    positions = np.array([[0.5, 0.0, 0.0], [0.9, 0.0, 0.0], [0.5, 0.0, 0.9]])
    rows = in_view(positions, np.zeros(3), np.full(3, 0.04), np.full(3, 0.9), viewpoint())
    assert len(rows) == 1


def test_an_empty_frame_has_an_empty_map_and_a_flat_map_has_no_confident_grasp():
    empty = targets(np.zeros((0, 6), dtype=np.float32), PIXELS)
    assert empty.shape == (NUM_YAWS, len(FIELDS), PIXELS // CELL_PX, PIXELS // CELL_PX)
    assert not empty.any()
    assert all(candidate.quality == 0.0 for candidate in decode(empty, viewpoint(), 4))


def test_widths_are_clipped_to_what_a_gripper_can_mean():
    wild = targets(np.array([[32.0, 32.0, 0.03, 0.1, 0.04, 1.0]], dtype=np.float32), PIXELS)
    wild[:, 1] = 7.0
    (best,) = decode(wild, viewpoint(), 1)
    assert best.width_m == pytest.approx(1.2 * WIDTH_SCALE_M)


def test_a_ray_that_never_meets_its_height_gives_no_grasp():
    above: NDArray[np.float32] = targets(np.array([[32.0, 32.0, 0.9, 0.1, 0.04, 1.0]], dtype=np.float32), PIXELS)
    found = decode(above, viewpoint(), 3)
    assert all(candidate.quality < 0.1 for candidate in found)
    assert all(np.isfinite(candidate.T_base_grasp).all() for candidate in found)


def test_a_grasp_is_read_again_in_its_own_yaw_bin_and_near_its_cell():
    look = viewpoint()
    good, better_turned = (0.45, 0.02, 0.03, 0.3), (0.45, 0.02, 0.03, 1.2)
    moved = (0.453, 0.022, 0.03, 0.33)
    poses = np.array([moved, better_turned])
    rows = in_view(poses[:, :3], poses[:, 3], np.full(2, 0.04), np.array([0.5, 0.9]), look)
    grasp_map = targets(rows, look.pixels)
    again = read_again(grasp_map, look, frames.top_down(good[:3], good[3]))
    assert again is not None
    assert again.quality == pytest.approx(0.5, abs=1e-3)
    assert position_error_m(again, moved) < 0.002
    assert yaw_error_rad(again, moved[3]) < 0.02
    assert read_again(grasp_map, look, frames.top_down((0.9, 0.5, 0.03), 0.3)) is None, "out of view"
