"""Reward of the control stage: progress along a potential of named terms, and events.

A shaping that discounts as the learner does cannot change what is optimal (Ng 1999), but it also pays nothing for being
near a grasp: what was paid for coming is taken back while the tool stays, and a learner that cannot hold yet learns to
keep away (0 successes in 9,000 steps, where plain differences of the potential gave the first after 5,000). So the
differences are plain. Coming and going still earns nothing; staying is worth up to the potential itself, which is why a
success is worth more than all of it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the terms; potentials are in [0, 1] before weighting."""

    reach: float = 1.0
    align: float = 0.5
    grip: float = 1.0
    lift: float = 3.0
    success: float = 10.0
    time: float = -0.02
    collision: float = -0.2
    smooth: float = -0.02


@dataclass(frozen=True)
class Situation:
    """What the reward looks at, after one control period."""

    distance_m: float  # tool to the true grasp
    yaw_error_rad: float
    gripped: bool  # both fingers on one object, jaws closing
    rise_m: float  # of the highest object
    success: bool
    collided: bool


class PotentialReward:
    """Potential differences plus events, by name."""

    def __init__(self, config: RewardConfig) -> None:
        self.config = config
        self._previous: dict[str, float] = {}
        self._previous_action: list[float] | None = None

    def reset(self, situation: Situation) -> None:
        self._previous = self._potentials(situation)
        self._previous_action = None

    def step(self, situation: Situation, action: NDArray[np.floating]) -> dict[str, float]:
        """The terms of this period; their sum is the reward."""
        config = self.config
        now = self._potentials(situation)
        terms = {name: now[name] - self._previous[name] for name in now}
        terms["success"] = config.success * situation.success
        terms["time"] = config.time
        terms["collision"] = config.collision * situation.collided
        values = action.tolist()
        changes = [a - b for a, b in zip(values, self._previous_action or values, strict=True)]
        terms["smooth"] = config.smooth * (sum(change * change for change in changes) / len(changes))
        self._previous = now
        self._previous_action = values
        return terms

    def _potentials(self, situation: Situation) -> dict[str, float]:
        config = self.config
        held = situation.gripped or situation.rise_m > 0.02  # the grasp has done its work: keep what was earned
        near = 1.0 if held else 1.0 - math.tanh(6.0 * situation.distance_m)
        aligned = 1.0 if held else near * max(0.0, math.cos(2.0 * situation.yaw_error_rad))
        return {
            "reach": config.reach * near,
            "align": config.align * aligned,
            "grip": config.grip * float(held),
            "lift": config.lift * min(max(situation.rise_m / 0.12, 0.0), 1.0) * float(held),
        }
