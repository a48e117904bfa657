"""The second world's judgement, on made-up episodes with known answers."""

import itertools

import pytest

from simtoreal.envs.lift_verdict import HOLD_S, Glance, LiftVerdict
from simtoreal.evaluation.records import FAILURES

PERIOD_S = 0.05


def glance(t_s: float, rise_m: float = 0.0, **changes: object) -> Glance:
    return Glance(t_s, (rise_m,), (False,), (False,), 1.0, 0.0)._replace(**changes)


def watched(*glances: Glance) -> LiftVerdict:
    verdict = LiftVerdict()
    for item in glances:
        verdict.see(item)
    return verdict


def lifted(seconds: float, rise_m: float = 0.11, **changes: object) -> list[Glance]:
    return [glance(i * PERIOD_S, rise_m, **changes) for i in range(round(seconds / PERIOD_S) + 1)]


def test_a_second_in_the_air_is_a_success_and_less_is_not():
    assert watched(*lifted(HOLD_S)).success
    assert not watched(*lifted(HOLD_S - PERIOD_S)).success


def test_what_rests_on_something_high_is_not_held():
    assert not watched(*lifted(2.0, supported=(True,))).success


def test_sinking_below_starts_the_second_anew():
    high, low = lifted(0.8), [glance(0.85, 0.09)]
    later = [item._replace(t_s=0.9 + item.t_s) for item in lifted(0.8)]
    assert not watched(*high, *low, *later).success


def test_the_result_belongs_to_the_one_that_is_held():
    two = [Glance(i * PERIOD_S, (0.0, 0.2), (True, False), (False, True), 0.0, 0.0) for i in range(30)]
    assert watched(*two).held_object == 1


@pytest.mark.parametrize(
    ("glances", "failure"),
    [
        ([glance(0.0)], "timed_out"),
        ([glance(0.0, told_frac=0.0)], "missed"),
        ([glance(0.0, told_frac=0.0, gripped=(True,))], "slipped"),
        ([glance(0.0, told_frac=0.0, gripped=(True,)), glance(0.05, push_n=80.0)], "collided"),
        ([glance(0.0, 0.05), glance(0.05, 0.0, push_n=80.0)], "dropped"),
        ([glance(0.0, gripped=(True,))], "timed_out"),  # touched by open jaws
    ],
)
def test_kinds_of_failure(glances: list[Glance], failure: str):
    verdict = watched(*glances)
    assert verdict.failure == failure
    assert failure in FAILURES


def test_each_time_the_jaws_are_told_to_close_is_an_attempt():
    told = [1.0, 0.0, 0.0, 1.0, 0.2, 0.6, 0.4]
    verdict = watched(*(glance(i * PERIOD_S, told_frac=frac) for i, frac in enumerate(told)))
    assert verdict.num_attempts == sum(b < 0.5 <= a for a, b in itertools.pairwise(told))
