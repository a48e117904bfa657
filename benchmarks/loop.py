"""The control loop in real time beside a busy core: missed deadlines, jitter, and the shipped policy in it.

python benchmarks/loop.py            # 10 minutes at 20 Hz
python benchmarks/loop.py --quick    # 20 seconds
python benchmarks/loop.py --minutes 3

Where other work shares the cores, give the loop the priority that it has on a robot's computer: `nice -n -10`. The busy
process lowers its own again.
"""

import argparse
import multiprocessing
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import Row, per_cent, save

from simtoreal.controllers.fake import FakeController
from simtoreal.deployment.policy import load_policy, wrapped
from simtoreal.deployment.settings import DeployConfig
from simtoreal.progress import Progress
from simtoreal.realtime.cadence import cadence
from simtoreal.runtime import Pacer, Step, run_episode
from simtoreal.safety.events import SafetyStop
from simtoreal.safety.guard import Guard
from simtoreal.safety.limits import load_limits
from simtoreal.safety.watchdog import Watchdog

CONTROL_HZ = 20.0
EPISODE_STEPS = 240
MAX_MISSED_FRAC = 0.001


def burn() -> None:
    """Keeps a core busy."""
    value = 1.0
    os.nice(max(0 - os.nice(0), 0))
    while True:
        value = value * 1.0000001 % 3.0


class Times:
    """Collects what the policy took of each period."""

    def __init__(self) -> None:
        self.policy_s: list[float] = []

    def episode_start(self) -> None:
        """Goes on with the list."""

    def step(self, step: Step) -> None:
        self.policy_s.append(step.policy_s)

    def episode_end(self) -> None:
        """Nothing to close."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    quick = given.quick
    num_periods = round((20.0 if quick else 60.0 * given.minutes) * CONTROL_HZ)
    limits, config = load_limits("panda"), DeployConfig(latency_s=0.0)
    controller = FakeController(np.random.default_rng(0))
    policy = wrapped(load_policy(config, 1.0 / CONTROL_HZ), config, CONTROL_HZ, limits, real_time=True)
    guard, times = Guard(controller, limits), Times()
    policy.reset()
    policy.act(guard.reset())  # the first inference is slow, wherever
    burner = multiprocessing.get_context("spawn").Process(target=burn, daemon=True)
    burner.start()
    lateness_s: list[float] = []
    num_missed, passed_s, stops = 0, 0.0, []
    try:
        with Watchdog(guard), Progress().task("loop", num_periods) as bar:
            while len(lateness_s) < num_periods:
                first, pacer = guard.reset(), Pacer(CONTROL_HZ)
                most = min(EPISODE_STEPS, num_periods - len(lateness_s))
                try:
                    run_episode(guard, policy, first, lambda step, most=most: step >= most, [times], pacer)  # type: ignore[misc]
                except SafetyStop as stop:
                    stops.append(str(stop))
                lateness_s += pacer.lateness_s
                num_missed, passed_s = num_missed + pacer.num_missed, passed_s + pacer.passed_s
                bar.advance(len(pacer.lateness_s))
    finally:
        burner.kill()
    report = cadence(lateness_s, num_missed, passed_s)
    p99_s = float(np.percentile(times.policy_s, 99))
    numbers = {**report._asdict(), "missed_frac": report.missed_frac, "policy_p99_s": p99_s, "stops": stops}
    minutes = num_periods / CONTROL_HZ / 60.0
    what = f"missed deadlines, 20 Hz for {minutes:.1f} min beside a busy core"
    measured = f"{report.num_missed} of {report.num_periods} ({per_cent(report.missed_frac)})"
    jitter = f"{1e3 * report.jitter_p50_s:.2f} / {1e3 * report.jitter_p99_s:.2f} / {1e3 * report.jitter_max_s:.1f} ms"
    rows = [
        Row(what, measured, "under 0.1 %", report.missed_frac < MAX_MISSED_FRAC, numbers),
        Row("stops of the guard", str(len(stops)), "0", not stops),
        Row("how late periods begin: median / 99th percentile / most", jitter),
        Row("observation to action in the loop, default bundle, 99th percentile", f"{1e3 * p99_s:.1f} ms"),
    ]
    save("loop", rows, quick)


if __name__ == "__main__":
    main()
