"""What an exported policy costs: time and memory of a process that runs it and nothing else, on one core.

    python -m simtoreal.export.trial FOLDER OBSERVATIONS.npz [ROUNDS]

It needs what the robot's computer has, and prints JSON. Wall time says how busy the machine is, processor time what the
policy takes.
"""

import json
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from simtoreal.contracts import Action, Observation
from simtoreal.export.observations import SeenEpisode, load_observations
from simtoreal.policies.exported import load_exported
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.runtime import run_episode

# Packages that a robot's computer does without; to see one here means that somebody imports it on the way.
_FOREIGN = ("torch", "pybullet", "stable_baselines3", "numba", "scipy", "pyarrow", "av", "mujoco", "trimesh")


class _Timed:
    """A policy with a stopwatch: seconds of every call of `act` that looked at its image; others take next to none."""

    def __init__(self, policy: GraspPolicy) -> None:
        self._policy = policy
        self.wall_s: list[float] = []
        self.processor_s: list[float] = []

    def reset(self) -> None:
        self._policy.reset()

    def act(self, observation: Observation) -> Action:
        wall_s, processor_s = time.perf_counter(), time.process_time()
        action = self._policy.act(observation)
        processor_s, wall_s = time.process_time() - processor_s, time.perf_counter() - wall_s
        estimate = self._policy.estimate
        if estimate is not None and estimate.age_s == 0.0:
            self.processor_s.append(processor_s)
            self.wall_s.append(wall_s)
        return action

    def sent(self, action: Action) -> None:
        self._policy.sent(action)


def run_trial(folder: Path, observations: Path, rounds: int = 10) -> dict[str, object]:
    """Shows a policy all episodes of a file several times; the first round warms up and does not count.

    Raises:
        BundleError: the folder is no exported policy.
        OSError: the observations cannot be read.
    """
    cv2.setNumThreads(1)
    policy, episodes = load_exported(folder), load_observations(observations)
    timed = _Timed(policy)
    for index in range(rounds + 1):
        if index == 1:
            timed.wall_s.clear()
            timed.processor_s.clear()
        for episode in episodes:
            controller = SeenEpisode(episode, policy.interface.scale.control_hz)
            run_episode(controller, timed, controller.reset(), controller.is_over)
    return {
        "num_looks": len(timed.wall_s),
        "wall_s": _percentiles(timed.wall_s),
        "processor_s": _percentiles(timed.processor_s),
        "peak_memory_mb": _peak_memory_mb(),
        "foreign": sorted(name for name in _FOREIGN if name in sys.modules),
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    p50, p99 = (float(value) for value in np.percentile(seconds, [50, 99]))
    return {"p50": p50, "p99": p99}


def _peak_memory_mb() -> float:
    # Not `getrusage`: its peak is also that of the process that started this one.
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return round(1024e-6 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 1)


def main() -> None:
    """Runs the trial that the command line asks for, on one core of those allowed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    folder, observations, *rounds = sys.argv[1:]
    print(json.dumps(run_trial(Path(folder), Path(observations), *(int(text) for text in rounds))))


if __name__ == "__main__":
    main()
