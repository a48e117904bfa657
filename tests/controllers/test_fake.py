"""The fake is a controller as any other, and a policy can grasp with it."""

import numpy as np
import pytest
from controller_contract import ControllerContract, hold, run

from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.fake import FakeController
from simtoreal.controllers.faults import Fault, FaultKind, FaultyController
from simtoreal.controllers.registry import CONTROLLERS, ControllerSettings, open_controller
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import load_limits
from simtoreal.schema import ConfigError


def fake() -> FakeController:
    controller = FakeController(np.random.default_rng(0), clock=VirtualClock())
    controller.connect()
    return controller


class TestFake(ControllerContract):
    @pytest.fixture
    def controller(self) -> FakeController:
        return fake()


class TestGuardedFake(ControllerContract):
    """A guard is a controller too."""

    @pytest.fixture
    def controller(self) -> Guard:
        inner = fake()
        return Guard(inner, load_limits("panda"), times=TimeSource(lambda: inner.time_s, lambda _: None))


def test_the_jaws_hold_the_block_and_lift_it():
    controller = fake()
    seen = controller.reset()
    block = controller._block
    goal = np.array([*block.position_m, 0.5 * block.size_m[2]])
    turn = (block.yaw_rad + np.pi / 2 + np.pi / 2) % np.pi - np.pi / 2
    for _ in range(40):
        seen = controller.get_observation()
        delta = np.clip(goal - seen.T_base_tcp[:3, 3], -0.02, 0.02)
        yaw = np.arctan2(seen.T_base_tcp[1, 0], seen.T_base_tcp[0, 0])
        controller.send_action(
            hold(0.08)._replace(delta_m=delta, delta_rotation_rad=np.array([0, 0, turn - yaw]) * 0.3)
        )
    assert run(controller, hold(0.0), 20).gripper_width_m == pytest.approx(block.size_m[1], abs=1e-3)
    assert controller.gripper_force_n > 0
    run(controller, hold(0.0, 0.02), 12)
    assert controller.success


def test_pictures_show_the_block_nearer_than_the_table():
    seen = fake().reset()
    assert seen.rgb is not None
    assert seen.depth_m is not None
    red = (seen.rgb[..., 0] > 180) & (seen.rgb[..., 1] < 90)
    assert 20 < red.sum() < red.size / 2
    assert np.nanmedian(seen.depth_m[red]) < np.nanmedian(seen.depth_m[~red]) - 0.02


@pytest.mark.parametrize(
    "kind", [FaultKind.NAN_POSE, FaultKind.BLACK_CAMERA, FaultKind.MILLIMETRES, FaultKind.NO_DEPTH]
)
def test_a_fault_spoils_what_it_names_from_its_step_on(kind: FaultKind):
    inner = fake()
    faulty = FaultyController(inner, Fault(kind, at_step=2), sleep=lambda _: None)
    faulty.reset()
    for _ in range(2):
        before = faulty.get_observation()
        faulty.send_action(hold(0.08))
    after = faulty.get_observation()
    assert np.isfinite(before.T_base_tcp).all()
    assert before.rgb.max() > 100
    spoilt = {
        FaultKind.NAN_POSE: not np.isfinite(after.T_base_tcp).all(),
        FaultKind.BLACK_CAMERA: after.rgb.max() == 0,
        FaultKind.MILLIMETRES: after.T_base_tcp[2, 3] > 100,
        FaultKind.NO_DEPTH: not np.isfinite(after.depth_m).any(),
    }
    assert spoilt[kind]
    assert faulty.began_s is not None


def test_a_dropped_action_is_made_up_for_by_the_next_as_with_absolute_setpoints():
    inner = fake()
    faulty = FaultyController(inner, Fault(FaultKind.DROPPED_ACTION, at_step=1, num_steps=1), sleep=lambda _: None)
    faulty.reset()
    for _ in range(3):
        faulty.send_action(hold(0.08, 0.01))
    assert inner.T_setpoint[2, 3] == pytest.approx(0.36 + 0.03)


def test_a_lost_link_raises_as_sockets_do():
    faulty = FaultyController(fake(), Fault(FaultKind.DISCONNECT, at_step=0), sleep=lambda _: None)
    faulty.reset()
    with pytest.raises(ConnectionError):
        faulty.send_action(hold(0.08))


def test_every_name_opens_by_the_one_table():
    assert {"pybullet", "mujoco", "fake", "replay"} <= set(CONTROLLERS)
    assert open_controller("fake", ControllerSettings()).control_hz == 20.0
    with pytest.raises(ConfigError, match="did you mean 'fake'"):
        open_controller("fak", ControllerSettings())
    with pytest.raises(ConfigError, match="address"):
        open_controller("fake", ControllerSettings(address="10.0.0.1"))
    with pytest.raises(ConfigError, match="log=DIR"):
        open_controller("replay", ControllerSettings())


def test_after_a_stop_it_goes_on_from_where_it_stands():
    controller = fake()
    start = controller.reset()
    for _ in range(3):
        controller.send_action(hold(start.gripper_width_m, 0.02))
    controller.stop()
    stood = controller.get_observation().T_base_tcp
    assert 0.005 < stood[2, 3] - start.T_base_tcp[2, 3] < 0.055  # on its way
    end = run(controller, hold(start.gripper_width_m, 0.001), 20)
    np.testing.assert_allclose(end.T_base_tcp[2, 3], stood[2, 3] + 0.02, atol=2e-3)
