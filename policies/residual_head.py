"""A small learned correction on top of a frozen head, which may be the scripted servo.

It moves the tool by at most a share of what an action can do, and leaves the jaws to the head: whatever it has learned
wrong stays small. Before it has learned anything it is zero.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM, HeadInterface
from simtoreal.policies.learned_head import Weights

PREFIX, BOUND = "residual.", "residual.bound"
MAX_BOUND = 0.5


class BaseHead(Protocol):
    """What is corrected."""

    def act(
        self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface
    ) -> NDArray[np.floating]: ...


def split_residual(weights: Weights) -> tuple[Weights, Weights]:
    """The weights of the head proper, and those of its residual; either may be empty."""
    residual = {name: value for name, value in weights.items() if name.startswith(PREFIX)}
    return {name: value for name, value in weights.items() if name not in residual}, residual


class ResidualHead:
    """A head and its correction.

    Args:
        base: the frozen head.
        weights: `residual.0.weight`, `residual.0.bias`, ... of a network with tanh, and `residual.bound` (ACTION_DIM,).

    Raises:
        ValueError: a weight is missing, does not fit, is not finite, or the bound is too wide.
    """

    def __init__(self, base: BaseHead, weights: Weights) -> None:
        self.base = base
        try:
            self._bound = np.asarray(weights[BOUND], dtype=np.float64)
            num = (len(weights) - 1) // 2
            self._layers = [(weights[f"{PREFIX}{i}.weight"], weights[f"{PREFIX}{i}.bias"]) for i in range(num)]
        except KeyError as error:
            raise ValueError(f"residual weights lack {error}; they hold {sorted(weights)}") from error
        if self._bound.shape != (ACTION_DIM,) or not ((self._bound >= 0) & (self._bound <= MAX_BOUND)).all():
            raise ValueError(f"residual.bound must be {ACTION_DIM} numbers in [0, {MAX_BOUND}], got {self._bound}")
        width = OBSERVATION_DIM
        for i, (weight, bias) in enumerate(self._layers):
            if weight.shape[1:] != (width,) or bias.shape != weight.shape[:1]:
                raise ValueError(f"residual layer {i} has shape {weight.shape}, expected {width} inputs")
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise ValueError(f"residual layer {i} is not finite")
            width = len(bias)
        if not self._layers or width != ACTION_DIM:
            raise ValueError(f"the residual ends in {width} outputs, expected {ACTION_DIM}")

    def act(self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface) -> NDArray[np.floating]:
        base = self.base.act(observation, estimate, interface)
        return np.clip(base + self.correction(interface.vector(observation, estimate)), -1.0, 1.0)

    def correction(self, vector: NDArray[np.float32]) -> NDArray[np.float64]:
        """What is added (ACTION_DIM,) in view of an observation vector (OBSERVATION_DIM,)."""
        x = np.asarray(vector, dtype=np.float64)
        for weight, bias in self._layers:
            x = np.tanh(weight @ x + bias)
        return self._bound * x
