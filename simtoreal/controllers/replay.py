"""A recorded episode as a controller: observations come from the log, and what it is sent is compared with the log.

One action is one frame. The arm of a log cannot be moved; `differences` says how far a policy would have gone from it.
`simtoreal.deployment.logs` reads the frames.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simtoreal.contracts import Action, Observation
from simtoreal.schema import ConfigError


class LoggedFrame(NamedTuple):
    """One control period of a log."""

    observation: Observation
    commanded: Action | None  # as it was meant
    sent: Action | None  # as it was let through


class Difference(NamedTuple):
    """An action beside the recorded one of the same frame."""

    frame: int
    translation_m: float  # length of the difference
    rotation_rad: float
    width_m: float


class ReplayController:
    """Answers from the frames of one episode, which it holds in memory.

    Raises:
        ConfigError: there is no frame.
    """

    def __init__(self, frames: Sequence[LoggedFrame], fps: float) -> None:
        if not frames:
            raise ConfigError("the episode to replay has no frames")
        self._frames, self._fps = frames, fps
        self._index = 0
        self.differences: list[Difference] = []

    @property
    def control_hz(self) -> float:
        return self._fps

    @property
    def time_s(self) -> float:
        """Its clock: that of the log, and after its end one period per action."""
        return self._frames[self._at].observation.t_s + (self._index - self._at) / self._fps

    @property
    def is_over(self) -> bool:
        return self._index >= len(self._frames)

    def connect(self) -> None:
        """Nothing to do: the log is in memory."""

    def disconnect(self) -> None:
        """Nothing to let go of."""

    def stop(self) -> None:
        """A log does not move."""

    def reset(self) -> Observation:
        """Goes back to the first frame."""
        self._index = 0
        self.differences.clear()
        return self.get_observation()

    def get_observation(self) -> Observation:
        """The frame that the log has come to; the last one stays."""
        seen = self._frames[self._at].observation
        return copy.deepcopy(seen)._replace(t_s=self.time_s)  # whoever gets it may change it

    def send_action(self, action: Action) -> Action:
        """Compares it, goes to the next frame, and returns what the log says was really sent.

        Raises:
            ValueError: a component is not finite.
        """
        for name in ("delta_m", "delta_rotation_rad", "gripper_width_m"):
            if not np.isfinite(getattr(action, name)).all():
                raise ValueError(f"action: {name} must be finite, got {getattr(action, name)}")
        frame, is_over = self._frames[self._at], self.is_over
        meant = frame.commanded or frame.sent
        if meant is not None and not is_over:
            self.differences.append(_difference(self._index, action, meant))
        self._index += 1
        nothing = Action(np.zeros(3), np.zeros(3), frame.observation.gripper_width_m)
        return nothing if is_over else frame.sent or meant or nothing

    @property
    def _at(self) -> int:
        return min(self._index, len(self._frames) - 1)


def _difference(index: int, action: Action, meant: Action) -> Difference:
    return Difference(
        index,
        float(np.linalg.norm(action.delta_m - meant.delta_m)),
        float(np.linalg.norm(action.delta_rotation_rad - meant.delta_rotation_rad)),
        abs(action.gripper_width_m - meant.gripper_width_m),
    )
