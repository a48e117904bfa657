"""Running statistics of normalisation layers: estimated from real frames, kept apart from those of simulation."""

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from simtoreal.policies.encoders import GraspNet

Buffers = dict[str, Tensor]
_PRIOR_FRAMES = 32.0  # the source's statistics count as much as this many frames


def statistics_of(net: nn.Module) -> Buffers:
    """A copy of all buffers: running means, variances and counts."""
    return {name: value.detach().clone() for name, value in net.named_buffers()}


def adapt_statistics(net: GraspNet, inputs: Tensor) -> None:
    """Moves running means and variances to those of real frames (B, C, P, P); no label is needed and no weight moves.

    The estimate is shrunk towards the source, as if that had seen 32 frames (Schneider et al., arXiv 2006.16971): a few
    frames of one object say little about variances.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    if not layers or not len(inputs):
        return
    measured = copy.deepcopy(net).train()
    twins = [module for module in measured.modules() if isinstance(module, nn.BatchNorm2d)]
    for twin in twins:
        twin.momentum = 1.0  # the statistics of this very batch
    with torch.no_grad():
        measured(inputs)
    share = len(inputs) / (len(inputs) + _PRIOR_FRAMES)
    for layer, twin in zip(layers, twins, strict=True):
        for name in ("running_mean", "running_var"):
            getattr(layer, name).lerp_(getattr(twin, name), share)


def forward_with(net: GraspNet, statistics: Buffers | None, inputs: Tensor) -> Tensor:
    """The net's answer with other running statistics in place of its own: one set of weights for two domains."""
    if statistics is None:
        maps: Tensor = net(inputs)
        return maps
    replaced: Tensor = functional_call(net, {name: value.clone() for name, value in statistics.items()}, (inputs,))
    return replaced
