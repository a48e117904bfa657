"""Sentences claim no more than their intervals allow."""

from typing import Any

import pytest

from simtoreal.evaluation.findings import findings
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import EvaluationResult


def make_records(outcomes: list[bool], arm: str = "policy", group: str = "", **changes: Any) -> list[EpisodeRecord]:
    return [
        EpisodeRecord(
            i,
            str(i),
            f"object_{i % 20}",
            group or ("box", "plate")[i % 2],
            "medium",
            ok,
            "" if ok else "missed",
            1,
            1.0,
            arm=arm,
            **changes,
        )
        for i, ok in enumerate(outcomes)
    ]


def say(**records: list[EpisodeRecord]) -> str:
    return "\n".join(findings(EvaluationResult(records, seed=0).to_eval_info()))


def test_a_policy_below_the_oracle_is_said_to_be_worse() -> None:
    said = say(policy=make_records([i % 4 > 0 for i in range(200)]), oracle=make_records([True] * 200, "oracle"))
    assert "It reaches 75.0 % of the oracle's success" in said
    assert "it is worse than the oracle by" in said


def test_equal_arms_are_not_called_better_or_worse() -> None:
    ours, theirs = [i % 10 > 0 for i in range(100)], [i % 10 < 9 for i in range(100)]
    said = say(policy=make_records(ours), oracle=make_records(theirs, "oracle"))
    assert "a difference to the oracle is not shown" in said
    assert "better" not in said
    assert "worse" not in said


@pytest.mark.parametrize(("num_lucky", "words"), [(1, "Chance is no explanation"), (19, "not shown to be better")])
def test_random_motion_is_the_floor(num_lucky: int, words: str) -> None:
    lucky = [i < num_lucky for i in range(40)]
    assert words in say(policy=make_records([i < 20 for i in range(40)]), random=make_records(lucky, "random"))


def test_a_group_is_called_weakest_only_beyond_doubt() -> None:
    clearly = say(policy=make_records([i % 2 == 0 or i % 4 == 1 for i in range(200)]))
    assert "Weakest: plate with 50.0 % (50 of 100" in clearly
    by_a_hair = say(policy=make_records([i not in (1, 3, 4) for i in range(200)]))
    assert "Weakest" not in by_a_hair


def test_groups_of_few_episodes_are_passed_over() -> None:
    records = make_records([True] * 100, group="box")
    records += [EpisodeRecord(100 + i, "s", "p", "plate", "medium", False, "missed", 1, 1.0) for i in range(5)]
    assert "Weakest" not in say(policy=records)


def test_many_invalid_scenes_and_few_episodes_are_warned_of() -> None:
    said = say(policy=make_records([i % 2 == 0 for i in range(20)], invalid_redraws=1))
    assert "50.0 % of the drawn scenes were invalid" in said
    assert "20 episodes leave an interval of" in said
    assert "No episode failed." in say(policy=make_records([True] * 300))
    assert "interval of" not in say(policy=make_records([True] * 300))


def test_commonest_failure_comes_with_its_meaning() -> None:
    assert "10 of 10 failures: missed (the jaws closed on nothing)." in say(
        policy=make_records([i >= 10 for i in range(100)])
    )


def test_other_heads_are_compared() -> None:
    said = say(policy=make_records([True] * 200), servo=make_records([i % 3 > 0 for i in range(200)], "servo"))
    assert "Scripted servo, same perception: 66.5 % of 200 episodes; the policy is better than it by" in said


def test_arms_without_common_scenes_are_not_compared() -> None:
    apart = [EpisodeRecord(i + 500, str(i), "a", "box", "medium", True, "", 1, 1.0, arm="servo") for i in range(20)]
    assert "no scene was met by both the policy and it" in say(policy=make_records([True] * 20), servo=apart)
