"""Latency compensation: the policy acts on the arm as it will be when its action lands (Smith 1957).

What was sent within the latency of the loop is on its way: it is not in the measured pose yet, and it cannot be taken
back. The measured pose is moved by it before the policy sees it. The picture and the pose of its camera stay as they
were at capture, so that what is seen lies where it lay.
"""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from simtoreal import frames
from simtoreal.contracts import Action, Observation, Policy
from simtoreal.schema import ConfigError

_KEYS = ("observation_latency_s", "action_latency_s")
MAX_LATENCY_S = 1.0


class LatencyCompensation:
    """Wraps a policy.

    Args:
        policy: acts on the predicted observation.
        latency_s: from capture to the effect of the action for it: that of the observation and that of the action.
        control_hz: periods per second.

    Raises:
        ValueError: the latency is negative or longer than a second.
    """

    def __init__(self, policy: Policy, latency_s: float, control_hz: float) -> None:
        if not 0.0 <= latency_s <= MAX_LATENCY_S:
            raise ValueError(f"latency_s={latency_s} is out of range: allowed is 0 to {MAX_LATENCY_S:g} s")
        self._policy = policy
        self._periods = latency_s * control_hz
        self._in_flight: deque[Action] = deque(maxlen=int(np.ceil(self._periods)) or 1)

    def reset(self) -> None:
        self._in_flight.clear()
        self._policy.reset()

    def act(self, observation: Observation) -> Action:
        return self._policy.act(self.predicted(observation))

    def sent(self, action: Action) -> None:
        self._in_flight.append(action)
        self._policy.sent(action)

    def predicted(self, observation: Observation) -> Observation:
        """The observation with the arm where it will be. Jaws are not predicted: they may meet something."""
        T = observation.T_base_tcp
        left = self._periods
        shares = []
        for _ in range(len(self._in_flight)):
            shares.append(min(left, 1.0))
            left -= shares[-1]
        for share, action in zip(reversed(shares), self._in_flight, strict=True):  # the oldest may be half over
            T = frames.moved(T, share * action.delta_m, share * action.delta_rotation_rad)
        return observation._replace(T_base_tcp=T)


def identified_latency_s(path: Path) -> float:
    """The latency of the loop from an `identified.yaml`: of the observation and of the action together.

    The two lie at the top or in one group, as a number or as a mapping with `value` or `median`.

    Raises:
        ConfigError: the file cannot be read or lacks one of the two.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"identified={path} cannot be read: {' '.join(str(error).split())}") from error
    groups = [content, *content.values()] if isinstance(content, dict) else []
    for group in groups:
        if isinstance(group, Mapping) and all(key in group for key in _KEYS):
            return sum(_number(group[key], f"{path}: {key}") for key in _KEYS)
    raise ConfigError(
        f"identified={path} lacks {' and '.join(_KEYS)}: write it with the identify command, or give latency_s=S"
    )


def _number(value: Any, where: str) -> float:
    if isinstance(value, Mapping):
        value = value.get("value", value.get("median"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= MAX_LATENCY_S:
        raise ConfigError(f"{where}={value} must be a number from 0 to {MAX_LATENCY_S:g} s")
    return float(value)
