"""What every controller owes to the loop, as tests: a simulated cell, a real arm, a log and a fake are run through it.

Subclass `ControllerContract` (`ReportingContract` for a log, whose arm goes where it went), give it a fixture
`controller` that is connected and can be reset without arguments, and collect the subclass. The arm needs 5 cm of room
above its start, and nothing between its jaws there.
"""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from simtoreal.contracts import Action, Controller, Observation
from simtoreal.envs.cell import SimulatedCell


def hold(width_m: float, rise_m: float = 0.0) -> Action:
    return Action(np.array([0.0, 0.0, rise_m]), np.zeros(3), width_m)


def run(controller: Controller, action: Action, num_periods: int) -> Observation:
    for _ in range(num_periods):
        controller.send_action(action)
    return controller.get_observation()


def assert_goes_on_from_where_it_stands(cell: SimulatedCell[Any], width_m: float) -> None:
    """A cell whose arm lags behind, after a reset: the setpoint after a stop is the tool, no longer what was told."""
    for _ in range(4):
        cell.send_action(hold(width_m, 0.02))
    cell.stop()
    told_m = cell.T_base_tcp_commanded[2, 3]
    cell.send_action(hold(width_m))
    assert cell.T_base_tcp_commanded[2, 3] < told_m - 0.01


def assert_rigid(T: np.ndarray) -> None:
    assert T.shape == (4, 4)
    assert T.dtype == np.float64
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(T[3], (0.0, 0.0, 0.0, 1.0))
    assert np.linalg.det(T[:3, :3]) > 0


def assert_well_formed(observation: Observation) -> None:
    assert math.isfinite(observation.t_s)
    assert_rigid(observation.T_base_tcp)
    assert_rigid(observation.T_base_cam)
    assert observation.K.shape == (3, 3)
    assert 0.0 <= observation.gripper_width_m < 0.5
    if observation.joint_positions_rad is not None:
        assert np.isfinite(observation.joint_positions_rad).all()
    shape = None
    if observation.rgb is not None:
        shape = observation.rgb.shape[:2]
        assert observation.rgb.dtype == np.uint8
        assert observation.rgb.shape[2:] == (3,)
    if observation.depth_m is not None:
        assert shape in (None, observation.depth_m.shape)
        assert observation.depth_m.dtype == np.float32
        assert not np.isinf(observation.depth_m).any()  # nan is no return
    if observation.distortion is not None:
        assert observation.distortion.shape == (5,)


class ReportingContract:
    """Tests that hold for anything that is observed through this interface, also for a log, which cannot be moved."""

    def test_it_is_a_controller(self, controller: Controller):
        assert isinstance(controller, Controller)
        assert 0.0 < controller.control_hz < 1e4

    def test_observations_are_well_formed(self, controller: Controller):
        assert_well_formed(controller.reset())
        assert_well_formed(controller.get_observation())
        width_m = controller.get_observation().gripper_width_m
        assert_well_formed(run(controller, hold(width_m, 0.005), 3))

    def test_time_passes_with_actions_and_never_runs_back(self, controller: Controller):
        times_s = [controller.reset().t_s]
        for _ in range(10):
            controller.send_action(hold(0.0))
            times_s.append(controller.get_observation().t_s)
        assert all(b >= a for a, b in itertools.pairwise(times_s))
        assert times_s[-1] - times_s[0] > 5 / controller.control_hz

    def test_observing_does_not_disturb(self, controller: Controller):
        width_m = controller.reset().gripper_width_m
        first = run(controller, hold(width_m), 2)
        again = controller.get_observation()
        assert again.t_s >= first.t_s
        np.testing.assert_allclose(again.T_base_tcp, first.T_base_tcp, atol=2e-3)

    def test_what_was_handed_out_stays_as_it_was(self, controller: Controller):
        observation = controller.reset()
        kept = [None if part is None else np.array(part) for part in observation]
        run(controller, hold(0.0, 0.01), 4)
        for part, before in zip(observation, kept, strict=True):
            assert (part is None) == (before is None)
            if part is not None and before is not None:
                np.testing.assert_array_equal(part, before)

    def test_it_can_be_reset_again(self, controller: Controller):
        start = controller.reset()
        run(controller, hold(0.0, 0.01), 5)
        again = controller.reset()
        np.testing.assert_allclose(again.T_base_tcp, start.T_base_tcp, atol=5e-3)
        assert again.gripper_width_m == pytest.approx(start.gripper_width_m, abs=5e-3)

    def test_disconnecting_twice_is_no_error(self, controller: Controller):
        controller.reset()
        controller.disconnect()
        controller.disconnect()

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    @pytest.mark.parametrize("place", ["delta_m", "delta_rotation_rad", "gripper_width_m"])
    def test_an_action_that_is_no_number_is_refused_by_name(self, controller: Controller, place: str, bad: float):
        action = hold(controller.reset().gripper_width_m)
        value = bad if place == "gripper_width_m" else np.array([0.0, bad, 0.0])
        with pytest.raises(ValueError, match=place):
            controller.send_action(action._replace(**{place: value}))
        assert_well_formed(controller.get_observation())

    def test_stopping_is_safe_at_any_time(self, controller: Controller):
        controller.stop()
        controller.reset()
        controller.stop()
        controller.stop()
        assert_well_formed(controller.get_observation())


