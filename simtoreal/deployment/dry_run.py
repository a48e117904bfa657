"""Everything but motion: a controller that lets observations through and actions not."""

import numpy as np

from simtoreal.contracts import Action, Controller, Observation


class DryRun:
    """A `Controller` around another one that is never moved: `send_action` and `reset` only note what they were asked.

    The time of a simulation passes in its actions, so it is sent one that moves nothing.
    """

    def __init__(self, controller: Controller, needs_reset: bool) -> None:
        """`needs_reset`: a simulation, which has no state before; an arm is left where it stands."""
        self.would_send: Action | None = None
        self._inner, self._needs_reset = controller, needs_reset

    @property
    def control_hz(self) -> float:
        return self._inner.control_hz

    def connect(self) -> None:
        self._inner.connect()

    def disconnect(self) -> None:
        self._inner.disconnect()

    def reset(self) -> Observation:
        observation = self._inner.reset() if self._needs_reset else self._inner.get_observation()
        self._width_m = observation.gripper_width_m
        return observation

    def get_observation(self) -> Observation:
        observation = self._inner.get_observation()
        self._width_m = observation.gripper_width_m
        return observation

    def send_action(self, action: Action) -> Action:
        """Returns what was really sent: nothing."""
        self.would_send = action
        nothing = Action(np.zeros(3), np.zeros(3), self._width_m)
        return self._inner.send_action(nothing) if self._needs_reset else nothing

    def stop(self) -> None:
        self._inner.stop()
