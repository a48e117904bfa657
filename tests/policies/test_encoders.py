"""Encoders: the shapes of the grasp map, a sane start, and one of them learning."""

from pathlib import Path

import pytest
import torch

from simtoreal.policies.encoders import EncoderSpec, build_encoder, for_inference
from simtoreal.policies.grasp_map import CELL_PX, FIELDS, NUM_FIELDS, NUM_YAWS
from simtoreal.policies.view import CHANNELS, HEIGHT_CHANNEL


@pytest.mark.parametrize(("modality", "pixels"), [("rgbd", 64), ("rgb", 96), ("depth", 32)])
def test_a_view_becomes_a_grasp_map_at_a_quarter_of_its_size(modality: str, pixels: int):
    net = build_encoder(EncoderSpec("conv_small", modality, 8)).eval()
    grasp_map = net(torch.randn(2, CHANNELS[modality], pixels, pixels))
    assert grasp_map.shape == (2, NUM_YAWS, NUM_FIELDS, pixels // CELL_PX, pixels // CELL_PX)


def test_a_new_encoder_believes_in_few_grasps():
    torch.manual_seed(0)
    net = build_encoder(EncoderSpec(width=16)).eval()
    with torch.inference_mode():
        quality = net(torch.randn(4, 6, 64, 64))[:, :, 0].sigmoid()
    assert 0.005 < float(quality.mean()) < 0.05


@pytest.mark.parametrize("modality", sorted(CHANNELS))
def test_the_fast_copy_computes_the_same(modality: str):
    net = build_encoder(EncoderSpec(modality=modality, width=16))
    for _ in range(5):  # statistics that are not those of a new net
        net(torch.randn(8, CHANNELS[modality], 64, 64) + 1.0)
    net.eval()
    view = torch.randn(2, CHANNELS[modality], 64, 64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.inference_mode():
        assert torch.allclose(for_inference(net)(view), net(view), atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_every_weight_gets_a_gradient():
    net = build_encoder(EncoderSpec(width=8))
    net(torch.randn(2, 6, 64, 64)).square().mean().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in net.parameters())


@pytest.mark.parametrize("modality", ["rgbd", "depth"])
def test_a_new_encoder_takes_the_height_of_a_grasp_from_what_it_sees(modality: str):
    torch.manual_seed(0)
    net = build_encoder(EncoderSpec(modality=modality, width=8)).eval()
    view = 0.1 * torch.randn(1, CHANNELS[modality], 64, 64)
    raised = view.clone()
    raised[:, HEIGHT_CHANNEL[modality], 20:36, 20:36] += 1.5
    with torch.inference_mode():
        change = (net(raised) - net(view))[0, :, FIELDS.index("height")]  # (Y, h, w)
    assert change[:, 6:8, 6:8] == pytest.approx(1.5, abs=0.4)
    assert change[:, :3, :3].abs().max() < 0.4


def test_what_lies_far_away_in_the_view_can_be_taken_into_account():
    net = build_encoder(EncoderSpec(width=8)).eval()
    view = torch.randn(1, 6, 64, 64, requires_grad=True)
    net(view)[0, :, :, 8, 8].sum().backward()
    assert view.grad is not None
    seen = view.grad[0].abs().sum(0) > 0
    assert seen.float().mean() > 0.9


@pytest.mark.parametrize(
    ("field", "value"), [("name", "alexnet"), ("modality", "lidar"), ("width", 12), ("width", 0), ("width", 512)]
)
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
