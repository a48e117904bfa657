"""What an evaluation says in plain sentences, and no more than its intervals allow."""

from typing import Any

from simtoreal.evaluation.statistics import power_n

MIN_EPISODES = 10  # fewer say nothing about a group
MAX_INVALID_PC = 2.0
WIDE_PC = 12.0  # an interval this wide hides differences people care about

ARM_NAMES = {
    "policy": "policy",
    "oracle": "oracle (knows the object's mesh)",
    "random": "random motion",
    "servo": "scripted servo, same perception",
}
FAILURE_MEANING = {
    "missed": "the jaws closed on nothing",
    "slipped": "held for a moment, lost while lifting",
    "dropped": "lifted, not held for a second",
    "collided": "the gripper pushed into the table or the object",
    "timed_out": "time was up before the object was lifted",
    "no_grasp_seen": "no place looked graspable",
}


def findings(info: dict[str, Any]) -> list[str]:
    """Sentences about the content of `eval_info.json`, the most important first."""
    sentences = [_against_oracle(info), _against_random(info), _weakest(info), _commonest_failure(info)]
    sentences += [_other_arm(name, other) for name, other in (info.get("other_arms") or {}).items() if other]
    sentences += [_invalid(info), _precision(info)]
    return [sentence for sentence in sentences if sentence]


def percent(value: float | None, digits: int = 1) -> str:
    """A percentage as people read it; a dash where there is none.

    >>> percent(94.52), percent(None)
    ('94.5 %', '-')
    """
    return "-" if value is None else f"{value:.{digits}f} %"


def interval(bounds: list[float] | None, digits: int = 1) -> str:
    """A 95 % interval in percent.

    >>> interval([90.42, 96.9])
    '90.4 to 96.9 %'
    """
    if not bounds or None in bounds:
        return "-"
    return f"{bounds[0]:.{digits}f} to {bounds[1]:.{digits}f} %"


def _against_oracle(info: dict[str, Any]) -> str:
    oracle = info.get("oracle")
    if not oracle or oracle.get("pc_of_oracle") is None:
        return ""
    told = (
        f"It reaches {percent(oracle['pc_of_oracle'])} of the oracle's success on the same scenes "
        f"(95 % interval over objects: {interval(oracle.get('pc_of_oracle_ci95'))})"
    )
    return f"{told}; {_verdict(oracle, 'it', 'the oracle')}."


def _against_random(info: dict[str, Any]) -> str:
    random = info.get("random")
    if not random:
        return ""
    rate = random["overall"]["pc_success"]
    if random.get("pc_difference_ci95") and random["pc_difference_ci95"][0] > 0:
        return f"Chance is no explanation: random motion lifts something in {percent(rate)} of the scenes."
    return f"It is not shown to be better than random motion ({percent(rate)}): do not build on it yet."


def _verdict(other: dict[str, Any], subject: str, name: str) -> str:
    bounds = other.get("pc_difference_ci95")
    if not bounds:
        return f"no scene was met by both {subject} and {name}"
    low, high = bounds
    if low > 0:
        return f"{subject} is better than {name} by {low:.1f} to {high:.1f} points"
    if high < 0:
        return f"{subject} is worse than {name} by {-high:.1f} to {-low:.1f} points"
    return f"a difference to {name} is not shown ({low:+.1f} to {high:+.1f} points)"


def _other_arm(name: str, other: dict[str, Any]) -> str:
    overall = other["overall"]
    label = ARM_NAMES.get(name, name)
    return (
        f"{label[:1].upper()}{label[1:]}: {percent(overall['pc_success'])} of {overall['n_episodes']} episodes; "
        f"{_verdict(other, 'the policy', 'it')}."
    )


def _weakest(info: dict[str, Any]) -> str:
    """Names a group only if its interval lies wholly below the overall figure."""
    overall = info["overall"]["pc_success"]
    parts = {**info.get("per_group", {}), **{f"{name} objects": part for name, part in info["per_size"].items()}}
    weak = [
        (part["pc_success"], name, part)
        for name, part in parts.items()
        if part["n_episodes"] >= MIN_EPISODES and part["pc_success_ci95"][1] < overall
    ]
    if not weak:
        return ""
    rate, name, part = min(weak, key=lambda item: item[0])
    return (
        f"Weakest: {name} with {percent(rate)} "
        f"({part['n_success']} of {part['n_episodes']}, {interval(part['pc_success_ci95'])})."
    )


def _commonest_failure(info: dict[str, Any]) -> str:
    total = sum(info["failures"].values())
    if not total:
        return "No episode failed."
    kind = max(info["failures"], key=lambda name: info["failures"][name])
    count = info["failures"][kind]
    name = kind.replace("_", " ")
    failures = "failures" if total > 1 else "failure"
    return f"{count} of {total} {failures}: {name} ({FAILURE_MEANING.get(kind, 'see the pictures below')})."


def _invalid(info: dict[str, Any]) -> str:
    invalid = info["invalid"]
    if invalid["pc_invalid"] <= MAX_INVALID_PC:
        return ""
    share = percent(invalid["pc_invalid"])
    return (
        f"{share} of the drawn scenes were invalid and redrawn, more than {MAX_INVALID_PC:g} %; "
        "look at the objects before you trust the figures."
    )


def _precision(info: dict[str, Any]) -> str:
    low, high = info["overall"]["pc_success_ci95"]
    rate = info["overall"]["pc_success"]
    if high - low <= WIDE_PC or rate is None:
        return ""
    better = min(100.0, rate + 5.0) if rate <= 95 else rate - 5.0
    needed, num = power_n(rate / 100, better / 100), info["overall"]["n_episodes"]
    return (
        f"{num} episodes leave an interval of {high - low:.0f} points; to tell it from a policy "
        f"5 points apart takes about {needed} episodes each on independent scenes, fewer on the same ones."
    )
