"""Everything but motion: a controller that lets observations through and actions not."""

import numpy as np

from simtoreal.contracts import Action, Controller, Observation
from simtoreal.controllers.replay import ReplayController


class DryRun:
    """A `Controller` around another one that is never moved.

    An arm is left where it stands, also by `reset`. A simulation has no state before its reset, and its time passes in
    its actions: it is sent one that moves nothing. A log cannot be moved: it is shown the action, to compare.
    """

    def __init__(self, controller: Controller, simulated: bool) -> None:
        self.would_send: Action | None = None
        self._inner, self._simulated = controller, simulated
        self._width_m = 0.0

    @property
    def control_hz(self) -> float:
        return self._inner.control_hz

    def connect(self) -> None:
        self._inner.connect()

    def disconnect(self) -> None:
        self._inner.disconnect()

    def reset(self) -> Observation:
        observation = self._inner.reset() if self._simulated else self._inner.get_observation()
        self._width_m = observation.gripper_width_m
        return observation

    def get_observation(self) -> Observation:
        observation = self._inner.get_observation()
        self._width_m = observation.gripper_width_m
        return observation

    def send_action(self, action: Action) -> Action:
        """Notes the action, and returns what was really sent: nothing, or what a log says."""
        self.would_send = action
        if isinstance(self._inner, ReplayController):
            return self._inner.send_action(action)
        nothing = Action(np.zeros(3), np.zeros(3), self._width_m)
        return self._inner.send_action(nothing) if self._simulated else nothing

    def stop(self) -> None:
        self._inner.stop()
