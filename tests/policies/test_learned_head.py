"""The plain head: the right shapes or a reason, and the same numbers as any other implementation of the network."""

import itertools

import numpy as np
import pytest
import torch

from simtoreal import frames
from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM, HeadInterface, HeadScale
from simtoreal.policies.learned_head import OUTPUT_CLIP, LearnedHead, Weights


def make_weights(*widths: int, seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weights[f"layers.{i}.weight"] = rng.normal(0.0, 0.3, (outputs, inputs)).astype(np.float32)
        weights[f"layers.{i}.bias"] = rng.normal(0.0, 0.1, outputs).astype(np.float32)
    return weights


GOOD = make_weights(OBSERVATION_DIM, 16, 8, ACTION_DIM)


@pytest.mark.parametrize("clips", [False, True])
def test_a_head_computes_what_torch_computes(clips: bool):
    layers: list[torch.nn.Module] = []
    for i in range(3):
        weight = torch.from_numpy(GOOD[f"layers.{i}.weight"])
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight, torch.from_numpy(GOOD[f"layers.{i}.bias"])
        layers += [linear, torch.nn.ReLU()]
    layers[-1] = torch.nn.Hardtanh() if clips else torch.nn.Tanh()
    network = torch.nn.Sequential(*layers)
    head = LearnedHead({**GOOD, OUTPUT_CLIP: np.ones(1, np.float32)} if clips else GOOD)
    inputs = np.random.default_rng(1).normal(0.0, 2.0, (32, OBSERVATION_DIM)).astype(np.float32)
    expected = network(torch.from_numpy(inputs)).detach().numpy()
    for x, y in zip(inputs, expected, strict=True):
        assert head.forward(x) == pytest.approx(y, abs=1e-5)


def test_a_head_of_one_layer_is_a_head():
    assert LearnedHead(make_weights(OBSERVATION_DIM, ACTION_DIM)).forward(np.zeros(OBSERVATION_DIM)).shape == (
        ACTION_DIM,
    )


def test_a_head_acts_on_an_observation():
    interface = HeadInterface(HeadScale())
    interface.reset()
    observation = Observation(0.0, None, None, np.eye(3), np.eye(4), frames.top_down((0.5, 0, 0.2), 0.1), 0.08, None)
    interface.see(observation)
    action = LearnedHead(GOOD).act(observation, GraspEstimate(frames.top_down((0.5, 0, 0), 0), 0.04, 0.8), interface)
    assert action.shape == (ACTION_DIM,)
    assert np.abs(action).max() <= 1.0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (make_weights(OBSERVATION_DIM - 1, 16, ACTION_DIM), f"layer 0 .* expected {OBSERVATION_DIM} inputs"),
        (make_weights(OBSERVATION_DIM, 16, ACTION_DIM + 1), f"{ACTION_DIM + 1} outputs, expected {ACTION_DIM}"),
        ({**GOOD, "layers.1.weight": np.zeros((8, 15), np.float32)}, "layer 1 .* expected 16 inputs"),
        ({**GOOD, "layers.1.bias": np.zeros(9, np.float32)}, "layer 1"),
        ({**GOOD, "layers.1.weight": np.zeros(8, np.float32)}, "layer 1"),
        ({**GOOD, "layers.2.bias": np.full(ACTION_DIM, np.nan, np.float32)}, "layer 2 is not finite"),
        ({key: value for key, value in GOOD.items() if key != "layers.1.bias"}, "layers.1.bias|outputs"),
        ({}, "outputs"),
    ],
)
def test_weights_that_are_no_head_are_refused(weights: Weights, message: str):
    with pytest.raises(ValueError, match=message):
        LearnedHead(weights)
