"""lerobot's robots, by joints and by end effector, against a fake of lerobot."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pybullet_data
import pytest
import vendor_lerobot
from controller_contract import ControllerContract, hold, run
from vendor_world import Paced, World, rigged

from simtoreal.controllers.arms.lerobot import (
    LerobotCamera,
    LerobotJoints,
    LerobotLink,
    LerobotSettings,
    LerobotWrist,
)
from simtoreal.controllers.arms.lerobot_keys import GripperKey, JointKey, JointUnit, WristKeys
from simtoreal.controllers.joint_arm import ChainSettings, JointArm
from simtoreal.controllers.link_errors import LinkError
from simtoreal.safety.events import SafetyStop
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import load_limits
from simtoreal.schema import ConfigError

HOME = np.array([0.0, 0.45, 0.0, -1.35, 0.0, 1.34, 0.0])  # a KUKA that reaches down
CHAIN = ChainSettings(
    Path(pybullet_data.getDataPath()) / "kuka_iiwa/model.urdf",
    tuple(f"lbr_iiwa_joint_{i}" for i in range(1, 8)), "lbr_iiwa_link_7", tuple(HOME), speed_frac=0.3,
)  # fmt: skip
GRIPPER = GripperKey("gripper.pos", open_m=0.08)
JOINTS = tuple(
    JointKey(f"j{i}.pos", JointUnit.DEGREES)
    if i % 2
    else JointKey(f"j{i}.pos", JointUnit.RANGE, low_rad=-3.0, high_rad=3.0)
    for i in range(7)
)
OF_JOINTS = LerobotSettings("arm_of_joints", GRIPPER, JOINTS)
OF_WRIST = LerobotSettings("arm_of_ee", GRIPPER, wrist=WristKeys())


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(joints=HOME)
    vendor_lerobot.install(monkeypatch, made)
    return made


@pytest.fixture
def by_joints(world: World) -> Iterator[Paced]:
    arm = JointArm(LerobotJoints(LerobotLink(OF_JOINTS, {"port": "/dev/arm"}, world.clock.now)), CHAIN, 0.05)
    opened = rigged(arm, world)
    yield opened
    opened.disconnect()


@pytest.fixture
def by_wrist(world: World) -> Iterator[Paced]:
    opened = rigged(LerobotWrist(LerobotLink(OF_WRIST, {}, world.clock.now), WristKeys()), world)
    yield opened
    opened.disconnect()


class TestLerobotJoints(ControllerContract):
    @pytest.fixture
    def controller(self, by_joints: Paced) -> Paced:
        return by_joints


class TestLerobotWrist(ControllerContract):
    @pytest.fixture
    def controller(self, by_wrist: Paced) -> Paced:
        return by_wrist


def test_joints_are_radians_whatever_their_unit(by_joints: Paced):
    seen = by_joints.reset()
    np.testing.assert_allclose(seen.joint_positions_rad, HOME, atol=1e-9)
    np.testing.assert_allclose(seen.T_base_tcp, CHAIN.open().forward(HOME), atol=1e-9)


def test_what_a_joint_cannot_do_in_a_period_is_reported_as_not_sent(by_joints: Paced):
    by_joints.reset()
    asked = hold(0.08)._replace(delta_rotation_rad=np.array([0.0, 0.0, 0.25]))
    kinematics = by_joints.rig.arm.kinematics
    kinematics.max_speed_rad_s = np.full(7, 0.5)  # 7.5 mrad per period at speed_frac 0.3
    sent = by_joints.send_action(asked)
    assert 0.0 < np.linalg.norm(sent.delta_rotation_rad) < 0.02


@pytest.mark.parametrize(
    ("key", "value", "rad"),
    [
        (JointKey("a", JointUnit.DEGREES), 90.0, math.pi / 2),
        (JointKey("a", JointUnit.DEGREES, sign=-1, offset_rad=0.5), 90.0, 0.5 - math.pi / 2),
        (JointKey("a", JointUnit.RADIANS), 1.0, 1.0),
        (JointKey("a", JointUnit.RANGE, low_rad=-1.0, high_rad=3.0), 100.0, 3.0),
        (JointKey("a", JointUnit.RANGE, low_rad=-1.0, high_rad=3.0), 0.0, 1.0),
    ],
)
def test_units_of_joints_go_both_ways(key: JointKey, value: float, rad: float):
    assert key.to_rad(value) == pytest.approx(rad)
    assert key.of_rad(rad) == pytest.approx(value)


@pytest.mark.parametrize(
    ("unit", "value"), [(JointUnit.RADIANS, 45.0), (JointUnit.DEGREES, 2048.0), (JointUnit.DEGREES, math.nan)]
)
def test_a_number_that_cannot_be_of_its_unit_is_refused(unit: JointUnit, value: float):
    with pytest.raises(LinkError, match=rf"elbow\.pos=.* out of range for unit={unit}"):
        JointKey("elbow.pos", unit).to_rad(value)


def test_a_range_and_a_gripper_beyond_their_ends_are_refused():
    with pytest.raises(LinkError, match="-105 to 105"):
        JointKey("a", JointUnit.RANGE, low_rad=-1.0, high_rad=1.0).to_rad(170.0)
    with pytest.raises(LinkError, match="Is it another unit"):
        GRIPPER.to_m(2048.0)
    with pytest.raises(ConfigError, match="needs both"):
        JointKey("a", JointUnit.RANGE)


def test_millimetres_of_a_wrist_are_refused(world: World):
    world.T[:3, 3] *= 1000.0
    link = LerobotLink(OF_WRIST, {}, world.clock.now)
    with pytest.raises(LinkError, match=r"wrist\.unit_m"):
        LerobotWrist(link, WristKeys()).connect()
    link.disconnect()


def test_keys_that_the_robot_lacks_are_named_with_those_it_has(world: World):
    settings = LerobotSettings("arm_of_joints", GripperKey("jaw.pos", 0.08), JOINTS)
    with pytest.raises(ConfigError, match=r"has no jaw\.pos in observation_features.*gripper\.pos"):
        LerobotLink(settings, {}, world.clock.now).connect()


def test_robots_that_lerobot_does_not_know_or_reach_are_refused(world: World):
    with pytest.raises(ConfigError, match="robot_type=toaster"):
        LerobotLink(LerobotSettings("toaster", GRIPPER, JOINTS), {}, world.clock.now).connect()
    with pytest.raises(LinkError, match="/dev/none"):
        LerobotLink(OF_JOINTS, {"port": "/dev/none"}, world.clock.now).connect()
    with pytest.raises(LinkError, match="lerobot-calibrate"):
        LerobotLink(LerobotSettings("slow_to_calibrate", GRIPPER, JOINTS), {}, world.clock.now).connect()


@pytest.mark.parametrize("which", ["by_joints", "by_wrist"])
def test_a_lost_bus_stops_the_guard(request: pytest.FixtureRequest, world: World, which: str):
    controller = request.getfixturevalue(which)
    guard = Guard(controller, load_limits("panda"), times=TimeSource(world.clock.now, world.clock.sleep))
    guard.reset()
    world.is_lost = True
    with pytest.raises(SafetyStop, match="link"):
        guard.send_action(hold(0.08))


def test_stopping_holds_the_joints_where_they_are_and_nothing_when_disconnected(by_joints: Paced, world: World):
    by_joints.reset()
    run(by_joints, hold(0.08, 0.01), 3)
    by_joints.send_action(hold(0.08, 0.02))
    by_joints.stop()
    np.testing.assert_allclose(world.q_goal, world.q, atol=1e-9)
    by_joints.disconnect()
    world.q_goal = HOME
    by_joints.stop()
    np.testing.assert_array_equal(world.q_goal, HOME)


def test_pictures_of_the_robot_itself_age_with_its_observations(by_wrist: Paced, world: World):
    link = by_wrist.rig.arm.link
    camera = LerobotCamera(link, "front")
    picture = camera.read_latest(0.1)
    assert picture.rgb.shape == (24, 32, 3)
    world.clock.sleep(0.2)
    assert camera.read_latest(0.1).t_s == pytest.approx(picture.t_s + 0.2)
    with pytest.raises(LinkError, match="no picture 'rear'"):
        LerobotCamera(link, "rear").read_latest(0.1)
