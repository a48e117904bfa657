"""The guard limits, stops, names its reasons, lets nothing through after a stop, and retreats within bounds."""

import dataclasses
import os
import signal
import socket
import threading
import time

import numpy as np
import pytest
from controller_contract import hold

from simtoreal.contracts import Action
from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.fake import FakeController
from simtoreal.controllers.faults import Fault, FaultKind, FaultyController
from simtoreal.safety.events import SafetyEvent, SafetyStop
from simtoreal.safety.guard import Guard, TimeSource
from simtoreal.safety.limits import SafetyLimits, load_limits
from simtoreal.safety.retreat import retreat
from simtoreal.safety.stop_switch import StopSwitch, stop_on_datagram, stop_on_signals
from simtoreal.safety.watchdog import Watchdog
from simtoreal.schema import ConfigError

LIMITS = load_limits("panda")
UP = 0.02


class Bench:
    """A guard over a fake that fails as told, in virtual time, with a watchdog that looks as time passes."""

    def __init__(self, fault: Fault | None = None, limits: SafetyLimits = LIMITS) -> None:
        self.clock = VirtualClock()
        self.fake = FakeController(np.random.default_rng(1), clock=self.clock)
        self.faulty = FaultyController(self.fake, fault, self.clock.sleep)
        self.stops_s: list[float] = []
        stop = self.fake.stop
        self.fake.stop = lambda: (self.stops_s.append(self.clock.now()), stop())[1]  # type: ignore[method-assign]
        self.switch = StopSwitch(self.clock.now)
        # The fake's time passes in its actions, so that waiting between them would count twice.
        self.guard = Guard(self.faulty, limits, self.switch, TimeSource(self.clock.now, lambda _: None))
        self.clock.on_tick.append(self.guard.poll)
        self.guard.reset()

    def drive(self, num_periods: int, action: Action | None = None) -> SafetyEvent:
        """Runs periods until a stop, which there must be."""
        try:
            for index in range(num_periods):
                way_m = np.array([0.02 * np.cos(0.4 * index), 0.01 * np.sin(0.4 * index), 0.0])
                self.guard.send_action(action or hold(0.08)._replace(delta_m=way_m))
                self.guard.get_observation()
        except SafetyStop as stop:
            return stop.event
        pytest.fail(f"nothing stopped the arm in {num_periods} periods")


def test_what_is_within_limits_is_sent_as_it_is():
    bench = Bench()
    action = hold(0.05, 0.01)
    sent = bench.guard.send_action(action)
    np.testing.assert_array_equal(sent.delta_m, action.delta_m)
    assert bench.guard.reasons == ()


def test_what_is_cut_comes_back_with_the_reason():
    bench = Bench()
    sent = bench.guard.send_action(Action(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 2.0]), 0.5))
    assert sent.delta_m[2] <= LIMITS.max_step_m
    assert sent.gripper_width_m == LIMITS.max_width_m
    names = {event.name for event in bench.guard.reasons}
    assert {"step_m", "acceleration_m", "gripper_width_m"} <= names
    assert all(not event.stops and event.value > event.limit for event in bench.guard.reasons)
    assert list(bench.guard.events) == list(bench.guard.reasons)


def test_the_setpoint_stays_above_the_table_and_brakes_before_it():
    bench = Bench(limits=dataclasses.replace(LIMITS, table_height_m=0.05))
    for _ in range(40):
        bench.guard.send_action(hold(0.08, -0.03))
        bench.guard.get_observation()
    assert bench.fake.T_setpoint[2, 3] == pytest.approx(0.051, abs=1e-6)
    assert any(event.name == "workspace_m" for event in bench.guard.events)


def test_a_burst_does_not_go_faster_than_a_second_allows():
    bench = Bench()
    start_m = bench.fake.T_setpoint[:3, 3].copy()
    bench.guard.times = TimeSource(lambda: 0.5, lambda _: None)  # everything in one instant
    way_m = 0.0
    for index in range(200):
        sign = 1.0 if (index // 8) % 2 else -1.0
        way_m += np.linalg.norm(
            bench.guard.send_action(hold(0.08)._replace(delta_m=np.array([0.03 * sign, 0, 0]))).delta_m
        )
    assert way_m <= LIMITS.max_path_m + 1e-9
    assert np.linalg.norm(bench.fake.T_setpoint[:3, 3] - start_m) < 0.3
    assert any(event.name.startswith("per_second") for event in bench.guard.events)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (FaultKind.NAN_POSE, "finite_observation"),
        (FaultKind.NAN_WIDTH, "finite_observation"),
        (FaultKind.WRONG_SHAPE, "rigid_pose"),
        (FaultKind.BLACK_CAMERA, "blind_s"),
        (FaultKind.NO_DEPTH, "blind_s"),
        (FaultKind.FROZEN_CAMERA, "frozen_camera_m"),
        (FaultKind.DISCONNECT, "link"),
        (FaultKind.SILENT_SENSOR, "observation_age_s"),
        (FaultKind.SLOW_OBSERVATION, "silence_s"),
        (FaultKind.SLOW_ACTION, "silence_s"),
        (FaultKind.MILLIMETRES, "lead_m"),
        (FaultKind.CLOCK_AHEAD, "clock"),
        (FaultKind.CLOCK_BACK, "clock"),
        (FaultKind.STRONG_GRIP, "gripper_force_n"),
    ],
)
def test_every_fault_stops_the_arm_by_its_name_within_200_ms(kind: FaultKind, name: str):
    bench = Bench(Fault(kind, at_step=7, size_s=0.5))
    event = bench.drive(60)
    assert event.name == name
    assert event.stops
    assert bench.faulty.began_s is not None
    held_s = next(t_s for t_s in bench.stops_s if t_s >= bench.faulty.began_s)
    assert held_s - bench.faulty.began_s <= 0.2


