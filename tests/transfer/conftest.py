"""A small net that has learned bars in simulation, and a domain to fine-tune it in."""

import io
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from bar_scenes import VIEW, real_frames, simulated_frames
from rich.console import Console

from simtoreal.bundle import Bundle, CameraRecord, save_bundle
from simtoreal.camera import CameraModel
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.encoders import EncoderSpec, GraspNet, build_encoder
from simtoreal.policies.load import encoder_weights
from simtoreal.policies.parts import view_record
from simtoreal.pretraining.perception import grasp_loss, make_batch
from simtoreal.progress import Progress
from simtoreal.transfer.tuning.training import Domain

SPEC = EncoderSpec(width=8)


@pytest.fixture(scope="session")
def quiet() -> Progress:
    return Progress(Console(file=io.StringIO()))


@pytest.fixture(scope="session")
def trained() -> GraspNet:
    """The source: trained for a moment on blue bars."""
    torch.manual_seed(0)
    net, frames = build_encoder(SPEC), simulated_frames(64)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    rng = np.random.default_rng(0)
    for _ in range(90):
        inputs, wanted = make_batch(frames, rng.integers(len(frames), size=16), VIEW, rng)
        loss = grasp_loss(net(inputs), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return net.eval().requires_grad_(False)


@pytest.fixture
def source(trained: GraspNet) -> GraspNet:
    """The source, with a guard: whoever trains must leave it as it is."""
    return trained


@pytest.fixture(scope="session")
def domain(trained: GraspNet) -> Domain:
    """Six episodes with red bars, and simulated frames with blue ones."""
    return Domain(SPEC, VIEW, trained, real_frames(6, 3, bare=2), simulated_frames(24, seed=200))


@pytest.fixture(scope="session")
def source_folder(trained: GraspNet, domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    camera = CameraRecord("wrist", "rgbd", CameraModel.from_fov(64, 48, 1.0))
    bundle = Bundle(asdict(domain.spec), view_record(VIEW), "servo", HeadScale(), PerceptionError(), camera,
                    encoder_weights(trained), card="# A policy\n")  # fmt: skip
    folder = tmp_path_factory.mktemp("source") / "bundle"
    save_bundle(bundle, folder)
    return folder
