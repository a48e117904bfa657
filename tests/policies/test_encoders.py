"""Encoders: the shapes of the grasp map, a sane start, and one of them learning."""

from pathlib import Path

import pytest
import torch

from simtoreal.policies.encoders import EncoderSpec, build_encoder
from simtoreal.policies.grasp_map import CELL_PX, NUM_FIELDS, NUM_YAWS


@pytest.mark.parametrize(("num_channels", "pixels"), [(6, 64), (5, 96), (3, 32)])
def test_a_view_becomes_a_grasp_map_at_a_quarter_of_its_size(num_channels: int, pixels: int):
    net = build_encoder(EncoderSpec("conv_small", num_channels, 8)).eval()
    grasp_map = net(torch.randn(2, num_channels, pixels, pixels))
    assert grasp_map.shape == (2, NUM_YAWS, NUM_FIELDS, pixels // CELL_PX, pixels // CELL_PX)


def test_a_new_encoder_believes_in_few_grasps():
    torch.manual_seed(0)
    net = build_encoder(EncoderSpec(width=16)).eval()
    with torch.inference_mode():
        quality = net(torch.randn(4, 6, 64, 64))[:, :, 0].sigmoid()
    assert 0.005 < float(quality.mean()) < 0.05


def test_every_weight_gets_a_gradient():
    net = build_encoder(EncoderSpec(width=8))
    net(torch.randn(2, 6, 64, 64)).square().mean().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in net.parameters())


def test_what_lies_far_away_in_the_view_can_be_taken_into_account():
    net = build_encoder(EncoderSpec(width=8)).eval()
    view = torch.randn(1, 6, 64, 64, requires_grad=True)
    net(view)[0, :, :, 8, 8].sum().backward()
    assert view.grad is not None
    seen = view.grad[0].abs().sum(0) > 0
    assert seen.float().mean() > 0.9


@pytest.mark.parametrize(("field", "value"), [("name", "alexnet"), ("width", 12), ("width", 0), ("width", 512)])
def test_an_encoder_that_there_is_not_is_refused(field: str, value: object):
    with pytest.raises(ValueError, match="encoder"):
        EncoderSpec(**{field: value})


@pytest.mark.parametrize("name", ["resnet", "convnext", "dinov2"])
def test_backbones_fill_the_same_place(name: str):
    pytest.importorskip("transformers", reason="an extra: pip install 'simtoreal[backbones]'")
    net = build_encoder(EncoderSpec(name)).eval()
    with torch.inference_mode():
        assert net(torch.randn(1, 6, 64, 64)).shape == (1, NUM_YAWS, NUM_FIELDS, 16, 16)


def test_a_backbone_without_its_library_or_weights_says_what_to_do(tmp_path: Path):
    try:
        import transformers  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'simtoreal\[backbones\]'"):
            build_encoder(EncoderSpec("resnet"))
    else:
        with pytest.raises(FileNotFoundError, match=r"config\.json"):
            build_encoder(EncoderSpec("resnet"), weights=tmp_path, pretrained=True)
