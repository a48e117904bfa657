"""What an exported policy costs: time and memory of a process that runs it and nothing else, on one core.

    python -m simtoreal.export.trial FOLDER OBSERVATIONS.npz [ROUNDS]

It needs what the robot's computer has, and prints JSON. Wall time says how busy the machine is, processor time what the
policy takes.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from simtoreal.contracts import Action, Observation, Policy
from simtoreal.export.observations import SeenEpisode, load_observations
from simtoreal.policies.exported import load_exported
from simtoreal.runtime import run_episode

# Packages that a robot's computer does without; to see one here means that somebody imports it on the way.
_FOREIGN = ("torch", "pybullet", "stable_baselines3", "numba", "scipy", "pyarrow", "av", "mujoco", "trimesh")


class _Timed:
    """A policy with a stopwatch: seconds of every call of `act`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.wall_s: list[float] = []
        self.processor_s: list[float] = []

    def reset(self) -> None:
        self._policy.reset()

    def act(self, observation: Observation) -> Action:
        wall_s, processor_s = time.perf_counter(), time.process_time()
        action = self._policy.act(observation)
        self.processor_s.append(time.process_time() - processor_s)
        self.wall_s.append(time.perf_counter() - wall_s)
        return action

    def sent(self, action: Action) -> None:
        self._policy.sent(action)


def run_trial(folder: Path, observations: Path, rounds: int = 3) -> dict[str, object]:
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
            run_episode(controller, timed, controller.reset(), lambda step, last=len(episode): step >= last)  # type: ignore[misc]
    return {
        "num_steps": len(timed.wall_s),
        "wall_s": _percentiles(timed.wall_s),
        "processor_s": _percentiles(timed.processor_s),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        "foreign": sorted(name for name in _FOREIGN if name in sys.modules),
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    p50, p99 = (float(value) for value in np.percentile(seconds, [50, 99]))
    return {"p50": p50, "p99": p99}


def main() -> None:
    """Runs the trial that the command line asks for, on one core of those allowed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    folder, observations, *rounds = sys.argv[1:]
    print(json.dumps(run_trial(Path(folder), Path(observations), *(int(text) for text in rounds))))


if __name__ == "__main__":
    main()
