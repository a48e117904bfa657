"""Adapters change nothing at first, and merged weights say what the adapters said."""

import copy

import torch
from bar_scenes import VIEW

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.tuning.adapters import add_adapters, effective_weights, merged
from simtoreal.transfer.tuning.stages import freeze_all_but


def views(num: int = 2) -> torch.Tensor:
    return torch.randn(num, VIEW.num_channels, VIEW.pixels, VIEW.pixels, generator=torch.Generator().manual_seed(0))


def with_adapters(source: GraspNet, trained: bool) -> GraspNet:
    net = copy.deepcopy(source)
    for mover in add_adapters(net, 2, seed=0):
        if trained:
            with torch.no_grad():
                mover.parameters[1].normal_(0.0, 0.1, generator=torch.Generator().manual_seed(1))
    return net


def test_fresh_adapters_are_the_identity_bit_for_bit(source: GraspNet):
    assert torch.equal(with_adapters(source, trained=False)(views()), source(views()))


def test_merged_adapters_answer_as_before_with_plain_weights(source: GraspNet):
    net = with_adapters(source, trained=True)
    said = net(views())
    assert not torch.allclose(said, source(views()), atol=1e-3)
    plain = merged(net, source)
    assert plain.state_dict().keys() == source.state_dict().keys()
    assert torch.equal(plain(views()), said)
    assert torch.equal(net(views()), said), "the net with adapters goes on as it was"


def test_merging_a_net_without_adapters_is_copying_it(source: GraspNet):
    assert torch.equal(merged(source, source)(views()), source(views()))


def test_only_adapters_move_and_they_are_few(source: GraspNet):
    net = copy.deepcopy(source)
    freeze_all_but(net, [])
    moving = add_adapters(net, 2, seed=0)
    before = {name: value.clone() for name, value in net.named_parameters() if "original" in name}
    net(views()).square().mean().backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD([p for mover in moving for p in mover.parameters], lr=1.0).step()
    assert before
    assert all(torch.equal(value, dict(net.named_parameters())[name]) for name, value in before.items())
    assert sum(p.numel() for mover in moving for p in mover.parameters) < 0.5 * sum(
        p.numel() for p in source.parameters()
    )


def test_effective_weights_have_the_names_of_the_plain_net_and_carry_gradients(source: GraspNet):
    net = with_adapters(source, trained=True)
    weights = effective_weights(net)
    assert weights.keys() == dict(source.named_parameters()).keys()
    assert weights["features.join.0.weight"].requires_grad
