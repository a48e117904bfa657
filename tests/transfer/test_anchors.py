"""Anchors are without force at the source and pull back to it, most where simulation needs a weight."""

import copy

import pytest
import torch
from bar_scenes import VIEW

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.tuning.anchors import anchor_at, as_targets, ewc, fisher, l2sp
from simtoreal.transfer.tuning.training import Domain


def moved(source: GraspNet, far: float) -> GraspNet:
    net = copy.deepcopy(source).requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(far * torch.randn(parameter.shape, generator=generator))
    return net


def distance(net: GraspNet, source: GraspNet) -> float:
    return sum(((a - b) ** 2).sum().item() for a, b in zip(net.parameters(), source.parameters(), strict=True))


def test_at_the_source_there_is_no_force(source: GraspNet):
    assert l2sp(moved(source, 0.0), anchor_at(source)).item() == 0.0


def test_l2sp_is_half_the_squared_distance(source: GraspNet):
    net = moved(source, 0.01)
    assert l2sp(net, anchor_at(source)).item() == pytest.approx(0.5 * distance(net, source), rel=1e-4)


def test_frozen_weights_are_not_counted(source: GraspNet):
    assert l2sp(moved(source, 0.01).requires_grad_(False), anchor_at(source)).item() == 0.0


def test_fisher_is_scaled_to_one_and_leaves_the_net_alone(domain: Domain):
    assert domain.simulated is not None
    net = copy.deepcopy(domain.source)
    before = copy.deepcopy(net.state_dict())
    importance = fisher(net, domain.simulated, VIEW, seed=0)
    values = torch.cat([value.flatten() for value in importance.values()])
    assert float(values.mean()) == pytest.approx(1.0, rel=1e-3)
    assert float(values.min()) >= 0.0
    assert float(values.max()) > 10.0, "some weights matter much more than others"
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_ewc_pulls_back_the_important_weights_first(domain: Domain):
    assert domain.simulated is not None
    importance = fisher(copy.deepcopy(domain.source), domain.simulated, VIEW, seed=0)
    anchor = anchor_at(domain.source, importance)
    net = moved(domain.source, 0.05)
    before = ewc(net, anchor).item()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    for _ in range(20):
        optimizer.zero_grad()
        ewc(net, anchor).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert ewc(net, anchor).item() < 0.9 * before
    kept = moved(domain.source, 0.05)
    for name, now, then in zip(importance, net.parameters(), kept.parameters(), strict=False):
        if float(importance[name].max()) == 0.0:
            assert torch.equal(now, then), "what simulation does not need is free to move"


def test_ewc_without_fisher_is_refused(source: GraspNet):
    with pytest.raises(ValueError, match="Fisher"):
        ewc(moved(source, 0.1), anchor_at(source))


def test_targets_of_a_teacher_are_probabilities_and_detached(source: GraspNet):
    maps = source(torch.zeros(1, VIEW.num_channels, VIEW.pixels, VIEW.pixels)).requires_grad_(True)
    taught = as_targets(maps)
    assert not taught.requires_grad
    assert torch.allclose(taught[:, :, 0], maps[:, :, 0].sigmoid())
    assert torch.equal(taught[:, :, 1:], maps[:, :, 1:])
