"""Perception encoders: a canonical view in, a dense grasp map out.

`conv_small` is trained from nothing in minutes; the others wrap pretrained backbones, an extra.
"""

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from simtoreal.policies.efficientnet_lite import EfficientNetLite, load_imagenet
from simtoreal.policies.grasp_map import CELL_PX, FIELDS, NUM_FIELDS, NUM_YAWS
from simtoreal.policies.view import CHANNELS, HEIGHT_CHANNEL

NAMES = ("conv_small", "efficientnet_lite", "resnet", "convnext", "dinov2")
_HUB_NAMES = {
    "resnet": "microsoft/resnet-18",
    "convnext": "facebook/convnextv2-atto-1k-224",
    "dinov2": "facebook/dinov2-small",
}
_HEIGHT = FIELDS.index("height")
_NUM_SURFACES = 3
_PRIOR_LOGIT = -4.0  # most cells hold no grasp: training starts from that, not from one half


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder, for which modality, and how wide.

    Raises:
        ValueError: no such encoder or modality, or a width out of range.
    """

    name: str = "conv_small"
    modality: str = "rgbd"
    width: int = 32

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"encoder must be one of {NAMES}, got {self.name!r}")
        if self.modality not in CHANNELS:
            raise ValueError(f"encoder modality must be one of {sorted(CHANNELS)}, got {self.modality!r}")
        if not 8 <= self.width <= 256 or self.width % 8:
            raise ValueError(f"encoder width must be a multiple of 8 in [8, 256], got {self.width}")


class GraspNet(nn.Module):
    """Features at a quarter of the view's resolution, and one 1 x 1 convolution that reads the grasp map off them.

    Where the view has depth, the height of a grasp is read as a difference from a surface that the camera sees there,
    and not from zero: a few centimetres to learn, whether the object is a coin or a tall bottle. Which surface, the
    network chooses: a hand or a neighbour may reach into the cell.

    Args:
        features: views (B, C, P, P) to features (B, num_features, P/4, P/4).
        num_features: how many.
        height_channel: index of the heights among the C, None if the view has none.
    """

    def __init__(self, features: nn.Module, num_features: int, height_channel: int | None) -> None:
        super().__init__()
        self._height_channel = height_channel
        self.surface = None if height_channel is None else nn.Conv2d(num_features, _NUM_SURFACES, 1)
        self.features = features
        self.readout = nn.Conv2d(num_features, NUM_YAWS * NUM_FIELDS, 1)
        assert self.readout.bias is not None
        with torch.no_grad():
            self.readout.weight.mul_(0.1)
            self.readout.bias.zero_()
            self.readout.bias.view(NUM_YAWS, NUM_FIELDS)[:, 0] = _PRIOR_LOGIT

    def forward(self, view: Tensor) -> Tensor:
        """Maps views (B, C, P, P) to (B, NUM_YAWS, NUM_FIELDS, P/4, P/4); quality as a logit."""
        features = self.features(view)
        grasps = torch.unflatten(self.readout(features), 1, (NUM_YAWS, NUM_FIELDS))  # (B, Y, F, h, w)
        if self.surface is not None:
            chosen = (self.surface(features).softmax(1) * self._surfaces(view)).sum(1)  # (B, h, w)
            height = grasps[:, :, _HEIGHT : _HEIGHT + 1] + chosen[:, None, None]
            grasps = torch.cat([grasps[:, :, :_HEIGHT], height, grasps[:, :, _HEIGHT + 1 :]], 2)
        return grasps

    def _surfaces(self, view: Tensor) -> Tensor:
        """Heights (B, _NUM_SURFACES, h, w) to choose from: highest and lowest in the cell, highest around it."""
        heights = view[:, self._height_channel, None]
        highest = nn.functional.max_pool2d(heights, CELL_PX)
        lowest = -nn.functional.max_pool2d(-heights, CELL_PX)
        around = nn.functional.max_pool2d(highest, 3, 1, 1)
        return torch.cat([highest, lowest, around], 1)


def build_encoder(spec: EncoderSpec, weights: Path | None = None, pretrained: bool = False) -> GraspNet:
    """Makes an encoder with fresh weights, or around a pretrained backbone.

    Args:
        weights: local folder of a backbone in the format of `transformers`.
        pretrained: load backbone weights, from `weights` or else from the hub, those of `efficientnet_lite` from their
            package; without it only the architecture is made, to be filled from a bundle.

    Raises:
        ModuleNotFoundError: the backbone needs the `backbones` extra.
        OSError: the weights are not where they should be.
    """
    num_channels, num_features = CHANNELS[spec.modality], 2 * spec.width
    features: nn.Module
    if spec.name == "conv_small":
        features = ConvSmall(num_channels, spec.width)
    elif spec.name == "efficientnet_lite":
        features = EfficientNetLite(num_channels, num_features)
        if pretrained:
            load_imagenet(features)
    else:
        features = BackboneFeatures(_load_backbone(spec.name, weights, pretrained), num_channels, num_features)
    return GraspNet(features, num_features, HEIGHT_CHANNEL[spec.modality])


def for_inference(net: GraspNet) -> GraspNet:
    """A copy that computes the same in less time: normalisation becomes part of the convolution before it.

    Weights lie in memory with the channels last, which is the order that a convolution over few pixels reads them in.
    """
    copied = copy.deepcopy(net).eval()
    for block in list(copied.modules()):
        if isinstance(block, nn.Sequential):
            _fold(block)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # torch's stub


def _fold(block: nn.Sequential) -> None:
    for i in reversed(range(len(block) - 1)):
        convolution, norm = block[i], block[i + 1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            rectified = isinstance(block[i + 2], nn.ReLU) if i + 2 < len(block) else False
            block[i] = Folded(nn.utils.fusion.fuse_conv_bn_eval(convolution, norm), rectified)
            del block[i + 1 : i + 2 + rectified]


class Folded(nn.Module):
    """Convolution, normalisation and rectifier in one call: a small network spends much of its time between calls."""

    def __init__(self, convolution: nn.Conv2d, rectified: bool) -> None:
        super().__init__()
        self._convolution = convolution
        self._rectified = rectified

    def forward(self, x: Tensor) -> Tensor:
        y = self._convolution.forward(x)
        return y.relu_() if self._rectified else y


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _block(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y.add_(x).relu_()


class ConvSmall(nn.Module):
    """A small hourglass: 1/4 and 1/8 resolution, with the whole scene in view at 1/16 before going back up."""

    def __init__(self, num_channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_block(num_channels, width // 2, 2), _block(width // 2, width, 2))  # 1/4
        self.fine = Residual(width)
        self.down = nn.Sequential(_block(width, 2 * width, 2), Residual(2 * width))  # 1/8
        self.coarse = nn.Sequential(_block(2 * width, 2 * width, 2), Residual(2 * width))  # 1/16
        self.up_middle = nn.Conv2d(2 * width, 2 * width, 1)
        self.up_fine = nn.Conv2d(2 * width, width, 1)
        self.join = _block(width, 2 * width)

    def forward(self, view: Tensor) -> Tensor:
        fine = self.fine(self.stem(view))  # (B, w, P/4, P/4)
        middle = self.down(fine)  # (B, 2w, P/8, P/8)
        coarse = self.coarse(middle)  # (B, 2w, P/16, P/16)
        middle = middle + _resize(self.up_middle(coarse), middle)
        fine = fine + _resize(self.up_fine(middle), fine)
        joined: Tensor = self.join(fine)  # (B, 2w, P/4, P/4)
        return joined


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return nn.functional.interpolate(x, size=like.shape[-2:], mode="nearest")


class BackboneFeatures(nn.Module):
    """A pretrained image backbone behind a stem that maps any channels to three, and a neck to the map's resolution."""

    def __init__(self, backbone: nn.Module, num_channels: int, num_features: int) -> None:
        super().__init__()
        self.adapt = nn.Conv2d(num_channels, 3, 1)
        with torch.no_grad():  # colour passes unchanged at first; other channels are added as they prove useful
            self.adapt.weight.zero_()
            for c in range(min(3, num_channels)):
                self.adapt.weight[c, c] = 1.0
        self.backbone = backbone
        config: Any = backbone.config
        sizes: list[int] | None = getattr(config, "hidden_sizes", None)
        self.is_vit = sizes is None
        self.patch_px = int(config.patch_size) if self.is_vit else 0
        self.neck = nn.ModuleList(nn.Conv2d(size, num_features, 1) for size in sizes or [config.hidden_size])
        self.smooth = _block(num_features, num_features)

    def forward(self, view: Tensor) -> Tensor:
        cells = (view.shape[-2] // CELL_PX, view.shape[-1] // CELL_PX)
        image = self.adapt(view)
        maps = self._vit_maps(image) if self.is_vit else self._stage_maps(image)
        total = torch.zeros(())
        for neck, feature in zip(self.neck, maps, strict=True):
            total = total + nn.functional.interpolate(neck(feature), size=cells, mode="bilinear", align_corners=False)
        smooth: Tensor = self.smooth(total)
        return smooth

    def _stage_maps(self, image: Tensor) -> list[Tensor]:
        hidden = self.backbone(pixel_values=image, output_hidden_states=True).hidden_states
        return list(hidden[-len(self.neck) :])

    def _vit_maps(self, image: Tensor) -> list[Tensor]:
        rows, columns = (math.ceil(n / self.patch_px) for n in image.shape[-2:])
        size = (rows * self.patch_px, columns * self.patch_px)
        image = nn.functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
        tokens = self.backbone(pixel_values=image).last_hidden_state[:, -rows * columns :]  # (B, N, D)
        return [tokens.transpose(1, 2).unflatten(2, (rows, columns))]


def _load_backbone(name: str, weights: Path | None, pretrained: bool) -> nn.Module:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"encoder={name} needs the extra: pip install 'simtoreal[backbones]' (it brings transformers)"
        ) from error
    if pretrained:
        source = str(weights) if weights is not None else _HUB_NAMES[name]
        if weights is not None and not (weights / "config.json").is_file():
            raise FileNotFoundError(f"encoder_weights={weights} holds no config.json; give a transformers model folder")
        # safetensors only: a pickled checkpoint could run code.
        backbone: nn.Module = transformers.AutoModel.from_pretrained(source, use_safetensors=True)
        return backbone
    configs = {
        "resnet": lambda: transformers.ResNetConfig(
            hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic"
        ),
        "convnext": lambda: transformers.ConvNextV2Config(hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2]),
        "dinov2": lambda: transformers.Dinov2Config(hidden_size=384, num_attention_heads=6),
    }
    built: nn.Module = transformers.AutoModel.from_config(configs[name]())
    return built
