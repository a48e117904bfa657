"""The control loop stops the controller whatever happens, tells subscribers what was really sent, and keeps time."""

import numpy as np
import pytest

from simtoreal.contracts import Action, Observation
from simtoreal.runtime import Pacer, Step, run_episode

LIMIT_M = 0.01


def observation_at(t_s: float) -> Observation:
    return Observation(t_s, None, None, np.eye(3), np.eye(4), np.eye(4), 0.08, None)


class Rig:
    """Controller, policy and subscriber in one, which write down who was called."""

    control_hz = 20.0

    def __init__(self, fail_in: str = "") -> None:
        self.calls: list[str] = []
        self.steps: list[Step] = []
        self.told: list[Action] = []
        self._fail_in = fail_in
        self._t_s = 0.0

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._fail_in:
            raise RuntimeError(name)

    # controller
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...

    def get_observation(self) -> Observation:
        self._call("observe")
        self._t_s += 1.0 / self.control_hz
        return observation_at(self._t_s)

    def send_action(self, action: Action) -> Action:
        self._call("send")
        return action._replace(delta_m=np.clip(action.delta_m, -LIMIT_M, LIMIT_M))

    def stop(self) -> None:
        self._call("stop")

    # policy
    def reset(self) -> Observation:
        self._call("reset")
        return observation_at(0.0)

    def act(self, observation: Observation) -> Action:
        self._call("act")
        return Action(np.full(3, 1.0), np.zeros(3), 0.08)

    def sent(self, action: Action) -> None:
        self._call("sent")
        self.told.append(action)

    # subscriber
    def episode_start(self) -> None:
        self._call("start")

    def step(self, step: Step) -> None:
        self._call("step")
        self.steps.append(step)

    def episode_end(self) -> None:
        self._call("end")


def run(rig: Rig, num_steps: int, **options: Pacer) -> int:
    return run_episode(rig, rig, observation_at(0.0), lambda index: index >= num_steps, [rig], **options)


def test_a_period_is_act_send_tell_observe():
    rig = Rig()
    assert run(rig, 2) == 2
    period = ["act", "send", "sent", "step", "observe"]
    assert rig.calls == ["reset", "start", *period, *period, "stop", "end"]


def test_policy_and_subscribers_hear_what_was_really_sent():
    rig = Rig()
    run(rig, 3)
    assert [step.index for step in rig.steps] == [0, 1, 2]
    assert all(np.all(step.action.delta_m == LIMIT_M) for step in rig.steps)
    assert all(np.all(action.delta_m == LIMIT_M) for action in rig.told)


def test_each_step_holds_the_observation_that_was_acted_on():
    rig = Rig()
    run(rig, 3)
    assert [step.observation.t_s for step in rig.steps] == pytest.approx([0.0, 0.05, 0.1])
    assert all(step.policy_s >= 0 for step in rig.steps)


def test_nothing_is_sent_when_the_episode_is_over_before_it_began():
    rig = Rig()
    assert run(rig, 0) == 0
    assert "send" not in rig.calls
    assert rig.calls[-2:] == ["stop", "end"]


@pytest.mark.parametrize("where", ["reset", "start", "act", "send", "sent", "step", "observe"])
def test_controller_stops_whoever_fails(where: str):
    rig = Rig(fail_in=where)
    with pytest.raises(RuntimeError, match=where):
        run(rig, 3)
    assert rig.calls.count("stop") == 1
    assert "send" not in rig.calls[rig.calls.index("stop") :]


def test_subscribers_are_closed_even_if_stopping_or_another_of_them_fails():
    first, second, rig = Rig(fail_in="end"), Rig(), Rig(fail_in="stop")
    with pytest.raises(RuntimeError):
        run_episode(rig, rig, observation_at(0.0), lambda index: index >= 1, [first, second])
    assert first.calls[-1] == second.calls[-1] == "end"


class FakeClock:
    """Time that passes only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


def test_pacer_keeps_the_beat_whatever_the_work_takes():
    clock = FakeClock()
    pacer = Pacer(20.0, clock, clock.sleep)
    beats = []
    for work_s in (0.0, 0.049, 0.01, 0.03):
        clock.now_s += work_s
        pacer.wait()
        beats.append(clock.now_s - 100.0)
    assert beats == pytest.approx([0.05, 0.10, 0.15, 0.20])
    assert pacer.num_missed == 0


def test_pacer_counts_a_late_period_and_shifts_none_after_it():
    clock = FakeClock()
    pacer = Pacer(20.0, clock, clock.sleep)
    clock.now_s += 0.06
    pacer.wait()
    assert pacer.num_missed == 1
    assert clock.now_s == pytest.approx(100.06), "a late period is not made later by sleeping"
    pacer.wait()
    assert clock.now_s == pytest.approx(100.10)


def test_pacer_does_not_rush_to_catch_up_after_a_long_stall():
    clock = FakeClock()
    pacer = Pacer(20.0, clock, clock.sleep)
    clock.now_s += 1.01
    pacer.wait()
    beats = []
    for _ in range(3):
        pacer.wait()
        beats.append(clock.now_s - 100.0)
    assert beats == pytest.approx([1.05, 1.10, 1.15])
    assert pacer.num_missed == 1


def test_loop_waits_once_each_period():
    clock, rig = FakeClock(), Rig()
    run(rig, 4, pacer=Pacer(rig.control_hz, clock, clock.sleep))
    assert clock.now_s - 100.0 == pytest.approx(4 / rig.control_hz)
