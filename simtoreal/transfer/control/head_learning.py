"""Heads from logs: cloning, advantage-weighted regression, a bounded residual; all stay near the head they start from.

Behaviour cloning imitates successes. Advantage-weighted regression (Peng et al. 2019, arXiv 1910.00177) imitates
everything by how much better it went than could be expected there, failures included. A residual learns with the same
weights what a frozen head did otherwise than the log. Training stops where held-out episodes are best.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from simtoreal.evaluation.statistics import Difference, paired_mean_difference
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM
from simtoreal.policies.learned_head import OUTPUT_CLIP, Weights
from simtoreal.policies.residual_head import BOUND, PREFIX
from simtoreal.transfer.control.head_logs import Transitions

BOUND_FRAC = 0.2  # of the range of an action, for the motion; the jaws are left alone
_TEMPERATURE, _MAX_WEIGHT = 0.15, 10.0  # of advantages
_ANCHOR = 0.3  # weight of staying where the head was, against what the logs say
_STEPS, _EVERY, _BATCH, _RATE = 1500, 100, 256, 3e-4
_RIDGE = 10.0
_HELD_OUT_EVERY = 4  # every so many episodes one is held out
_HIDDEN = 32


class Learned(NamedTuple):
    """Weights to ship, and how near they come to what good episodes did."""

    weights: Weights
    gain: Difference  # of the weighted action error on held-out episodes, positive is nearer to the logs
    steps: int
    num_held_out: int


def advantage_weights(data: Transitions, train: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N,) how much each period is worth imitating; the value of a state is a ridge regression on training episodes."""
    states = np.column_stack([data.observations, np.ones(len(data.observations))]).astype(np.float64)
    A, y = states[train], data.returns[train].astype(np.float64)
    value = states @ np.linalg.solve(A.T @ A + _RIDGE * np.eye(states.shape[1]), A.T @ y)
    weights = np.minimum(np.exp((data.returns - value) / _TEMPERATURE), _MAX_WEIGHT)
    return np.asarray(weights / weights[train].mean(), dtype=np.float32)


def learn_clone(data: Transitions, start: Weights, seed: int) -> Learned:
    """Behaviour cloning of the successes, from the weights of a learned head."""
    return _learn(data, _Copied(start), data.success.astype(np.float32), seed)


def learn_awr(data: Transitions, start: Weights, seed: int) -> Learned:
    """Advantage-weighted regression, from the weights of a learned head."""
    return _learn(data, _Copied(start), advantage_weights(data, _training(data)), seed)


def learn_residual(data: Transitions, seed: int) -> Learned:
    """A bounded residual on whatever head did `data.base`."""
    torch.manual_seed(seed)
    return _learn(data, _Residual(), advantage_weights(data, _training(data)), seed)


def _training(data: Transitions) -> NDArray[np.bool_]:
    kinds = (np.unique(data.episode[data.success == kind]) for kind in (True, False))
    held_out = np.concatenate([order[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY] for order in kinds])
    return np.asarray(~np.isin(data.episode, held_out))


class _Copied(nn.Module):
    """A learned head as a network that can learn on."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._clips = OUTPUT_CLIP in weights
        self.layers = nn.ModuleList()
        for i in range(sum(name.endswith(".weight") for name in weights)):
            weight, bias = weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"]
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(np.array(weight)))
                layer.bias.copy_(torch.from_numpy(np.array(bias)))
            self.layers.append(layer)

    def forward(self, x: Tensor, base: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        x = self.layers[-1](x)
        return x.clamp(-1.0, 1.0) if self._clips else torch.tanh(x)

    def export(self) -> Weights:
        """As `LearnedHead` reads it."""
        weights: Weights = {}
        for i, layer in enumerate(self.layers):
            weights[f"layers.{i}.weight"] = layer.weight.detach().numpy().copy()  # type: ignore[operator]
            weights[f"layers.{i}.bias"] = layer.bias.detach().numpy().copy()  # type: ignore[operator]
        return weights | ({OUTPUT_CLIP: np.ones(1, dtype=np.float32)} if self._clips else {})


class _Residual(nn.Module):
    """A correction that begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(OBSERVATION_DIM, _HIDDEN), nn.Linear(_HIDDEN, ACTION_DIM)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.bound = torch.tensor([BOUND_FRAC] * (ACTION_DIM - 1) + [0.0])

    def forward(self, x: Tensor, base: Tensor) -> Tensor:
        correction = self.bound * torch.tanh(self.last(torch.tanh(self.first(x))))
        return (base + correction).clamp(-1.0, 1.0)

    def export(self) -> Weights:
        """As `ResidualHead` reads it."""
        layers = {f"{PREFIX}{i}.{kind}": getattr(layer, kind).detach().numpy().copy()
                  for i, layer in enumerate((self.first, self.last)) for kind in ("weight", "bias")}  # fmt: skip
        return {**layers, BOUND: self.bound.numpy().copy()}


def _learn(data: Transitions, net: "_Copied | _Residual", weights: NDArray[np.float32], seed: int) -> Learned:
    train = _training(data)
    x, y, base, w = (torch.from_numpy(column) for column in (data.observations, data.actions, data.base, weights))
    with torch.no_grad():
        anchor = net(x, base)
    index = torch.from_numpy(np.flatnonzero(train))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=1e-3)
    errors = _error_of(data, weights, ~train)
    before = errors(anchor)
    best, kept, kept_steps = float(before.mean()), net.export(), 0
    after = before
    for step in range(1, _STEPS + 1):
        batch = index[torch.randint(len(index), (_BATCH,), generator=generator)]
        said = net(x[batch], base[batch])
        apart = (w[batch, None] * (said - y[batch]).abs()).mean()
        loss = apart + _ANCHOR * ((said - anchor[batch]) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % _EVERY == 0:
            with torch.no_grad():
                now = errors(net(x, base))
            if float(now.mean()) < best:
                best, kept, kept_steps, after = float(now.mean()), net.export(), step, now
    gain = paired_mean_difference(before, after, list(range(len(before))), rng=np.random.default_rng((seed, 29)))
    return Learned(kept, gain, kept_steps, len(before))


def _error_of(
    data: Transitions, weights: NDArray[np.float32], held: NDArray[np.bool_]
) -> Callable[[Tensor], NDArray[np.float64]]:
    """The weighted error of actions in each held-out episode that ended well."""
    good = np.unique(data.episode[held & data.success])
    known = [held & (data.episode == number) for number in good]

    def errors(said: Tensor) -> NDArray[np.float64]:
        apart = np.abs(said.numpy() - data.actions).mean(axis=1)
        return np.array([np.average(apart[rows], weights=weights[rows]) for rows in known])

    return errors
