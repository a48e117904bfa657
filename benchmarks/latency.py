"""Success in PyBullet with 150 ms of latency, with and without compensation, against none; paired over scenes.

python benchmarks/latency.py               # 200 scenes
python benchmarks/latency.py --quick       # 10
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import Row, per_cent, save

from simtoreal.bundle import load_bundle
from simtoreal.contracts import Policy
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job
from simtoreal.evaluation.runner import EvaluationPlan, plan_jobs, usable_objects
from simtoreal.evaluation.statistics import paired_mean_difference
from simtoreal.preflight import find_bundle
from simtoreal.progress import Progress
from simtoreal.realtime.latency import LatencyCompensation

LATENCY_S = 0.15
MAX_LOST = 0.03


class LateArena(Arena):
    """An arena whose policies see a predicted arm."""

    def __init__(self, spec: ArenaSpec, compensated_s: float) -> None:
        super().__init__(spec)
        self._compensated_s = compensated_s

    def _make_policy(self, arm: str, cell):  # type: ignore[no-untyped-def]
        policy: Policy = super()._make_policy(arm, cell)
        return LatencyCompensation(policy, self._compensated_s, cell.control_hz) if self._compensated_s else policy


def spec_with(latency_s: float) -> ArenaSpec:
    """The default world with exactly this latency, half of it before and half of it after the policy."""
    randomization = load_randomization("none").to_plain()
    for group in randomization.values():
        if isinstance(group, dict) and "observation_latency_s" in group:
            group["observation_latency_s"] = group["action_latency_s"] = 0.5 * latency_s
    return ArenaSpec(
        bundle=find_bundle("default"), objects="random_test", randomization=randomization, robot="panda", seed=5,
        cache_dir=default_cache_dir(),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--arm", default="policy", choices=("policy", "oracle"))
    given = parser.parse_args()
    num = 10 if given.quick else given.scenes
    load_bundle(find_bundle("default"))
    plan = EvaluationPlan(num, (given.arm,), 1, Path("runs/latency"))
    names, _ = usable_objects(spec_with(0.0), plan, Progress())
    jobs: list[Job] = list(plan_jobs(names, 5, plan))
    cases = {"none": (0.0, 0.0), "150 ms": (LATENCY_S, 0.0), "150 ms, compensated": (LATENCY_S, LATENCY_S)}
    found: dict[str, list[float]] = {}
    with Progress().task("latency", num * len(cases)) as bar:
        for case, (latency_s, compensated_s) in cases.items():
            arena = LateArena(spec_with(latency_s), compensated_s)
            found[case] = []
            for job in jobs:
                found[case].append(float(arena.run(job).record.success))
                bar.advance(note=f"{case} {per_cent(sum(found[case]) / len(found[case]))}")
            arena.close()
    save(f"latency_{given.arm}", rows(found, given.arm), given.quick)


def rows(found: dict[str, list[float]], arm: str) -> list[Row]:
    table = []
    for case, successes in found.items():
        n = len(successes)
        lost = sum(found["none"]) / n - sum(successes) / n
        reached = lost <= MAX_LOST if case.endswith("compensated") else None
        must = "at most 3 points lost" if case.endswith("compensated") else ""
        interval = ""
        if case != "none":
            scenes = list(range(n))
            estimate = paired_mean_difference(successes, found["none"], scenes, rng=np.random.default_rng(0))
            interval = f", {100 * -lost:+.1f} points [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"
        numbers = {"successes": [int(value) for value in successes]}
        table.append(
            Row(f"{arm}, latency {case}, n = {n}", f"{per_cent(sum(successes) / n)}{interval}", must, reached, numbers)
        )
    return table


if __name__ == "__main__":
    main()
