"""Statistics follow the real frames, shrunk to the source, and two domains can have their own on one set of weights."""

import copy

import pytest
import torch
from bar_scenes import VIEW
from torch import nn

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.tuning.normalisation import adapt_statistics, forward_with, statistics_of


def views(num: int, offset: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return offset + torch.randn(num, VIEW.num_channels, VIEW.pixels, VIEW.pixels, generator=generator)


def first_norm(net: GraspNet) -> nn.BatchNorm2d:
    return next(module for module in net.modules() if isinstance(module, nn.BatchNorm2d))


def test_the_estimate_lies_between_source_and_frames_by_their_number(source: GraspNet):
    wanted = copy.deepcopy(source)
    first_norm(wanted).momentum = 1.0
    first_norm(wanted).train()
    wanted(views(32, 3.0))
    net = copy.deepcopy(source)
    adapt_statistics(net, views(32, 3.0))  # as many as the source counts for
    half = 0.5 * (first_norm(source).running_mean + first_norm(wanted).running_mean)
    assert torch.allclose(first_norm(net).running_mean, half, atol=1e-4)
    assert not net.training


def test_no_frames_change_nothing(source: GraspNet):
    net = copy.deepcopy(source)
    adapt_statistics(net, views(4)[:0])
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), source.buffers(), strict=True))


def test_one_set_of_weights_answers_for_two_domains(source: GraspNet):
    kept = statistics_of(source)
    net = copy.deepcopy(source)
    adapt_statistics(net, views(64, 3.0))
    adapted = net(views(2))
    assert torch.equal(forward_with(net, kept, views(2)), source(views(2)))
    assert not torch.equal(adapted, source(views(2)))
    assert torch.equal(net(views(2)), adapted), "the net keeps its own"


def test_weights_learn_through_the_statistics_of_the_other_domain(source: GraspNet):
    net = copy.deepcopy(source).requires_grad_(True)
    forward_with(net, statistics_of(source), views(1)).square().mean().backward()  # type: ignore[no-untyped-call]
    gradient = net.readout.weight.grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("num", [1, 200])
def test_variances_stay_positive(source: GraspNet, num: int):
    net = copy.deepcopy(source)
    adapt_statistics(net, torch.zeros(num, VIEW.num_channels, VIEW.pixels, VIEW.pixels))
    assert all(float(m.running_var.min()) > 0 for m in net.modules() if isinstance(m, nn.BatchNorm2d))
