"""What holds a net back at its source: L2-SP, elastic weight consolidation, distillation."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from simtoreal.policies.encoders import GraspNet
from simtoreal.policies.view import ViewSpec
from simtoreal.pretraining.frame_sets import FrameSet
from simtoreal.pretraining.perception import grasp_loss, make_batch
from simtoreal.transfer.tuning.adapters import effective_weights

_FISHER_FRAMES = 64  # one gradient each


class Anchor(NamedTuple):
    """Where the weights were, and how much each is needed there."""

    weights: Mapping[str, Tensor]
    importance: Mapping[str, Tensor] | None = None  # the diagonal of the Fisher information, mean 1


def anchor_at(net: nn.Module, importance: Mapping[str, Tensor] | None = None) -> Anchor:
    """Remembers the weights of a net."""
    return Anchor({name: value.detach().clone() for name, value in net.named_parameters()}, importance)


def l2sp(net: nn.Module, anchor: Anchor) -> Tensor:
    """Squared distance from the source, halved (Li et al., arXiv 1802.01483)."""
    return _distance(net, anchor.weights, None)


def ewc(net: nn.Module, anchor: Anchor) -> Tensor:
    """The same, each weight counted by its importance (Kirkpatrick et al., arXiv 1612.00796).

    Raises:
        ValueError: the anchor knows no importance.
    """
    if anchor.importance is None:
        raise ValueError("elastic weight consolidation needs the Fisher information of the source")
    return _distance(net, anchor.weights, anchor.importance)


def _distance(net: nn.Module, source: Mapping[str, Tensor], importance: Mapping[str, Tensor] | None) -> Tensor:
    total = torch.zeros((), device=next(net.parameters()).device)
    for name, value in effective_weights(net).items():
        if value.requires_grad:
            squared = (value - source[name]) ** 2
            total = total + (squared if importance is None else importance[name] * squared).sum()
    return 0.5 * total


def fisher(net: GraspNet, frames: FrameSet, view: ViewSpec, seed: int) -> dict[str, Tensor]:
    """Diagonal of the empirical Fisher information on simulated frames, scaled to a mean of 1.

    The scale makes the weight of the penalty mean the same for every net and set of frames.
    """
    net.eval()
    rng = np.random.default_rng((seed, 71))
    device = next(net.parameters()).device
    wanted = {name: parameter.requires_grad for name, parameter in net.named_parameters()}
    net.requires_grad_(True)
    totals = {name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()}
    for index in rng.choice(len(frames), size=min(_FISHER_FRAMES, len(frames)), replace=False):
        inputs, targets = make_batch(frames, np.array([index]), view, rng)
        net.zero_grad(set_to_none=True)
        grasp_loss(net(inputs.to(device)), targets.to(device)).backward()  # type: ignore[no-untyped-call]
        for name, parameter in net.named_parameters():
            if parameter.grad is not None:
                totals[name] += parameter.grad**2
    net.zero_grad(set_to_none=True)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(wanted[name])
    mean = float(torch.cat([total.flatten() for total in totals.values()]).mean())
    return {name: total / max(mean, 1e-30) for name, total in totals.items()}


def as_targets(maps: Tensor) -> Tensor:
    """What a net says, as targets for another: quality in [0, 1] in place of its logit."""
    targets = maps.detach().clone()
    targets[:, :, 0] = targets[:, :, 0].sigmoid()
    return targets
