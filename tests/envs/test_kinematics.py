"""Kinematics against PyBullet, and against themselves."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal import frames
from simtoreal.envs.bullet_world import BulletWorld
from simtoreal.envs.kinematics import toward
from simtoreal.envs.robot import load_robot

ANGLES = st.floats(-3.0, 3.0)
VECTORS = st.tuples(ANGLES, ANGLES, ANGLES)


@pytest.fixture(scope="module", params=["panda", "kuka"])
def world(request: pytest.FixtureRequest) -> Iterator[BulletWorld]:
    world = BulletWorld(load_robot(request.param))
    yield world
    world.close()


def home(world: BulletWorld) -> np.ndarray:
    return np.array(world.robot.home_joint_positions_rad)


def test_forward_is_where_pybullet_sees_the_tool(world: BulletWorld):
    rng = np.random.default_rng(0)
    chain, robot = world.chain, world.robot
    for _ in range(20):
        q = rng.uniform(chain.lower_rad, chain.upper_rad)
        world.place_robot(q, robot.gripper.opening.joints_at(0.0))
        T = world.link_frame(robot.tool_link) @ robot.T_link_tcp
        np.testing.assert_allclose(chain.forward(q), T, atol=1e-5)  # PyBullet computes links in single precision


def test_the_tool_sits_between_the_tips(world: BulletWorld):
    opening = world.robot.gripper.opening
    world.place_robot(home(world), opening.joints_at(0.0))
    T = world.chain.forward(home(world))
    parts = {item.link: item for item in world.link_geometry()}
    tips = []
    for link, T_base_link in zip(world.finger_links, world.link_poses(world.finger_links), strict=True):
        points = frames.apply(frames.invert(T) @ T_base_link, parts[link].vertices_m)
        tips.append(points)
        assert points[:, 2].max() == pytest.approx(0.0, abs=0.002)  # no lower than the tool frame says
        assert np.ptp(points[:, 1]) == pytest.approx(world.robot.gripper.geometry.finger_width_m, abs=0.004)
        assert abs(points[:, 1].min() + points[:, 1].max()) < 0.006
    assert np.sign(tips[0][:, 0].mean()) == -np.sign(tips[1][:, 0].mean())  # one on each side along x


def test_inverse_comes_back_to_the_pose(world: BulletWorld):
    rng = np.random.default_rng(1)
    q = start = world.chain.inverse(
        frames.top_down(world.robot.home_position_m, 0.0), home(world), home(world), num_iterations=100
    )
    for _ in range(20):
        goal = frames.top_down(rng.uniform((0.4, -0.12, 0.0), (0.6, 0.12, 0.25)), rng.uniform(-1.5, 1.5))
        q = world.chain.inverse(goal, start, home(world), num_iterations=100)
        np.testing.assert_allclose(world.chain.forward(q), goal, atol=1e-3)
        assert (q >= world.chain.lower_rad).all()
        assert (q <= world.chain.upper_rad).all()


def test_out_of_reach_gives_the_nearest_and_stays_inside_the_limits(world: BulletWorld):
    goal = frames.top_down((3.0, 0.0, 0.3), 0.0)
    q = world.chain.inverse(goal, home(world), home(world), num_iterations=200)
    assert np.isfinite(q).all()
    assert (q >= world.chain.lower_rad).all()
    assert (q <= world.chain.upper_rad).all()
    assert world.chain.forward(q)[0, 3] > world.chain.forward(home(world))[0, 3] + 0.05


def test_the_redundant_joint_returns_to_its_posture(world: BulletWorld):
    goal = frames.top_down(world.robot.home_position_m, 0.0)
    rest = world.chain.inverse(goal, home(world), home(world), num_iterations=100)
    q = rest + 0.3
    for _ in range(200):
        q = world.chain.inverse(goal, q, rest, num_iterations=1)
    np.testing.assert_allclose(q, rest, atol=0.01)


def test_start_and_rest_are_left_alone(world: BulletWorld):
    start, rest = home(world), home(world)
    world.chain.inverse(frames.top_down((0.5, 0.1, 0.2), 0.3), start, rest)
    np.testing.assert_array_equal(start, home(world))
    np.testing.assert_array_equal(rest, home(world))


@given(position=VECTORS, turn=VECTORS, share=st.floats(0.0, 1.0))
def test_part_of_a_motion_is_part_of_its_turn_and_shift(position: tuple, turn: tuple, share: float):
    axis = np.array(turn) / max(1.0, float(np.linalg.norm(turn)) / 3.0)  # stay clear of half a turn
    T_from = frames.transform((0.1, -0.2, 0.3), frames.rotation_from_vector((0.4, 0.5, -0.6)))
    T_to = frames.transform(position, frames.rotation_from_vector(axis) @ T_from[:3, :3])
    T = toward(T_from, T_to, share)
    np.testing.assert_allclose(T[:3, 3], (1 - share) * T_from[:3, 3] + share * T_to[:3, 3], atol=1e-12)
    np.testing.assert_allclose(T[:3, :3], frames.rotation_from_vector(share * axis) @ T_from[:3, :3], atol=1e-6)
