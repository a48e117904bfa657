"""Rigid transforms: group laws, round trips and agreement with scipy, for any pose that hypothesis can think of."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from simtoreal import frames

COORDINATE = st.floats(-10.0, 10.0)
VECTORS = st.tuples(COORDINATE, COORDINATE, COORDINATE)
ANGLES = st.floats(-10.0, 10.0)
# Axes of any length: the angle is the length. Tiny and near half-turn angles are where the formulas break.
ROTATION_VECTORS = st.builds(
    lambda axis, angle: np.asarray(axis) / np.linalg.norm(axis) * angle,
    VECTORS.filter(lambda axis: np.linalg.norm(axis) > 1e-3),
    st.one_of(st.floats(0.0, math.pi), st.floats(0.0, 1e-6), st.floats(math.pi - 1e-6, math.pi)),
)
POSES = st.builds(
    lambda position, vector: frames.transform(position, frames.rotation_from_vector(vector)), VECTORS, ROTATION_VECTORS
)


def assert_rotation(R: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)


@given(POSES)
def test_a_pose_and_its_inverse_cancel(T: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(T @ frames.invert(T), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(frames.invert(frames.invert(T)), T, atol=1e-12)


@given(POSES, POSES, VECTORS)
def test_mapping_through_a_chain_is_mapping_twice(
    T_a_b: NDArray[np.float64], T_b_c: NDArray[np.float64], point: tuple[float, float, float]
) -> None:
    np.testing.assert_allclose(
        frames.apply(T_a_b @ T_b_c, point), frames.apply(T_a_b, frames.apply(T_b_c, point)), atol=1e-11
    )


@given(POSES, st.lists(VECTORS, min_size=1, max_size=6))
def test_points_keep_their_distances_and_their_shape(
    T: NDArray[np.float64], points: list[tuple[float, float, float]]
) -> None:
    before = np.asarray(points)
    after = frames.apply(T, before)
    assert after.shape == before.shape
    np.testing.assert_allclose(
        np.linalg.norm(after - after[0], axis=1), np.linalg.norm(before - before[0], axis=1), atol=1e-11
    )


@given(ROTATION_VECTORS)
def test_rotation_vectors_agree_with_scipy_and_come_back(vector: NDArray[np.float64]) -> None:
    R = frames.rotation_from_vector(vector)
    assert_rotation(R)
    np.testing.assert_allclose(R, Rotation.from_rotvec(vector).as_matrix(), atol=1e-11)
    back = frames.rotation_to_vector(R)
    # Half a turn about an axis and about its opposite are the same rotation, so rotations are compared, not vectors.
    np.testing.assert_allclose(frames.rotation_from_vector(back), R, atol=1e-7)
    assert np.linalg.norm(back) <= math.pi + 1e-9


@given(ROTATION_VECTORS)
def test_quaternions_agree_with_scipy_and_have_a_positive_real_part(vector: NDArray[np.float64]) -> None:
    expected = Rotation.from_rotvec(vector)
    R = expected.as_matrix()
    quat_xyzw = frames.rotation_to_quat(R)
    assert quat_xyzw[3] >= 0.0
    assert np.linalg.norm(quat_xyzw) == pytest.approx(1.0)
    np.testing.assert_allclose(frames.quat_to_rotation(quat_xyzw), R, atol=1e-11)


@given(VECTORS, ROTATION_VECTORS, st.floats(0.01, 100.0))
def test_a_quaternion_need_not_be_normalised(
    position: tuple[float, float, float], vector: NDArray[np.float64], length: float
) -> None:
    quat_xyzw = Rotation.from_rotvec(vector).as_quat() * length
    T = frames.from_quat(position, quat_xyzw)
    assert_rotation(T[:3, :3])
    np.testing.assert_allclose(T[:3, 3], position)
    np.testing.assert_allclose(T[3], (0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("quat_xyzw", [(0.0, 0.0, 0.0, 0.0), (math.nan, 0.0, 0.0, 1.0), (0.0, math.inf, 0.0, 1.0)])
def test_a_quaternion_without_direction_is_refused(quat_xyzw: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="quat_xyzw must be finite and not zero"):
        frames.quat_to_rotation(quat_xyzw)


@given(VECTORS, ANGLES)
def test_a_top_down_tool_looks_at_the_table_and_closes_along_its_yaw(
    position: tuple[float, float, float], yaw_rad: float
) -> None:
    T_base_tcp = frames.top_down(position, yaw_rad)
    assert_rotation(T_base_tcp[:3, :3])
    np.testing.assert_allclose(T_base_tcp[:3, 2], (0.0, 0.0, -1.0))
    np.testing.assert_allclose(T_base_tcp[:3, 0], (math.cos(yaw_rad), math.sin(yaw_rad), 0.0), atol=1e-12)
    assert math.remainder(frames.yaw_of(T_base_tcp) - yaw_rad, 2.0 * math.pi) == pytest.approx(0.0, abs=1e-9)


def test_a_moved_tool_turns_where_it_is_along_the_axes_of_the_base() -> None:
    T = frames.top_down((0.5, 0.1, 0.2), 0.3)
    moved = frames.moved(T, np.array([0.01, 0.0, -0.02]), np.array([0.0, 0.0, 0.4]))
    assert moved == pytest.approx(frames.top_down((0.51, 0.1, 0.18), 0.7))
    np.testing.assert_allclose(T, frames.top_down((0.5, 0.1, 0.2), 0.3))
    assert frames.moved(T, np.zeros(3), np.zeros(3)) == pytest.approx(T)


@given(ANGLES)
def test_turning_about_the_vertical_adds_to_the_yaw(angle_rad: float) -> None:
    T = frames.transform(R=frames.rotation_about_z(angle_rad)) @ frames.top_down((0.5, 0.0, 0.1), 0.3)
    assert math.remainder(frames.yaw_of(T) - 0.3 - angle_rad, 2.0 * math.pi) == pytest.approx(0.0, abs=1e-9)


@given(ANGLES, st.integers(-5, 5))
def test_half_turns_do_not_matter_to_a_parallel_gripper(angle_rad: float, half_turns: int) -> None:
    wrapped = frames.wrap_half_turn(angle_rad)
    assert -math.pi / 2 <= wrapped < math.pi / 2
    assert math.remainder(wrapped - angle_rad, math.pi) == pytest.approx(0.0, abs=1e-9)
    again = frames.wrap_half_turn(angle_rad + half_turns * math.pi)
    assert math.remainder(again - wrapped, math.pi) == pytest.approx(0.0, abs=1e-9)


@given(VECTORS, VECTORS)
def test_a_camera_that_looks_at_a_point_has_it_on_its_axis_and_the_sky_above(
    eye: tuple[float, float, float], target: tuple[float, float, float]
) -> None:
    line = np.subtract(target, eye)
    if np.linalg.norm(line[:2]) < 1e-3:  # straight up or down leaves the roll open
        return
    T_base_cam = frames.look_at(eye, target)
    assert_rotation(T_base_cam[:3, :3])
    seen = frames.apply(frames.invert(T_base_cam), target)
    np.testing.assert_allclose(seen, (0.0, 0.0, float(np.linalg.norm(line))), atol=1e-9)
    assert T_base_cam[2, 1] <= 0.0  # +Y of the image points down in the world
    assert abs(T_base_cam[2, 0]) < 1e-9  # and its rows are level


@pytest.mark.parametrize("target", [(1.0, 2.0, 3.0), (1.0, 2.0, 0.0)])
def test_a_camera_cannot_look_at_itself_nor_along_its_own_up(target: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="cannot look from"):
        frames.look_at((1.0, 2.0, 3.0), target)


def test_roll_pitch_and_yaw_turn_about_fixed_axes_in_that_order() -> None:
    quarter = np.pi / 2
    np.testing.assert_allclose(frames.rotation_from_rpy((0, 0, quarter)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(frames.rotation_from_rpy((0, quarter, 0)) @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    # first the roll takes Y to Z, then the yaw leaves Z where it is
    np.testing.assert_allclose(frames.rotation_from_rpy((quarter, 0, quarter)) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(frames.rotation_from_rpy((quarter, 0, quarter)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@given(VECTORS, VECTORS)
def test_looking_at_a_point_agrees_with_numpys_cross_product(eye, target):
    up = np.array([0.0, 0.1, 1.0])
    forward = np.subtract(target, eye)
    assume(np.linalg.norm(np.cross(forward, up)) > 1e-3)
    T = frames.look_at(eye, target, up)
    right = np.cross(forward, up)
    right, forward = right / np.linalg.norm(right), forward / np.linalg.norm(forward)
    expected = np.stack([right, np.cross(forward, right), forward], axis=1)
    np.testing.assert_allclose(T[:3, :3], expected, atol=1e-15)