class ControllerContract(ReportingContract):
    """Tests that hold for anything that can be observed and commanded."""

    def test_the_tool_goes_where_it_is_sent(self, controller: Controller):
        start = controller.reset()
        sent = [controller.send_action(hold(start.gripper_width_m, 0.01)) for _ in range(5)]
        end = run(controller, hold(start.gripper_width_m), 20)
        moved = end.T_base_tcp[:3, 3] - start.T_base_tcp[:3, 3]
        np.testing.assert_allclose(moved, sum(action.delta_m for action in sent), atol=0.006)

    def test_an_action_of_nothing_moves_nothing(self, controller: Controller):
        start = controller.reset()
        end = run(controller, hold(start.gripper_width_m), 10)
        np.testing.assert_allclose(end.T_base_tcp, start.T_base_tcp, atol=5e-3)

    def test_too_much_is_cut_and_the_cut_is_reported(self, controller: Controller):
        start = controller.reset()
        sent = controller.send_action(Action(np.array([0.0, 0.0, 9.0]), np.array([0.0, 0.0, 9.0]), 9.0))
        assert 0.0 < np.linalg.norm(sent.delta_m) < 0.5
        assert 0.0 < np.linalg.norm(sent.delta_rotation_rad) < 3.2
        assert start.gripper_width_m - 5e-3 <= sent.gripper_width_m < 0.5

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", ["delta_m", "delta_rotation_rad", "gripper_width_m"])
    def test_an_action_that_is_no_number_is_refused(self, controller: Controller, place: str, bad: float):
        start = controller.reset()
        action = hold(start.gripper_width_m)
        value = bad if place == "gripper_width_m" else np.array([0.0, bad, 0.0])
        with pytest.raises(ValueError, match=place):
            controller.send_action(action._replace(**{place: value}))
        end = run(controller, action, 3)
        np.testing.assert_allclose(end.T_base_tcp, start.T_base_tcp, atol=5e-3)

    def test_the_jaws_close_and_open(self, controller: Controller):
        start = controller.reset()
        closed = run(controller, hold(0.0), 40)
        assert closed.gripper_width_m < 0.005
        opened = run(controller, hold(start.gripper_width_m), 40)
        assert opened.gripper_width_m == pytest.approx(start.gripper_width_m, abs=0.005)

    def test_it_can_be_stopped_at_any_time_and_goes_on_after(self, controller: Controller):
        controller.stop()
        start = controller.reset()
        controller.send_action(hold(start.gripper_width_m, 0.01))
        controller.stop()
        controller.stop()
        settled = run(controller, hold(start.gripper_width_m), 15)
        still = run(controller, hold(start.gripper_width_m), 5)
        np.testing.assert_allclose(still.T_base_tcp, settled.T_base_tcp, atol=2e-3)
