"""The environment that a head is trained in: harder as it gets better, and with a teacher to ask."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.adaptive import AdaptiveRandomization, AdaptiveSettings
from simtoreal.envs.gym_envs import EnvConfig, GraspStateEnv
from simtoreal.envs.randomization import load_randomization
from simtoreal.policies.servo import ServoHead

_ERROR_STEP, _ERROR_AT = 0.1, 0.8  # the perception error grows by this much when so many episodes succeed
_START_ERROR = 0.3
_WINDOW = 40  # episodes over which it looks
_ADAPTIVE = AdaptiveSettings(num_probes=6, step=0.34)


class CurriculumEnv(GraspStateEnv):
    """`GraspState` whose dynamics widen by itself and whose perception error widens with success.

    Args:
        config: everything else.
        target: randomization whose dynamics and timing it widens toward.
    """

    def __init__(self, config: EnvConfig, target: str) -> None:
        ranges = load_randomization(target)
        self.ranges = AdaptiveRandomization(ranges.dynamics, ranges.timing, _ADAPTIVE)
        super().__init__(config, self.ranges)
        self.error_scale = _START_ERROR
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._all_levels = False
        self._servo = ServoHead()

    def show_all_levels(self, all_levels: bool) -> None:
        """From the next episode on every one is of a level of its own, from the nominal world to the target."""
        self._all_levels = all_levels

    def set_level(self, level: float) -> None:
        """Puts the curriculum at a share of the way, 0 the nominal world and 1 the target."""
        self.ranges.set_progress(level)
        self.error_scale = max(level, _START_ERROR)
        self._recent.clear()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if self._all_levels:
            # The level shapes the scene that the reset draws, so it comes before the environment takes up the seed.
            rng = self.np_random if seed is None else np.random.default_rng(seed)
            self.set_level(float(rng.random()))
        return super().reset(seed=seed, options=options)

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = super().step(action)
        if result[2] or result[3]:
            self._recent.append(bool(result[4]["is_success"]))
            if len(self._recent) == _WINDOW and np.mean(self._recent) > _ERROR_AT:
                self.error_scale = min(1.0, self.error_scale + _ERROR_STEP)
                self._recent.clear()
        return result

    def demonstrate(self) -> NDArray[np.float32]:
        """What the scripted servo would do in view of the latest observation, (ACTION_DIM,)."""
        action = self._servo.act(self._observation, self._estimated, self._interface)
        return action.astype(np.float32)

    def curriculum_state(self) -> dict[str, Any]:
        return {"error_scale": self.error_scale, "adaptive": self.ranges.state_dict()}

    def load_curriculum(self, state: dict[str, Any]) -> None:
        self.error_scale = float(state["error_scale"])
        self.ranges.load_state_dict(state["adaptive"])
