"""Arms and cameras behind ROS 2, against a fake of rclpy."""

import types
from collections.abc import Iterator

import numpy as np
import pytest
import vendor_ros
from controller_contract import ControllerContract, hold, run
from test_lerobot_arm import CHAIN, HOME
from vendor_ros import RosWorld
from vendor_world import Paced, rigged

from simtoreal.controllers.arms.ros import RosBody, RosJoints, RosSettings, RosTwist, RosTwistArm
from simtoreal.controllers.arms.ros_link import RosLink
from simtoreal.controllers.cameras.ros import RosCamera, RosCameraSettings, depth
from simtoreal.controllers.joint_arm import JointArm
from simtoreal.controllers.link_errors import LinkError
from simtoreal.safety.events import SafetyStop
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import load_limits

SETTINGS = RosSettings(timeout_s=0.1)
TWIST = RosTwist(base_frame="base", gain_hz=10.0, max_speed_m_s=0.6)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> RosWorld:
    made = RosWorld(HOME)
    vendor_ros.install(monkeypatch, made)
    return made


@pytest.fixture
def by_joints(world: RosWorld) -> Iterator[Paced]:
    body = RosBody(SETTINGS, RosLink(world.clock.now), CHAIN.joints)
    opened = rigged(JointArm(RosJoints(body, CHAIN.joints, 0.05), CHAIN, 0.05), world)
    yield opened
    opened.disconnect()


@pytest.fixture
def by_twist(world: RosWorld) -> Iterator[Paced]:
    opened = rigged(RosTwistArm(RosBody(SETTINGS, RosLink(world.clock.now), ()), TWIST), world)
    yield opened
    opened.disconnect()


class TestRosJoints(ControllerContract):
    @pytest.fixture
    def controller(self, by_joints: Paced) -> Paced:
        return by_joints


class TestRosTwist(ControllerContract):
    @pytest.fixture
    def controller(self, by_twist: Paced) -> Paced:
        return by_twist


def test_joints_are_found_by_name_and_not_by_place(by_joints: Paced):
    np.testing.assert_allclose(by_joints.reset().joint_positions_rad, HOME)


def test_the_gripper_gets_one_goal_for_one_wish(by_joints: Paced, world: RosWorld):
    by_joints.reset()
    world.calls.clear()
    run(by_joints, hold(0.02), 5)
    assert [call for call in world.calls if call.startswith("grip")] == ["grip 0.010 20"]


def test_the_speed_of_a_twist_is_limited(by_twist: Paced, world: RosWorld):
    by_twist.reset()
    for _ in range(6):
        by_twist.send_action(hold(0.08, 0.03))
    assert np.linalg.norm(world.twist[0]) == pytest.approx(0.6, rel=0.35)
    assert np.linalg.norm(world.twist[0]) <= 0.6 + 1e-9
    by_twist.stop()
    np.testing.assert_array_equal(world.twist[0], 0.0)


@pytest.mark.parametrize("which", ["by_joints", "by_twist"])
def test_silence_of_the_robot_stops_the_guard(request: pytest.FixtureRequest, world: RosWorld, which: str):
    controller = request.getfixturevalue(which)
    guard = Guard(controller, load_limits("panda"), times=TimeSource(world.clock.now, world.clock.sleep))
    guard.reset()
    guard.send_action(hold(0.08))
    world.is_lost = True
    world.clock.sleep(0.2)
    with pytest.raises(SafetyStop, match="link"):
        guard.get_observation()


def test_a_joint_that_is_not_published_is_named(world: RosWorld):
    world.names.remove("lbr_iiwa_joint_4")
    body = RosBody(SETTINGS, RosLink(world.clock.now), CHAIN.joints)
    with pytest.raises(LinkError, match="/joint_states lacks lbr_iiwa_joint_4; it has"):
        body.connect()
    body.disconnect()


def test_topics_that_stay_silent_are_named(world: RosWorld):
    world.is_silent = True
    body = RosBody(SETTINGS, RosLink(world.clock.now), CHAIN.joints)
    with pytest.raises(LinkError, match=r"/joint_states does not come within 0\.1 s"):
        body.connect()
    body.disconnect()


def test_the_node_lives_as_long_as_somebody_uses_it(world: RosWorld):
    link = RosLink(world.clock.now)
    body, camera = RosBody(SETTINGS, link, CHAIN.joints), RosCamera("c", RosCameraSettings(timeout_s=0.1), link)
    body.connect()
    camera.connect()
    body.disconnect()
    body.disconnect()
    assert "destroy_node" not in world.calls
    camera.disconnect()
    assert "destroy_node" in world.calls


def test_pictures_are_red_first_with_their_lens_their_depth_and_their_stamp(world: RosWorld):
    link = RosLink(world.clock.now)
    camera = RosCamera("c", RosCameraSettings(depth="/depth", timeout_s=0.1), link, world.clock.now)
    camera.connect()
    world.clock.sleep(0.1)
    seen = camera.read_latest(0.05)
    np.testing.assert_array_equal(seen.rgb, np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3))
    assert seen.depth_m[1, 1] == pytest.approx(0.4)
    assert np.isnan(seen.depth_m[0, 0])
    assert seen.K[0, 0] == 40.0
    np.testing.assert_array_equal(seen.distortion, (0.1, 0, 0, 0, 0))
    assert seen.t_s == pytest.approx(world.clock.now(), abs=1e-6)
    world.is_silent = True
    world.clock.sleep(0.2)
    with pytest.raises(LinkError, match=r"picture is 0\.20. s old"):
        camera.read_latest(0.05)
    camera.disconnect()


def test_encodings_that_are_not_known_and_images_that_are_cut_off_are_refused(world: RosWorld):
    world.encoding = "yuv422"
    camera = RosCamera("c", RosCameraSettings(timeout_s=0.1), RosLink(world.clock.now), world.clock.now)
    camera.connect()
    with pytest.raises(LinkError, match="'yuv422', known are rgb8"):
        camera.read_latest(0.05)
    camera.disconnect()
    cut = types.SimpleNamespace(encoding="32FC1", height=2, width=2, step=8, is_bigendian=0, data=b"\0" * 12)
    with pytest.raises(LinkError, match="cut off"):
        depth(cut)


def test_depth_in_floats_is_metres_without_what_is_no_return():
    data = np.array([[0.5, np.inf], [0.0, np.nan]], dtype=">f4").tobytes()
    seen = depth(types.SimpleNamespace(encoding="32FC1", height=2, width=2, step=8, is_bigendian=1, data=data))
    np.testing.assert_array_equal(seen, np.array([[0.5, np.nan], [np.nan, np.nan]], dtype=np.float32))
