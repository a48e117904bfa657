"""Low-rank adapters beside frozen convolutions (LoRA, Hu et al., arXiv 2106.09685), merged into plain weights."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from simtoreal.transfer.tuning.stages import Mover

Net = TypeVar("Net", bound=nn.Module)


class LowRank(nn.Module):
    """Adds a product of two thin matrices to a convolution's weight (O, I, k, k); zero at first.

    Args:
        weight: of the convolution.
        rank: of the product.
        generator: draws the first factor.
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        first = torch.randn(rank, columns, generator=generator) / columns**0.5
        self.down = nn.Parameter(first.to(weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view_as(weight)


def add_adapters(net: nn.Module, rank: int, seed: int) -> list[Mover]:
    """Puts an adapter beside every convolution of a net; returns the adapters as what shall move."""
    generator = torch.Generator().manual_seed(seed)
    moving = []
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.Conv2d):
            adapter = LowRank(module.weight.detach(), min(rank, module.weight.shape[0]), generator)
            parametrize.register_parametrization(module, "weight", adapter)
            moving.append(Mover(f"{name}.adapter", list(adapter.parameters()), 1.0, 0))
    return moving


def merged(net: Net, plain: Net) -> Net:
    """A copy of a net in which what the adapters add up to is part of plain weights.

    torch could take the adapters off the net itself, but that changes a class which copies of the net share.

    Args:
        net: with adapters, or without; left as it is.
        plain: a net of the same form without adapters, to copy.
    """
    copied = copy.deepcopy(plain)
    values = {**effective_weights(net), **dict(net.named_buffers())}
    copied.load_state_dict({name: value.detach().clone() for name, value in values.items()})
    return copied


def effective_weights(net: nn.Module) -> dict[str, Tensor]:
    """Weights by the name that they have in a net without adapters, adapters added; gradients flow through."""
    found: dict[str, Tensor] = {}
    for name, parameter in net.named_parameters():
        if ".parametrizations." not in f".{name}":
            found[name] = parameter
    for name, module in net.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            found[f"{name}.weight"] = module.weight
    return found
