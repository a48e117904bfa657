"""The learned head: the actor of a reinforcement-learning run as a plain network, without the library that made it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM, HeadInterface

OUTPUT_CLIP = "output_clip"  # present in weights whose last layer is clipped to [-1, 1] instead of squashed by tanh
Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Layer:
    """One linear layer."""

    weight: NDArray[np.float32]  # (outputs, inputs)
    bias: NDArray[np.float32]  # (outputs,)


class LearnedHead:
    """A multilayer perceptron with ReLU and a bounded output; numpy is faster than torch for one small vector.

    Args:
        weights: `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, ... as exported.

    Raises:
        ValueError: layers are missing, do not fit one another, or are not finite.
    """

    def __init__(self, weights: Weights) -> None:
        self._layers: list[Layer] = []
        width = OBSERVATION_DIM
        self._clips = OUTPUT_CLIP in weights
        for i in range(len(weights) // 2):
            try:
                layer = Layer(weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"])
            except KeyError as error:
                raise ValueError(f"head weights lack {error}; they hold {sorted(weights)}") from error
            if layer.weight.shape[1:] != (width,) or layer.bias.shape != layer.weight.shape[:1]:
                raise ValueError(f"head layer {i} has shape {layer.weight.shape}, expected {width} inputs")
            if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
                raise ValueError(f"head layer {i} is not finite")
            self._layers.append(layer)
            width = len(layer.bias)
        if width != ACTION_DIM:
            raise ValueError(f"head ends in {width} outputs, expected {ACTION_DIM}")

    def act(self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface) -> NDArray[np.floating]:
        return self.forward(interface.vector(observation, estimate))

    def forward(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps an observation vector (OBSERVATION_DIM,) to an action vector (ACTION_DIM,) in [-1, 1]."""
        x = vector
        for layer in self._layers[:-1]:
            x = np.maximum(layer.weight @ x + layer.bias, 0.0)
        last = self._layers[-1]
        x = last.weight @ x + last.bias
        return np.asarray(np.clip(x, -1.0, 1.0) if self._clips else np.tanh(x), dtype=np.float32)
