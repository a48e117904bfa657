"""The stages of an encoder in order of depth, and which of their weights move when, at which rate."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.tuning.strategy import Depths

HEADS = ("readout", "surface")


class Stage(NamedTuple):
    """A part of the net whose weights move together."""

    name: str
    module: nn.Module


class Mover(NamedTuple):
    """Weights that move at one rate, from one step on."""

    stage: str
    parameters: list[nn.Parameter]
    rate: float
    first_step: int


def heads(net: GraspNet) -> list[Stage]:
    """The readouts: of the map, and where there is depth of the surface that heights start from."""
    return [Stage(name, module) for name in HEADS if (module := getattr(net, name)) is not None]


def body(net: GraspNet) -> list[Stage]:
    """The stages of the features, nearest to the output first; a module registers its parts in order of use."""
    return [Stage(f"features.{name}", module) for name, module in reversed(list(net.features.named_children()))]


def movers(net: GraspNet, depths: Depths, steps: int) -> list[Mover]:
    """What moves under a plan of rates; everything else shall be frozen."""
    found = [Mover(stage.name, list(stage.module.parameters()), depths.heads, 0) for stage in heads(net)]
    for index, stage in enumerate(body(net)[: depths.num_stages]):
        first_step = round((index + 1) * depths.unfreeze_frac * steps)
        found.append(Mover(stage.name, list(stage.module.parameters()), depths.body * depths.decay**index, first_step))
    return [mover for mover in found if mover.rate > 0 and mover.parameters and mover.first_step <= steps]


def freeze_all_but(net: nn.Module, moving: list[Mover]) -> int:
    """Freezes what does not move; returns how many numbers do."""
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    total = 0
    for mover in moving:
        for parameter in mover.parameters:
            parameter.requires_grad_(True)
            total += parameter.numel()
    return total


def still_waiting(moving: list[Mover], step: int) -> Iterator[nn.Parameter]:
    """Weights whose time has not come: without a gradient the optimizer passes over them."""
    for mover in moving:
        if step < mover.first_step:
            yield from mover.parameters


def make_optimizer(moving: list[Mover], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with one group per mover, whose `peak_lr` a schedule can come back to."""
    peaks = [learning_rate * mover.rate for mover in moving]
    groups = [
        {"params": mover.parameters, "lr": peak, "peak_lr": peak} for mover, peak in zip(moving, peaks, strict=True)
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
