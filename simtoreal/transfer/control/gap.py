"""Where the gap sits, in perception or in control, and which to fix first.

In a world that can be run, learned and privileged grasps meet each head on the same scenes. On logs alone, what the
perception misses there is set against what it misses in simulation, and the replay of the motion against the simulator
that the head was trained in.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal.bundle import load_bundle
from simtoreal.envs.randomization import Randomization
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import gain_of_pairs, pair_records, summarise
from simtoreal.evaluation.statistics import Difference
from simtoreal.identified import ACTION_LATENCY, OBSERVATION_LATENCY, ROUND_TRIP, Identified
from simtoreal.policies.parts import HeadChoice
from simtoreal.progress import Progress
from simtoreal.transfer.online import Entrant, Grasps, run_arm
from simtoreal.transfer.settings import FinetuneConfig

MAX_MISS_RISE = 0.05  # of the hindsight miss, from simulation to the logs, that counts as a gap of perception
MAX_REPLAY_MM = 6.0  # tolerance with which the servo descends: a tool farther off is not where the head believes


class First(StrEnum):
    """What to fix first."""

    PERCEPTION = "perception"
    CONTROL = "control"
    NEITHER = "neither"
    UNKNOWN = "unknown"


def gap_online(
    config: FinetuneConfig, source: Path, retrained: Path | None, progress: Progress
) -> dict[str, Any] | None:
    """The table of success of grasps x heads on the same scenes, and what it says; None where no world was named.

    Finished episodes are kept in the run folder, so that a run that was stopped goes on.
    """
    if config.world is None:
        return None
    bundle = load_bundle(source)
    moves_as_oracle = bundle.head == "servo" and not bundle.head_weights
    heads: list[tuple[str, Path, HeadChoice]] = [("source", source, "bundle")]
    heads += [("retrained", retrained, "bundle")] if retrained is not None else []
    heads += [("oracle", source, "servo")] if not moves_as_oracle else []
    kinds: tuple[Grasps, ...] = ("learned", "privileged")
    records: dict[tuple[str, str], Sequence[EpisodeRecord]] = {}
    for grasps in kinds:
        for name, folder, choice in heads:
            entrant = Entrant(f"{grasps} grasps, {name} head", folder, choice, grasps)
            records[grasps, name] = run_arm(config, config.world, entrant, progress)
    if moves_as_oracle:  # the scripted servo is both, and need not run twice
        records |= {(grasps, "oracle"): records[grasps, "source"] for grasps in kinds}
    return judge_cells(records, config.seed)


def judge_cells(records: Mapping[tuple[str, str], Sequence[EpisodeRecord]], seed: int) -> dict[str, Any]:
    """Success of every cell, the paired gains of perfect grasps and of other heads, and what to fix first."""
    table = [{"grasps": grasps, "head": head, **summarise(found)} for (grasps, head), found in records.items()]
    source = records["privileged", "source"]
    perception = _gain(source, records["learned", "source"], seed)
    others = {head: _gain(found, source, seed) for (grasps, head), found in records.items()
              if grasps == "privileged" and head != "source"}  # fmt: skip
    control = max(others.values(), key=lambda gain: gain.mean) if others else None
    return {
        "table": table,
        "perception_gain": perception._asdict(),
        "control_gains": {head: gain._asdict() for head, gain in others.items()},
        "first": _first(perception, control).value,
    }


def _first(perception: Difference, control: Difference | None) -> First:
    gains = {First.PERCEPTION: perception} | ({} if control is None else {First.CONTROL: control})
    certain = {side: gain.mean for side, gain in gains.items() if gain.low > 0}
    return max(certain, key=lambda side: certain[side]) if certain else First.NEITHER


def _gain(better: Sequence[EpisodeRecord], worse: Sequence[EpisodeRecord], seed: int) -> Difference:
    pairs = pair_records(list(worse), list(better))
    if not pairs:
        raise ValueError("no scene was finished by both, so that the gap cannot be told: give more online_episodes")
    return gain_of_pairs(pairs, np.random.default_rng((seed, 23)))


def gap_on_logs(
    miss: float | None, miss_at_home: float | None, identified: Identified | None, trained_in: Randomization
) -> dict[str, Any]:
    """What logs say of both sides, and what to fix first.

    Args:
        miss: hindsight miss of the policy that is judged, on held-out episodes; None where nothing was labelled.
        miss_at_home: the same on simulated frames; None where there are none.
        identified: what is known of the arm; None where nothing is.
        trained_in: dynamics and timing that the head was trained in.
    """
    rise = None if miss is None or miss_at_home is None else miss - miss_at_home
    outside = [] if identified is None else _outside(identified, trained_in)
    replay_mm = None if identified is None else identified.replay.get("before_mm")
    left_mm = None if identified is None else identified.replay.get("after_mm")
    control = bool(outside) or (replay_mm is not None and replay_mm > MAX_REPLAY_MM and left_mm < 0.7 * replay_mm)
    if rise is None and identified is None:
        first = First.UNKNOWN
    elif rise is not None and rise > MAX_MISS_RISE:
        # Perfect motion to a wrong place helps nobody, so what is seen comes first where both are off.
        first = First.PERCEPTION
    else:
        first = First.CONTROL if control else First.NEITHER
    return {
        "miss": miss,
        "miss_in_simulation": miss_at_home,
        "replay_mm": replay_mm,
        "replay_mm_when_identified": left_mm,
        "outside_of_training": outside,
        "control_is_a_gap": control,
        "first": first.value,
    }


def _outside(identified: Identified, trained_in: Randomization) -> list[str]:
    """Latencies that lie outside of what the head has met, in words."""
    timing, said = trained_in.timing, []
    seen, act = timing.observation_latency_s.ends(0.0)[1], timing.action_latency_s.ends(0.0)[1]
    for name, most_s in ((OBSERVATION_LATENCY, seen), (ACTION_LATENCY, act), (ROUND_TRIP, seen + act)):
        found = identified.posterior.get(name)
        if found is not None and found.low > most_s:
            said.append(f"{name} is {1e3 * found.mean:.0f} ms, and training went up to {1e3 * most_s:.0f} ms")
    return said


def advice(gap: Mapping[str, Any], episodes: str) -> str:
    """What to do about a gap, in one sentence."""
    first = (gap.get("online") or gap["logs"])["first"]
    if first == First.CONTROL:
        return (
            "control is the gap: train the head in the simulator that the logs correct, "
            f"`simtoreal finetune episodes={episodes} head=identified`"
        )
    texts = {
        First.PERCEPTION: "perception is the gap: fine-tuning the encoder comes first",
        First.NEITHER: "neither perception nor control stands out",
    }
    return texts.get(First(first), "where the gap sits cannot be told from these logs")
