"""Links of an arm from URDF and SDF: the same geometry that PyBullet reads, and files that cannot be used are named."""

from pathlib import Path

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.envs.robot import load_robot
from simtoreal.envs.robot_links import Link, read_robot_links


def zero_frames(links: tuple[Link, ...]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for link in links:
        found[link.name] = (np.eye(4) if link.parent is None else found[link.parent]) @ link.T_parent_link
    return found


@pytest.mark.parametrize("name", ["panda", "kuka"])
def test_frames_are_those_that_pybullet_computes(name: str):
    from simtoreal.envs.bullet_world import BulletWorld

    robot = load_robot(name)
    links = read_robot_links(robot.urdf)
    world = BulletWorld(robot)
    world.place_robot(np.zeros(len(robot.arm_joints)), np.zeros(len(robot.gripper.joints)))
    at_zero = zero_frames(links)
    root = frames.transform(robot.base_position_m)
    for link in (robot.tool_link, *robot.gripper.finger_links):
        np.testing.assert_allclose(root @ at_zero[link], world.link_frame(link), atol=1e-5)
    world.close()


@pytest.mark.parametrize("name", ["panda", "kuka"])
def test_the_description_names_everything_that_the_robot_file_does(name: str):
    robot = load_robot(name)
    links = read_robot_links(robot.urdf)
    kinds = {link.joint.name: link.joint.kind for link in links}
    assert all(kinds[joint] == "hinge" for joint in robot.arm_joints)
    parents = {link.name: i for i, link in enumerate(links)}
    assert all(link.parent is None or parents[link.parent] < i for i, link in enumerate(links))
    moving = [link for link in links if link.joint.name in robot.arm_joints]
    assert all(link.mass_kg > 0 and link.collision and link.visual for link in moving)


def written(tmp_path: Path, body: str, suffix: str = ".urdf") -> Path:
    path = tmp_path / f"arm{suffix}"
    path.write_text(body)
    return path


ONE = '<robot name="a"><link name="base"/><link name="tip"/>{}</robot>'
JOINT = '<joint name="j" type="{}"><parent link="base"/><child link="tip"/>{}</joint>'


def test_a_joint_without_limits_turns_all_the_way(tmp_path: Path):
    path = written(tmp_path, ONE.format(JOINT.format("continuous", '<axis xyz="0 0 1"/>')))
    joint = read_robot_links(path)[1].joint
    assert (joint.kind, joint.axis) == ("hinge", (0.0, 0.0, 1.0))
    assert joint.upper - joint.lower == pytest.approx(2 * np.pi)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<robot", "is not valid XML"),
        (ONE.format(""), "one tree of links, this has 2 roots: base, tip"),
        (ONE.format(JOINT.format("planar", "")), "joint j is 'planar'; allowed: revolute, continuous"),
        (ONE.format('<joint name="j" type="fixed"><child link="tip"/></joint>'), "joint j has no <parent>"),
        (ONE.format(JOINT.format("revolute", '<axis xyz="0 0"/>')), "must hold 3 finite numbers"),
        (ONE.format(JOINT.format("revolute", '<axis xyz="0 0 nan"/>')), "must hold 3 finite numbers"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, body: str, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        read_robot_links(written(tmp_path, body))
    assert "arm.urdf" in str(caught.value)


def test_an_sdf_of_another_version_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"arm\.sdf: needs a <model>, and a version up to 1\.7"):
        read_robot_links(written(tmp_path, '<sdf version="1.9"><model name="a"/></sdf>', ".sdf"))
