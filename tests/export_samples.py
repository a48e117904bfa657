"""A small policy with random weights, exported: what the tests of the export and of what runs it share."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from simtoreal import frames
from simtoreal.bundle import Bundle, CameraRecord, save_bundle
from simtoreal.camera import CameraModel
from simtoreal.contracts import Observation
from simtoreal.export.command import write_export
from simtoreal.export.samples import Samples
from simtoreal.export.settings import ExportConfig, Precision
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM, HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.encoders import EncoderSpec, build_encoder
from simtoreal.policies.load import encoder_weights
from simtoreal.policies.parts import view_record
from simtoreal.policies.view import View, ViewSpec, make_view

CAMERA = CameraModel.from_fov(48, 48, 1.0)


def spec_of(modality: str = "rgbd") -> ViewSpec:
    return ViewSpec(modality=modality, pixels=32)


def random_bundle(modality: str = "rgbd", head: str = "servo") -> Bundle:
    """A bundle whose encoder says something else of every view."""
    torch.manual_seed(0)
    encoder = EncoderSpec(modality=modality, width=8)
    net = build_encoder(encoder)
    with torch.no_grad():
        net.readout.weight.mul_(30.0)
    rng = np.random.default_rng(0)
    return Bundle(
        encoder=dataclasses.asdict(encoder),
        view=view_record(spec_of(modality)),
        head=head,
        scale=HeadScale(),
        error=PerceptionError(),
        camera=CameraRecord("wrist", modality, CAMERA),
        encoder_weights=encoder_weights(net),
        head_weights={
            "layers.0.weight": rng.normal(0.0, 0.3, (ACTION_DIM, OBSERVATION_DIM)).astype(np.float32),
            "layers.0.bias": np.zeros(ACTION_DIM, np.float32),
        },
        card="# Random\n",
    )


def observation(seed: int, t_s: float = 0.0) -> Observation:
    """Noise in front of a camera on the wrist, with holes in the depth."""
    rng = np.random.default_rng(seed)
    T_base_tcp = frames.top_down((0.5, 0.0, 0.25), 0.1 * (seed % 5))
    depth = rng.uniform(0.28, 0.34, (48, 48)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    rgb = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
    T_base_cam = T_base_tcp @ frames.transform((0.0, 0.05, -0.08))
    lens = np.array([-0.1, 0.02, 0.0, 0.0, 0.0])
    return Observation(t_s, rgb, depth, CAMERA.K, T_base_cam, T_base_tcp, 0.08, None, lens)


def views(num: int, modality: str = "rgbd", first: int = 0) -> list[View]:
    return [make_view(observation(first + seed), spec_of(modality)) for seed in range(num)]


def write_exported(folder: Path, precision: str = "fp32", bundle: Bundle | None = None) -> Bundle:
    """Writes the source to `folder/source` and its export to `folder/export`; returns the source."""
    bundle = bundle or random_bundle()
    save_bundle(bundle, folder / "source")
    out = folder / "export"
    out.mkdir()
    seen = views(12, bundle.camera.modality)
    config = ExportConfig(bundle=str(folder / "source"), out=out, precision=Precision(precision))
    write_export(config, bundle, folder / "source", Samples(seen, seen, "noise"))
    return bundle