def test_one_lost_action_and_one_late_period_stop_nothing():
    bench = Bench(Fault(FaultKind.DROPPED_ACTION, at_step=5, num_steps=1))
    for _ in range(20):
        bench.guard.send_action(hold(0.08, 0.005))
        bench.guard.get_observation()
    assert bench.guard.stopped is None


def test_late_periods_in_a_row_stop_it():
    bench = Bench(
        Fault(FaultKind.SLOW_OBSERVATION, at_step=3, size_s=0.06), dataclasses.replace(LIMITS, max_silence_s=1.0)
    )
    assert bench.drive(40).name == "missed_deadlines"


def test_after_a_stop_nothing_is_sent_until_the_next_episode():
    bench = Bench(Fault(FaultKind.NAN_POSE, at_step=2, num_steps=1))
    bench.drive(10)
    setpoint = bench.fake.T_setpoint.copy()
    with pytest.raises(SafetyStop):
        bench.guard.send_action(hold(0.08, 0.01))
    np.testing.assert_array_equal(bench.fake.T_setpoint, setpoint)
    bench.faulty.fault = None
    bench.guard.reset()
    bench.guard.send_action(hold(0.08, 0.01))


def test_a_tool_that_would_tilt_too_far_is_stopped_before_it_is_sent():
    bench = Bench()
    assert bench.drive(60, Action(np.zeros(3), np.array([0.0, 0.2, 0.0]), 0.08)).name == "tilt_rad"
    assert np.arccos(-bench.fake.T_setpoint[2, 2]) <= LIMITS.max_tilt_rad


def test_an_arm_that_is_held_by_something_is_stopped():
    bench = Bench()
    bench.fake._advance = lambda: None  # type: ignore[method-assign]
    event = bench.drive(60, hold(0.08, 0.02))
    assert event.name == "lead_m"
    assert retreat(bench.guard, event).rise_m == 0.0


def test_joints_are_watched_where_they_are_measured():
    bench = Bench()
    seen = bench.fake.get_observation()
    q = np.array([0.0, 0.0, 0.0, -1.5, 0.0, 1.5, 0.0])
    watch = bench.guard._watch
    assert watch.problem(seen._replace(joint_positions_rad=q), seen.t_s) is None
    later = seen._replace(t_s=seen.t_s + 0.05, joint_positions_rad=q + 0.2)
    fast = watch.problem(later, later.t_s)
    assert fast is not None
    assert fast.name == "joint_speed_rad_s"
    assert fast.value == pytest.approx(4.0)
    outside = seen._replace(t_s=seen.t_s + 0.1, joint_positions_rad=q + np.array([3.0, 0, 0, 0, 0, 0, 0]))
    event = watch.problem(outside, outside.t_s)
    assert event is not None
    assert (event.name, event.detail, event.limit) == ("joint_position_rad", "joint 1", 2.89)


def test_a_constant_latency_is_no_fault_and_a_growing_one_is():
    bench = Bench()
    seen = bench.fake.get_observation()
    watch = bench.guard._watch
    watch.begin()
    for index in range(20):
        assert watch.problem(seen._replace(t_s=0.05 * index), 0.05 * index + 0.3) is None
    assert watch.problem(seen._replace(t_s=1.0), 1.3 + 0.13).name == "observation_age_s"


