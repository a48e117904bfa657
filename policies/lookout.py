"""Going back to look again: close to the table a camera on the wrist sees a corner of the scene, and guesses."""

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import FloatArray, Observation
from simtoreal.head_interface import ACTION_DIM, HeadInterface

_ARRIVED_M = 0.10  # from here as much is seen as from there, and time is short
_CLEAR_M = 0.06  # straight up for this far, or the fingers would sweep what stands around them
_BELOW_M = 0.08  # a tool lower than this under the lookout has something to gain from going back
_PATIENCE_S = 3.0


class Lookout:
    """The tool pose of an episode's first image, and the way back to it with open jaws."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._T_base_tcp: FloatArray | None = None
        self._from_z_m = 0.0
        self._left_s = 0.0

    def begin(self, observation: Observation) -> None:
        """Remembers the first pose; later calls change nothing."""
        if self._T_base_tcp is None:
            self._T_base_tcp = observation.T_base_tcp.copy()

    def is_above(self, observation: Observation) -> bool:
        """Whether the scene can be seen better from there than from here."""
        assert self._T_base_tcp is not None
        return bool(self._T_base_tcp[2, 3] - observation.T_base_tcp[2, 3] > _BELOW_M)

    def go_back(self, observation: Observation) -> None:
        """From now on `step` leads back, until the tool is there."""
        self._from_z_m = float(observation.T_base_tcp[2, 3])
        self._left_s = _PATIENCE_S

    def step(self, observation: Observation, interface: HeadInterface) -> NDArray[np.float64] | None:
        """One action vector (ACTION_DIM,) on the way back; None when there is nowhere to go."""
        if self._left_s <= 0.0:
            return None
        assert self._T_base_tcp is not None
        error, _ = interface.errors(observation, self._T_base_tcp)
        self._left_s -= 1.0 / interface.scale.control_hz
        if float(np.linalg.norm(error)) < _ARRIVED_M:
            self._left_s = 0.0
            return None
        lead, _ = interface.lead(observation)
        risen_m = observation.T_base_tcp[2, 3] - self._from_z_m
        error[:2] *= float(np.clip(risen_m / _CLEAR_M, 0.0, 1.0))
        step = (error - lead) / interface.scale.max_delta_m
        action = np.zeros(ACTION_DIM)
        action[:3] = step / max(1.0, float(np.abs(step).max()))
        action[4] = 1.0
        return action
