"""Latency compensation: the policy acts on the arm as it will be when its action lands (Smith 1957).

What was sent within the latency of the loop is on its way: it is not in the measured pose yet, and it cannot be taken
back. The measured pose is moved by it before the policy sees it. The picture and the pose of its camera stay as they
were at capture, so that what is seen lies where it lay.
"""

from collections import deque

import numpy as np

from simtoreal import frames
from simtoreal.contracts import Action, Observation, Policy

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
