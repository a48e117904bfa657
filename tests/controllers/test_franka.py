"""Franka arms, against a fake of franky."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import vendor_franky
from controller_contract import ControllerContract, hold, run
from vendor_world import Paced, World, rigged

from simtoreal.contracts import Action
from simtoreal.controllers.arms.franka import FrankaArm, FrankaSettings
from simtoreal.controllers.link_errors import ArmStopped, LinkError
from simtoreal.safety.events import SafetyStop
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import load_limits


@pytest.fixture
def world() -> World:
    return World(joints=np.array([0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.8]))


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch, world: World) -> Iterator[Paced]:
    vendor_franky.install(monkeypatch, world)
    opened = rigged(FrankaArm(FrankaSettings("10.0.0.2"), world.clock.now), world)
    yield opened
    opened.disconnect()


class TestFranka(ControllerContract):
    """The contract."""


def test_state_is_metres_radians_and_the_time_of_the_picture(controller: Paced, world: World):
    seen = controller.reset()
    np.testing.assert_allclose(seen.T_base_tcp, world.T, atol=1e-9)
    np.testing.assert_allclose(seen.joint_positions_rad, world.q)
    assert seen.t_s == pytest.approx(world.clock.now() - 0.02, abs=2e-3)


def test_closing_grasps_with_the_force_of_the_settings(controller: Paced, world: World):
    controller.reset()
    run(controller, hold(0.0), 5)
    assert "grasp 20" in world.calls


@pytest.mark.parametrize("fault", ["is_protected", "is_emergency", "is_lost"])
def test_a_reflex_a_button_or_a_lost_link_stops_the_guard(controller: Paced, world: World, fault: str):
    guard = Guard(controller, load_limits("panda"), times=TimeSource(world.clock.now, world.clock.sleep))
    guard.reset()
    guard.send_action(hold(0.08))
    setattr(world, fault, True)
    with pytest.raises(LinkError if fault == "is_lost" else ArmStopped):
        controller.get_observation()
    with pytest.raises(SafetyStop, match="link"):
        guard.get_observation()


def test_a_stop_brakes_along_the_path_and_has_a_second_way(controller: Paced, world: World):
    controller.reset()
    world.calls.clear()
    controller.stop()
    assert world.calls[-1] == "stop motion"
    world.is_lost = True
    with pytest.raises(LinkError, match="took no stop"):
        controller.stop()
    assert world.calls[-1] == "stop"


def test_many_holds_lead_the_arm_no_farther_than_the_limits(controller: Paced, world: World):
    limits = replace(load_limits("panda"), workspace_high_m=(0.55, 0.35, 0.6))
    guard = Guard(controller, limits, times=TimeSource(world.clock.now, world.clock.sleep))
    guard.reset()
    farthest_m = 0.0
    for _ in range(12):  # back and held on the way, where the setpoint begins anew, then out as far as may be
        for way_m, num_periods in ((-0.03, 3), (0.03, 15)):
            for _ in range(num_periods):
                guard.send_action(Action(np.array([way_m, 0.0, 0.0]), np.zeros(3), 0.08))
                guard.get_observation()
            if way_m < 0.0:
                guard.stop()
        farthest_m = max(farthest_m, float(world.T_goal[0, 3]))
    assert farthest_m < 0.55 + 0.03  # a period's motion between what was observed and the hold, and not twelve


def test_errors_of_an_earlier_stop_are_cleared_only_where_asked(monkeypatch: pytest.MonkeyPatch, world: World):
    vendor_franky.install(monkeypatch, world)
    world.is_protected = True
    with pytest.raises(ArmStopped, match="recover: true"):
        FrankaArm(FrankaSettings("10.0.0.2"), world.clock.now).connect()
    assert not world.calls
    arm = FrankaArm(FrankaSettings("10.0.0.2", recover=True), world.clock.now)
    arm.connect()
    arm.disconnect()
    assert "recover" in world.calls


def test_an_arm_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch, world: World):
    vendor_franky.install(monkeypatch, world)
    with pytest.raises(LinkError, match=r"192\.0\.2\.1 cannot be reached .*FCI"):
        FrankaArm(FrankaSettings(vendor_franky.ABSENT), world.clock.now).connect()
