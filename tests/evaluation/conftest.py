"""What the tests of arena, runner and presentation share: a policy that has learned nothing, and where it is tried."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from simtoreal.bundle import Bundle, save_bundle
from simtoreal.camera_record import CameraRecord
from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation.arena import ArenaSpec
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.progress import Progress


@pytest.fixture(scope="session")
def quiet() -> Progress:
    return Progress(Console(file=io.StringIO()))


def untrained(modality: str) -> Bundle:
    import torch

    from simtoreal.envs.camera_setup import CameraSetup
    from simtoreal.policies.encoders import EncoderSpec, build_encoder
    from simtoreal.policies.load import encoder_weights
    from simtoreal.policies.parts import view_record
    from simtoreal.policies.view import ViewSpec

    view = ViewSpec(modality=modality, pixels=32)
    torch.manual_seed(0)
    spec = EncoderSpec(modality=view.modality, width=8)
    return Bundle(
        encoder=dataclasses.asdict(spec),
        view=view_record(view),
        head="servo",
        scale=HeadScale(),
        error=PerceptionError(),
        camera=CameraRecord("wrist", modality, CameraSetup.default("wrist", 32).model),
        encoder_weights=encoder_weights(build_encoder(spec)),
        card="# Untrained\n",
    )


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose encoder has random weights."""
    folder = tmp_path_factory.mktemp("bundles") / "rgbd"
    save_bundle(untrained("rgbd"), folder)
    return folder


@pytest.fixture(scope="session")
def depth_bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "depth"
    save_bundle(untrained("depth"), folder)
    return folder


@pytest.fixture(scope="session")
def spec(objects_dir: Path, cache_dir: Path) -> ArenaSpec:
    """An arena of the three simple objects, without a bundle."""
    return ArenaSpec(
        bundle=None,
        objects=str(objects_dir),
        randomization=load_randomization("mild").to_plain(),
        robot="panda",
        seed=5,
        cache_dir=cache_dir,
    )
