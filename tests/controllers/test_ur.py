"""Universal Robots, against a fake of ur_rtde and of the gripper's socket."""

from collections.abc import Iterator

import numpy as np
import pytest
import vendor_ur
from controller_contract import ControllerContract, hold, run
from vendor_world import LIMITS, Paced, World, rigged

from simtoreal.controllers.arms.robotiq import RobotiqGripper, RobotiqSettings
from simtoreal.controllers.arms.ur import UrArm, UrSettings
from simtoreal.controllers.link_errors import ArmStopped, LinkError
from simtoreal.safety.events import SafetyStop
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import load_limits


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def urcap(world: World) -> Iterator[vendor_ur.Urcap]:
    with vendor_ur.urcap(world) as served:
        yield served


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch, world: World, urcap: vendor_ur.Urcap) -> Iterator[Paced]:
    vendor_ur.install(monkeypatch, world)
    opened = rigged(arm(world, urcap), world)
    yield opened
    opened.disconnect()


def arm(world: World, urcap: vendor_ur.Urcap, address: str = "127.0.0.1") -> UrArm:
    settings = UrSettings(address, gripper=RobotiqSettings(port=urcap.port))
    return UrArm(settings, 0.05, world.clock.now)


class TestUr(ControllerContract):
    """The contract."""


def test_poses_are_rotation_vectors_in_metres(controller: Paced, world: World):
    seen = controller.reset()
    np.testing.assert_allclose(seen.T_base_tcp, world.T, atol=1e-9)
    assert seen.gripper_width_m == pytest.approx(0.08, abs=5e-4)
    assert seen.t_s == pytest.approx(world.clock.now() - 0.02)


def test_jaws_are_told_in_steps_of_the_gripper_and_press_where_they_close(controller: Paced, urcap: vendor_ur.Urcap):
    controller.reset()
    run(controller, hold(0.0425), 20)
    assert any(line.startswith("SET POS 116 ") for line in urcap.heard)
    run(controller, hold(0.0), 20)
    assert any(line.startswith("SET POS 255 ") for line in urcap.heard)


@pytest.mark.parametrize("fault", ["is_protected", "is_emergency", "is_lost"])
def test_a_stop_of_the_arms_own_or_a_lost_link_stops_the_guard(controller: Paced, world: World, fault: str):
    guard = Guard(controller, load_limits("panda"), times=TimeSource(world.clock.now, world.clock.sleep))
    guard.reset()
    guard.send_action(hold(0.08))
    setattr(world, fault, True)
    for act in (lambda: controller.send_action(hold(0.08)), controller.get_observation):
        with pytest.raises(LinkError if fault == "is_lost" else ArmStopped):
            act()
    with pytest.raises(SafetyStop, match="link"):
        guard.get_observation()
    assert "servoStop" in world.calls


def test_a_stop_goes_through_every_way_there_is(controller: Paced, world: World):
    controller.reset()
    controller.rig.arm._control.script = False
    world.calls.clear()
    controller.stop()
    assert world.calls == ["servoStop", "speedStop", "stopScript"]
    world.is_lost = True
    with pytest.raises(LinkError, match="took no stop"):
        controller.stop()


def test_stopping_before_connecting_and_after_disconnecting_is_no_error(
    world: World, urcap: vendor_ur.Urcap, controller: Paced
):
    arm(world, urcap).stop()
    controller.disconnect()
    controller.disconnect()
    controller.stop()
    with pytest.raises(LinkError, match="connect"):
        controller.get_observation()


def test_an_arm_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch, world: World, urcap: vendor_ur.Urcap):
    vendor_ur.install(monkeypatch, world)
    with pytest.raises(LinkError, match=r"192\.0\.2\.1 cannot be reached .*remote control"):
        arm(world, urcap, "192.0.2.1").connect()


def test_a_gripper_that_is_not_active_is_not_moved_unasked(world: World, urcap: vendor_ur.Urcap):
    urcap.registers.update(ACT=0, STA=0)
    for activate in (False, True):
        gripper = RobotiqGripper("127.0.0.1", RobotiqSettings(port=urcap.port, activate=activate))
        if not activate:
            with pytest.raises(LinkError, match=r"gripper\.activate"):
                gripper.connect()
            assert not any("ACT 1" in line for line in urcap.heard)
        else:
            gripper.connect()
        gripper.disconnect()
    assert urcap.registers["STA"] == 3


def test_a_fault_of_the_gripper_reaches_the_loop(controller: Paced, urcap: vendor_ur.Urcap):
    controller.reset()
    urcap.registers["FLT"] = 11
    with pytest.raises(LinkError, match="fault 11"):
        run(controller, hold(0.08), 3)


def test_a_camera_that_stands_still_is_refused(controller: Paced):
    controller.reset()
    controller.camera.is_frozen = True
    run(controller, hold(0.08), 2)
    for _ in range(2):
        controller.send_action(hold(0.08))
    with pytest.raises(LinkError, match=r"camera wrist: the newest picture is .* old, allowed is 0\.12"):
        controller.get_observation()


def test_a_picture_of_another_size_is_refused(controller: Paced):
    controller.camera.shape = (48, 64)
    with pytest.raises(LinkError, match=r"rgb must be uint8, 24 x 32 px as calibrated x 3, it is uint8 \(48, 64, 3\)"):
        controller.reset()


def test_the_box_holds_and_the_cut_is_reported(controller: Paced):
    start = controller.reset().T_base_tcp[2, 3]
    sent_m = sum(controller.send_action(hold(0.08, -0.03)).delta_m[2] for _ in range(20))
    assert sent_m == pytest.approx(LIMITS.workspace_low_m[2] - start)


def test_what_holds_the_arm_ends_the_way_home(controller: Paced, world: World):
    controller.reset()
    run(controller, hold(0.08, -0.03), 8)
    world.is_stuck = True
    with pytest.raises(LinkError, match="something holds it"):
        controller.reset()
