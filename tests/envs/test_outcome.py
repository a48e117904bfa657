"""Success and ways to fail, from readings made by hand."""

from dataclasses import replace

import pytest

from simtoreal.envs.outcome import HOLD_S, LIFT_M, Outcome, Reading

PERIOD_S = 0.05
IDLE = Reading(
    t_s=0.0,
    rises_m=(0.0,),
    commanded_width_frac=1.0,
    gripper_width_m=0.08,
    finger_contacts=(False,),
    hard_contact_n=0.0,
)
CLOSED = replace(IDLE, commanded_width_frac=0.0, gripper_width_m=0.0)
GRIPPED = replace(CLOSED, gripper_width_m=0.03, finger_contacts=(True,))


def feed(outcome: Outcome, reading: Reading, num_periods: int, start_s: float = 0.0) -> float:
    t_s = start_s
    for _ in range(num_periods):
        t_s += PERIOD_S
        outcome.update(replace(reading, t_s=t_s))
    return t_s


def test_lifted_for_a_second_is_success_and_not_a_period_less():
    outcome = Outcome()
    held = replace(GRIPPED, rises_m=(LIFT_M + 1e-4,))
    t_s = feed(outcome, held, round(HOLD_S / PERIOD_S))
    assert not outcome.success
    feed(outcome, held, 1, t_s)
    assert outcome.success
    assert outcome.held_object == 0
    assert outcome.failure == ""


def test_a_dip_below_the_height_starts_the_second_anew():
    outcome = Outcome()
    held = replace(GRIPPED, rises_m=(LIFT_M + 0.01,))
    t_s = feed(outcome, held, 19)
    t_s = feed(outcome, replace(GRIPPED, rises_m=(LIFT_M - 1e-4,)), 1, t_s)
    feed(outcome, held, 20, t_s)
    assert not outcome.success


def test_success_stays_when_the_object_is_put_back():
    outcome = Outcome()
    t_s = feed(outcome, replace(GRIPPED, rises_m=(0.15,)), 30)
    feed(outcome, IDLE, 5, t_s)
    assert outcome.success


def test_any_of_several_objects_counts_and_is_named():
    outcome = Outcome()
    reading = replace(GRIPPED, rises_m=(0.0, 0.2, 0.0), finger_contacts=(False, True, False))
    feed(outcome, reading, 25)
    assert outcome.held_object == 1


def test_two_objects_do_not_share_a_second():
    outcome = Outcome()
    for turn in range(40):
        rises = (0.15, 0.0) if turn // 10 % 2 == 0 else (0.0, 0.15)
        outcome.update(replace(GRIPPED, rises_m=rises, finger_contacts=(True, True), t_s=turn * PERIOD_S))
    assert not outcome.success


def test_attempts_are_counted_when_the_jaws_start_to_close():
    outcome = Outcome()
    for reading in (IDLE, CLOSED, CLOSED, IDLE, CLOSED):
        outcome.update(reading)
    assert outcome.num_attempts == 2


@pytest.mark.parametrize(
    ("readings", "failure"),
    [
        ([IDLE], "timed_out"),
        ([CLOSED], "missed"),
        ([GRIPPED, CLOSED], "slipped"),
        ([GRIPPED, replace(GRIPPED, rises_m=(0.05,)), CLOSED], "dropped"),
        ([replace(IDLE, hard_contact_n=100.0), CLOSED], "collided"),
        ([replace(IDLE, hard_contact_n=20.0), CLOSED], "missed"),
    ],
)
def test_failures_are_told_apart(readings: list[Reading], failure: str):
    outcome = Outcome()
    for reading in readings:
        outcome.update(reading)
    assert outcome.failure == failure


def test_what_is_going_on_right_now_is_not_what_once_was():
    outcome = Outcome()
    outcome.update(replace(GRIPPED, hard_contact_n=100.0))
    assert outcome.is_gripping
    assert outcome.is_colliding
    outcome.update(IDLE)
    assert not outcome.is_gripping
    assert not outcome.is_colliding


def test_touching_with_open_jaws_is_not_gripping():
    outcome = Outcome()
    outcome.update(replace(IDLE, finger_contacts=(True,)))
    assert not outcome.is_gripping
