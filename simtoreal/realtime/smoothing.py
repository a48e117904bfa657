"""Action smoothing: a first-order filter over the motion that a policy asks for; nothing of it is lost, only later."""

import math

import numpy as np

from simtoreal.contracts import Action, Observation, Policy


class SmoothActions:
    """Wraps a policy; jaws are not smoothed.

    Args:
        policy: whose motion is filtered.
        time_constant_s: after so long 63 % of a step of the action has come through; 0 changes nothing.
        control_hz: periods per second.

    Raises:
        ValueError: the time constant is negative.
    """

    def __init__(self, policy: Policy, time_constant_s: float, control_hz: float) -> None:
        if not time_constant_s >= 0.0:
            raise ValueError(f"time_constant_s={time_constant_s} must not be negative")
        self._policy = policy
        self._share = 1.0 if time_constant_s == 0.0 else 1.0 - math.exp(-1.0 / (control_hz * time_constant_s))
        self._motion = np.zeros(6)

    def reset(self) -> None:
        self._motion = np.zeros(6)
        self._policy.reset()

    def act(self, observation: Observation) -> Action:
        action = self._policy.act(observation)
        wanted = np.concatenate([action.delta_m, action.delta_rotation_rad])
        self._motion = self._motion + self._share * (wanted - self._motion)
        return Action(self._motion[:3].copy(), self._motion[3:].copy(), action.gripper_width_m)

    def sent(self, action: Action) -> None:
        self._policy.sent(action)