def test_the_retreat_goes_up_slowly_as_far_as_asked_and_no_farther():
    bench = Bench(Fault(FaultKind.BLACK_CAMERA, at_step=7))
    event = bench.drive(60)
    before = bench.fake.T_setpoint[2, 3]
    steps = []
    send = bench.fake.send_action
    bench.fake.send_action = lambda action: (steps.append(action.delta_m.copy()), send(action))[1]  # type: ignore
    done = retreat(bench.guard, event)
    assert done.ended_by == "done"
    assert done.rise_m == pytest.approx(LIMITS.retreat_m, abs=1e-6)
    risen_m = bench.fake.T_setpoint[2, 3] - before  # the hold at its end comes before the tool is there
    assert LIMITS.retreat_m - 0.003 < risen_m <= LIMITS.retreat_m
    assert max(np.linalg.norm(step) for step in steps) <= LIMITS.retreat_speed_m_s / 20.0 + 1e-9
    assert np.abs(np.array(steps)[:, :2]).max() < 1e-12
    assert bench.guard.stopped is event


@pytest.mark.parametrize("kind", [FaultKind.DISCONNECT, FaultKind.NAN_POSE, FaultKind.CLOCK_BACK])
def test_who_does_not_know_where_the_arm_is_does_not_move_it(kind: FaultKind):
    bench = Bench(Fault(kind, at_step=4))
    event = bench.drive(30)
    setpoint = bench.fake.T_setpoint.copy()
    assert retreat(bench.guard, event).rise_m == 0.0
    np.testing.assert_array_equal(bench.fake.T_setpoint, setpoint)


def test_the_operator_stops_it_and_it_retreats_only_if_asked_to():
    bench = Bench()
    bench.switch.press("key")
    event = bench.drive(1)
    assert (event.name, event.detail) == ("operator_stop", "key")
    assert retreat(bench.guard, event).rise_m == 0.0
    bench.guard.limits = dataclasses.replace(LIMITS, retreat_after_operator_stop=True)
    assert retreat(bench.guard, event).rise_m == pytest.approx(LIMITS.retreat_m, abs=1e-4)
    bench.guard.reset()
    with pytest.raises(SafetyStop):
        bench.guard.get_observation()


def test_a_driver_that_fails_to_stop_is_asked_twice_and_reported():
    bench = Bench()
    asked = []

    def broken() -> None:
        asked.append(1)
        raise ConnectionError("gone")

    bench.fake.stop = broken  # type: ignore[method-assign]
    bench.guard.stop()
    assert len(asked) == 2
    assert bench.guard.events[-1].name == "hold"


class Stuck(FakeController):
    """Its driver does not come back from reading."""

    def __init__(self) -> None:
        super().__init__(np.random.default_rng(0))
        self.release = threading.Event()
        self.stopped_s: float | None = None

    def get_observation(self):
        if self._width_goal_m < 0.05:
            self.release.wait(2.0)
        return super().get_observation()

    def stop(self) -> None:
        self.stopped_s = self.stopped_s or time.monotonic()


def test_in_real_time_the_watchdog_holds_an_arm_whose_loop_is_stuck():
    stuck = Stuck()
    guard = Guard(stuck, LIMITS)
    with Watchdog(guard):
        guard.reset()
        guard.send_action(hold(0.04))
        began_s = time.monotonic()
        threading.Timer(0.4, stuck.release.set).start()
        with pytest.raises(SafetyStop, match="silence_s"):
            guard.get_observation()
    assert stuck.stopped_s is not None
    assert stuck.stopped_s - began_s < 0.3


def test_signals_press_the_switch_and_a_second_one_interrupts():
    switch = StopSwitch()
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals(switch):
        os.kill(os.getpid(), signal.SIGTERM)
        assert switch.wait(1.0)
        assert switch.reason == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_datagram_presses_the_switch_and_other_words_do_not():
    switch = StopSwitch()
    with stop_on_datagram(switch, 0) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(b"hello", ("127.0.0.1", port))
        assert not switch.wait(0.15)
        mouth.sendto(b"stop", ("127.0.0.1", port))
        assert switch.wait(1.0)
    assert switch.reason.startswith("datagram")


@pytest.mark.parametrize("name", ["panda", "kuka"])
def test_shipped_limits_hold_the_home_of_their_robot(name: str):
    from simtoreal.envs.robot import load_robot

    limits, home_m = load_limits(name), np.array(load_robot(name).home_position_m)
    assert (home_m > limits.low_m).all()
    assert (home_m < limits.workspace_high_m).all()
    assert limits.max_width_m <= load_robot(name).gripper.max_opening_m + 1e-9


def test_limits_that_make_no_sense_are_refused_by_name(tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text("name: cell\nworkspace_low_m: [0, 0, 0]\nworkspace_high_m: [1, -1, 1]\n")
    with pytest.raises(ConfigError, match="workspace_low_m"):
        load_limits(str(path))
    path.write_text("name: cell\nworkspace_low_m: [0, 0, 0]\nworkspace_high_m: [1, 1, 1]\nmax_step_mm: 3\n")
    with pytest.raises(ConfigError, match="max_step_m"):
        load_limits(str(path))
    with pytest.raises(ConfigError, match="Shipped: kuka, panda"):
        load_limits("pandda")
