"""The PyBullet door: silent, exact about frames, and with a gripper that presses as hard as it is told."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.envs.bullet_world import PHYSICS_HZ, BulletWorld
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.robot import load_robot

LIFTED_M = 0.3


@pytest.fixture(scope="module", params=["panda", "kuka"])
def world(request: pytest.FixtureRequest) -> Iterator[BulletWorld]:
    world = BulletWorld(load_robot(request.param))
    yield world
    world.close()


@pytest.fixture
def raised(world: BulletWorld) -> BulletWorld:
    """The hand pointing down above the table, jaws open."""
    world.rebuild()
    robot, home = world.robot, np.array(world.robot.home_joint_positions_rad)
    q = world.chain.inverse(frames.top_down((0.5, 0.0, LIFTED_M), 0.0), home, home, num_iterations=200)
    world.place_robot(q, robot.gripper.opening.joints_at(robot.gripper.max_opening_m))
    world.command_arm(q, robot.position_gain)
    return world


def close_jaws(world: BulletWorld, force_n: float, speed_m_s: float, seconds: float) -> list[float]:
    """Closes, and returns the opening after each physics step."""
    gripper = world.robot.gripper
    ends = np.subtract(gripper.opening.joint_positions[0], gripper.opening.joint_positions[-1])
    world.command_fingers(
        gripper.opening.joints_at(0.0),
        force_n * np.array(gripper.effort_per_newton),
        np.maximum(np.abs(ends) / gripper.max_opening_m * speed_m_s, 0.01),
    )
    widths_m = []
    for _ in range(round(seconds * PHYSICS_HZ)):
        world.step(1)
        widths_m.append(gripper.opening.width_at(world.read_fingers()))
    return widths_m


def floating_box(world: BulletWorld, width_m: float, height_m: float) -> int:
    """A box between the pads that no gravity pulls on; its centre is `height_m` above the ends of the tips."""
    client = world._client
    client.setGravity(0, 0, 0)
    shape = client.createCollisionShape(client.GEOM_BOX, halfExtents=(width_m / 2, 0.012, 0.006))
    body = client.createMultiBody(0.2, shape, basePosition=(0.5, 0.0, LIFTED_M + height_m))
    client.changeDynamics(body, -1, lateralFriction=0.8)
    return int(body)


def test_nothing_is_printed():
    code = (
        "from simtoreal.envs.bullet_world import BulletWorld\n"
        "from simtoreal.envs.robot import load_robot\n"
        "for name in ('panda', 'kuka'):\n"
        "    world = BulletWorld(load_robot(name)); world.rebuild(); world.step(2); world.close()\n"
        "left_open = BulletWorld(load_robot('panda'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == ""
    assert done.stderr == ""


def test_what_others_print_still_comes_out():
    code = "print('before', flush=False)\nimport simtoreal.envs.bullet_world\nprint('after')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == "before\nafter\n"


def test_a_joint_that_the_file_does_not_have_is_named():
    robot = load_robot("panda")
    with pytest.raises(ValueError, match=r"panda\.urdf has no joint or link 'elbow'.*panda_joint1"):
        BulletWorld(replace(robot, arm_joints=("elbow", *robot.arm_joints[1:])))


def test_an_sdf_whose_base_would_fall_is_refused(tmp_path: Path):
    robot = load_robot("kuka")
    text = robot.urdf.read_text().replace("<mass>0</mass>", "<mass>5</mass>")
    path = tmp_path / "loose.sdf"
    path.write_text(text.replace("meshes/", f"{robot.urdf.parent}/meshes/").replace("//root", "/root"))
    with pytest.raises(ValueError, match=r"loose\.sdf: the base link weighs 5"):
        BulletWorld(replace(robot, urdf=path))


def test_the_foot_of_the_arm_stands_where_the_file_says(world: BulletWorld):
    moved = BulletWorld(replace(world.robot, base_position_m=(0.1, 0.2, 0.3)))
    home = np.array(world.robot.home_joint_positions_rad)
    before, after = world.chain.forward(home), moved.chain.forward(home)
    shift = np.subtract((0.1, 0.2, 0.3), world.robot.base_position_m)
    np.testing.assert_allclose(after[:3, 3] - before[:3, 3], shift, atol=1e-6)
    np.testing.assert_allclose(after[:3, :3], before[:3, :3], atol=1e-6)
    moved.close()


def test_an_arm_at_rest_stays_at_rest(raised: BulletWorld):
    before = raised.read_joints()[0]
    raised.step(240)
    np.testing.assert_allclose(raised.read_joints()[0], before, atol=2e-3)


def test_an_object_lies_where_it_was_put(world: BulletWorld, toys: ObjectSet):
    world.rebuild()
    T = frames.transform((0.5, 0.1, 0.2), frames.rotation_from_vector((0.3, -0.2, 0.9)))
    for name in toys.names:
        body = world.add_object(toys.asset(name), T, 0.9)
        np.testing.assert_allclose(world.pose(body), T, atol=1e-7)
        np.testing.assert_allclose(world.position(body), T[:3, 3], atol=1e-7)
        assert world.speed(body) == (0.0, 0.0)
        world.remove(body)


def test_an_object_that_cannot_be_loaded_is_named(world: BulletWorld, toys: ObjectSet, tmp_path: Path):
    asset = replace(toys.asset(toys.names[0]), urdf_path=tmp_path / "gone.urdf")
    with pytest.raises(ValueError, match=r"gone\.urdf: PyBullet cannot load it"):
        world.add_object(asset, np.eye(4), 1.0)


def test_what_rests_wakes_when_it_is_touched(raised: BulletWorld, toys: ObjectSet):
    asset = toys.asset(toys.names[0])
    body = raised.add_object(asset, frames.transform((0.5, 0.0, 0.05)), 1.0)
    raised.step(PHYSICS_HZ)
    before = np.array(raised.position(body))
    raised.rest(body)
    raised.step(PHYSICS_HZ)
    np.testing.assert_array_equal(raised.position(body), before)  # asleep: an awake one trembles
    client = raised._client
    ball = client.createMultiBody(
        0.5, client.createCollisionShape(client.GEOM_SPHERE, radius=0.02), basePosition=np.add(before, (0.15, 0, 0.01))
    )
    client.resetBaseVelocity(ball, (-2.0, 0.0, 0.5))
    raised.step(PHYSICS_HZ // 4)
    assert raised.position(body)[0] < before[0] - 0.02


def test_what_falls_is_not_put_to_rest(raised: BulletWorld, toys: ObjectSet):
    body = raised.add_object(toys.asset(toys.names[0]), frames.transform((0.5, 0.0, 0.2)), 1.0)
    raised.step(20)
    height_m = raised.position(body)[2]
    raised.rest(body)
    raised.step(10)
    assert raised.position(body)[2] < height_m - 0.01


def test_a_lost_body_has_no_pose(world: BulletWorld, toys: ObjectSet):
    world.rebuild()
    body = world.add_object(toys.asset(toys.names[0]), frames.transform((0.5, 0.0, 0.3)), 1.0)
    world._client.resetBasePositionAndOrientation(body, (np.nan, 0.0, 0.0), (0, 0, 0, 1))
    assert np.isnan(world.pose(body)).all()
    world.rebuild()
    body = world.add_object(toys.asset(toys.names[0]), frames.transform((0.5, 0.0, 0.3)), 1.0)
    world.step(10)
    assert np.isfinite(world.pose(body)).all()


def test_link_geometry_is_where_pybullet_sees_the_links(world: BulletWorld):
    world.rebuild()
    geometry = world.link_geometry()
    poses = world.link_poses([item.link for item in geometry])
    assert len(geometry) > 8
    for item, T in zip(geometry, poses, strict=True):
        low, high = np.array(world._client.getAABB(world.body, item.link))  # Bullet's boxes are loose where links turn
        points = frames.apply(T, item.vertices_m)
        assert (points.min(axis=0) > low - 0.003).all()
        assert (points.max(axis=0) < high + 0.003).all()
        np.testing.assert_allclose((points.min(axis=0) + points.max(axis=0)) / 2, (low + high) / 2, atol=0.02)
        assert len(item.faces) <= 120


@pytest.mark.parametrize("width_m", [0.0, 0.02, 0.05, 0.08])
def test_the_opening_is_the_distance_between_the_pads(world: BulletWorld, width_m: float):
    world.place_robot(np.array(world.robot.home_joint_positions_rad), world.robot.gripper.opening.joints_at(width_m))
    left, right = world.finger_links
    distance_m = world._client.getClosestPoints(world.body, world.body, 1.0, left, right)[0][8]
    assert distance_m == pytest.approx(width_m, abs=0.0005 if world.robot.name == "kuka" else 0.0025)


@pytest.mark.parametrize("force_n", [10.0, 25.0])
@pytest.mark.parametrize("width_m", [0.02, 0.06])
def test_the_jaws_press_as_hard_as_told_and_measure_what_they_hold(raised: BulletWorld, width_m: float, force_n: float):
    body = floating_box(raised, width_m, 0.012)
    widths_m = close_jaws(raised, force_n, 0.1, 1.2)
    forces_n = dict.fromkeys(raised.finger_links, 0.0)
    for contact in raised.robot_contacts(body):
        forces_n[contact.link_a] += contact.normal_force_n
    assert list(forces_n.values()) == pytest.approx([force_n, force_n], rel=0.1)
    assert widths_m[-1] == pytest.approx(width_m, abs=0.002)
    assert np.ptp(widths_m[-48:]) < 0.0015  # it holds still


def test_the_fingers_stay_together(raised: BulletWorld):
    """One motor: an object off the middle is pushed to the middle, and swinging pads stay parallel."""
    opening = raised.robot.gripper.opening
    body = floating_box(raised, 0.03, 0.015)
    raised.set_pose(body, frames.transform((0.51, 0.0, LIFTED_M + 0.015)))
    close_jaws(raised, 20.0, 0.1, 1.2)
    assert raised.position(body)[0] == pytest.approx(0.5, abs=0.003)
    joints = np.array(raised.read_fingers())
    np.testing.assert_allclose(joints, opening.joints_at(opening.width_at(joints)), atol=0.02)


@pytest.mark.parametrize("speed_m_s", [0.05, 0.15])
def test_the_jaws_close_as_fast_as_told(raised: BulletWorld, speed_m_s: float):
    widths_m = np.array(close_jaws(raised, 30.0, speed_m_s, 0.4))
    steady = widths_m[(widths_m < 0.07) & (widths_m > 0.03)]
    assert -np.diff(steady).mean() * PHYSICS_HZ == pytest.approx(speed_m_s, rel=0.1)
