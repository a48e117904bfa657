"""The loop never waits long for a policy, sees the arm where it will be, and moves smoothly."""

import time

import numpy as np
import pytest
from controller_contract import hold

from simtoreal import frames
from simtoreal.contracts import Action, Observation
from simtoreal.realtime.asynchronous import AsynchronousPolicy, StaleActionError
from simtoreal.realtime.cadence import cadence
from simtoreal.realtime.latency import LatencyCompensation
from simtoreal.realtime.smoothing import SmoothActions
from simtoreal.runtime import Pacer


def seen(x_m: float = 0.5, width_m: float = 0.06) -> Observation:
    T = frames.top_down((x_m, 0.0, 0.3), 0.0)
    return Observation(0.0, None, None, np.eye(3), np.eye(4), T, width_m, None)


class Thinker:
    """Takes its time, and answers with how often it was asked."""

    def __init__(self, think_s: float = 0.0, fails: bool = False) -> None:
        self.think_s, self.fails = think_s, fails
        self.num_asked = self.num_resets = 0
        self.told: list[Action] = []
        self.looked_at: list[Observation] = []

    def reset(self) -> None:
        self.num_resets += 1

    def act(self, observation: Observation) -> Action:
        if self.fails:
            raise ArithmeticError("no answer")
        time.sleep(self.think_s)
        self.num_asked += 1
        self.looked_at.append(observation)
        return hold(0.05)._replace(delta_m=np.array([0.001 * self.num_asked, 0.0, 0.0]))

    def sent(self, action: Action) -> None:
        self.told.append(action)


@pytest.fixture
def closing():
    policies: list[AsynchronousPolicy] = []
    yield policies
    for policy in policies:
        policy.close()


def test_a_quick_policy_answers_in_the_same_period(closing):
    policy = AsynchronousPolicy(Thinker(), patience_s=0.5, max_age_s=0.2)
    closing.append(policy)
    policy.reset()
    for expected in (0.001, 0.002, 0.003):
        action = policy.act(seen())
        assert action.delta_m[0] == pytest.approx(expected)
        policy.sent(action)
    assert policy.num_held == 0


def test_a_slow_policy_is_not_waited_for_and_its_answer_applies_once(closing):
    thinker = Thinker(think_s=0.08)
    policy = AsynchronousPolicy(thinker, patience_s=0.01, max_age_s=0.3)
    closing.append(policy)
    policy.reset()
    moved, longest_s = [], 0.0
    for _ in range(16):
        began_s = time.monotonic()
        action = policy.act(seen())
        longest_s = max(longest_s, time.monotonic() - began_s)
        policy.sent(action)
        moved.append(action.delta_m[0])
        time.sleep(0.02)
    assert longest_s < 0.06
    answers = [way for way in moved if way > 0]
    assert len(answers) == len(set(answers)) >= 2, "each answer is the motion of one period"
    assert policy.num_held == moved.count(0.0)
    # What was sent meanwhile is told before the next observation, holds included, in order.
    assert [action.delta_m[0] for action in thinker.told] == moved[: len(thinker.told)]


def test_an_answer_that_is_too_old_is_not_sent_and_jaws_stay_as_commanded(closing):
    policy = AsynchronousPolicy(Thinker(think_s=0.1), patience_s=0.005, max_age_s=0.05)
    closing.append(policy)
    policy.reset()
    policy.sent(hold(0.0))
    for _ in range(6):
        action = policy.act(seen(width_m=0.06))
        assert not action.delta_m.any()
        assert action.gripper_width_m == 0.0
        time.sleep(0.03)


def test_a_policy_that_never_answers_ends_the_episode(closing):
    policy = AsynchronousPolicy(Thinker(think_s=0.6), patience_s=0.005, max_age_s=0.05, max_silence_s=0.1)
    closing.append(policy)
    policy.reset()
    policy.act(seen())
    time.sleep(0.15)
    with pytest.raises(StaleActionError, match="faster policy"):
        policy.act(seen())


def test_what_the_policy_raises_is_raised_in_the_loop_and_a_reset_recovers(closing):
    thinker = Thinker(fails=True)
    policy = AsynchronousPolicy(thinker, patience_s=0.5, max_age_s=0.2)
    closing.append(policy)
    policy.reset()
    with pytest.raises(ArithmeticError, match="no answer"):
        policy.act(seen())
    thinker.fails = False
    policy.reset()
    assert policy.act(seen()).delta_m[0] > 0
    assert thinker.num_resets == 2


def test_the_answer_to_an_earlier_episode_is_thrown_away(closing):
    policy = AsynchronousPolicy(Thinker(think_s=0.1), patience_s=0.005, max_age_s=5.0)
    closing.append(policy)
    policy.reset()
    policy.act(seen())
    time.sleep(0.03)
    policy.reset()
    time.sleep(0.15)
    assert not policy.act(seen()).delta_m.any()


@pytest.mark.parametrize(
    ("latency_s", "expected_m"), [(0.0, 0.5), (0.05, 0.503), (0.1, 0.505), (0.125, 0.5055), (0.15, 0.506)]
)
def test_the_pose_is_moved_by_what_is_still_under_way(latency_s: float, expected_m: float):
    thinker = Thinker()
    policy = LatencyCompensation(thinker, latency_s, 20.0)
    policy.reset()
    for way_m in (0.007, 0.001, 0.002, 0.003):  # the last is the newest
        policy.sent(hold(0.05)._replace(delta_m=np.array([way_m, 0.0, 0.0])))
    policy.act(seen(0.5))
    assert thinker.looked_at[0].T_base_tcp[0, 3] == pytest.approx(expected_m)
    np.testing.assert_array_equal(thinker.looked_at[0].T_base_cam, np.eye(4))
    assert len(thinker.told) == 4


def test_an_episode_begins_with_nothing_under_way():
    thinker = Thinker()
    policy = LatencyCompensation(thinker, 0.15, 20.0)
    policy.sent(hold(0.05, 0.02))
    policy.reset()
    policy.act(seen(0.5))
    np.testing.assert_array_equal(thinker.looked_at[0].T_base_tcp, seen(0.5).T_base_tcp)
    with pytest.raises(ValueError, match="latency_s"):
        LatencyCompensation(thinker, 1.5, 20.0)


class Jumper(Thinker):
    def act(self, observation: Observation) -> Action:
        self.num_asked += 1
        way_m = 0.02 if self.num_asked <= 10 else 0.0
        return hold(0.05)._replace(delta_m=np.array([way_m, 0.0, 0.0]))


def test_smoothing_spreads_a_step_and_loses_nothing():
    policy = SmoothActions(Jumper(), 0.1, 20.0)
    policy.reset()
    ways = [policy.act(seen()).delta_m[0] for _ in range(80)]
    assert max(abs(np.diff([0.0, *ways]))) < 0.009
    assert sum(ways) == pytest.approx(0.2, rel=1e-6)
    plain = SmoothActions(Jumper(), 0.0, 20.0)
    plain.reset()
    assert plain.act(seen()).delta_m[0] == 0.02


def test_the_beat_is_reported():
    pacer = Pacer(200.0)
    for index in range(20):
        time.sleep(0.012 if index == 10 else 0.0)
        pacer.wait()
    report = cadence(pacer.lateness_s, pacer.num_missed, pacer.passed_s)
    assert report.num_periods == 20
    assert report.num_missed >= 1
    assert report.missed_frac == report.num_missed / 20
    assert 100.0 < report.mean_hz < 201.0
    assert 0.0 <= report.jitter_p50_s <= report.jitter_p99_s <= report.jitter_max_s
    assert cadence([], 0, 0.0).missed_frac == 0.0
