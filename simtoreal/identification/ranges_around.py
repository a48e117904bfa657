"""From posteriors to randomization ranges: around what was found, as wide as episodes differ and knowledge ends."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simtoreal.envs.randomization import load_randomization
from simtoreal.identification.posterior import reach_of_episodes
from simtoreal.identified import ACTION_LATENCY, OBSERVATION_LATENCY, ROUND_TRIP, Posterior

# The least half width of a range: narrower, a head would rely on a number that no arm keeps to.
_LEAST = {
    "timing.observation_latency_s": 0.005, "timing.action_latency_s": 0.005, "timing.jitter_s": 0.001,
    "timing.dropped_frame_frac": 0.01, "dynamics.tracking_lag_s": 0.008, "dynamics.gripper_speed_m_s": 0.01,
    "dynamics.standing_error_m": 0.0005,
}  # fmt: skip
# Within what a simulator can draw at all: with no picture, or with jaws that stand still, nothing is learned.
_HIGHEST = {"timing.dropped_frame_frac": 0.9}
_LOWEST = {"dynamics.gripper_speed_m_s": 0.01}


def ranges_around(
    posterior: Mapping[str, Posterior], base: str, lead_s: float
) -> tuple[dict[str, Any], dict[str, str]]:
    """A randomization as plain data: `base`, and ranges for what is known; and by quantity why one keeps its base's.

    Args:
        posterior: by quantity, `tracking_lag_s` as the simulator's arm has it among them.
        base: the preset or file that everything else is as in.
        lead_s: how much sooner the simulated arm starts than its action latency says; made up for.
    """
    ends: dict[str, tuple[float, float]] = {}
    for name, group in (("jitter_s", "timing"), ("dropped_frame_frac", "timing"), ("tracking_lag_s", "dynamics"),
                        ("gripper_speed_m_s", "dynamics"), ("standing_error_m", "dynamics")):  # fmt: skip
        if name in posterior:
            ends[f"{group}.{name}"] = reach_of_episodes(posterior[name])
    if OBSERVATION_LATENCY in posterior:
        fresh, typical = posterior[OBSERVATION_LATENCY], posterior.get("observation_age_s")
        high = reach_of_episodes(typical)[1] if typical is not None else reach_of_episodes(fresh)[1]
        ends["timing.observation_latency_s"] = reach_of_episodes(fresh)[0], high
    if ACTION_LATENCY in posterior:
        ends["timing.action_latency_s"] = _shifted(reach_of_episodes(posterior[ACTION_LATENCY]), lead_s)
    elif ROUND_TRIP in posterior:
        timing = load_randomization(base).timing
        seen_s = sum(timing.observation_latency_s.ends(0.0)) / 2.0
        ends["timing.action_latency_s"] = _shifted(reach_of_episodes(posterior[ROUND_TRIP]), lead_s - seen_s)
    randomization, ranges, kept = load_randomization(base), dict[str, Any](base=base), dict[str, str]()
    for name, (low, high) in sorted(ends.items()):
        group, key = name.split(".")
        lowest, highest = getattr(randomization, group).allowed(key)
        lowest, highest = max(lowest, _LOWEST.get(name, lowest)), min(highest, _HIGHEST.get(name, highest))
        if high < lowest or low > highest:
            kept[key] = (
                f"{low:.4g} to {high:.4g} is beyond the {lowest:g} to {highest:g} that can be simulated: check that "
                f"tool poses, commands and times belong together; the range of randomization={base} is kept"
            )
            continue
        least, middle = _LEAST[name], 0.5 * (low + high)
        low, high = np.clip((min(low, middle - least), max(high, middle + least)), lowest, highest)
        ranges.setdefault(group, {})[key] = f"=U({low:.5g}, {high:.5g})"
    randomization.updated({key: value for key, value in ranges.items() if key != "base"})  # checks the ranges
    return ranges, kept


def _shifted(ends: tuple[float, float], by_s: float) -> tuple[float, float]:
    return max(0.0, ends[0] + by_s), max(0.0, ends[1] + by_s)
