"""What the tests of the training stages share: a small set of frames, and a place for curves."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.randomization import load_randomization
from simtoreal.policies.view import ViewSpec
from simtoreal.pretraining.frame_sets import FrameSet, FrameSetSpec, load_frames
from simtoreal.progress import Progress


class Curves:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.steps: dict[str, list[int]] = {}

    def scalar(self, name: str, value: float, step: int) -> None:
        self.values.setdefault(name, []).append(value)
        self.steps.setdefault(name, []).append(step)

    def close(self) -> None: ...


@pytest.fixture
def curves() -> Curves:
    return Curves()


@pytest.fixture(scope="session")
def quiet() -> Progress:
    return Progress(Console(file=io.StringIO()))


@pytest.fixture(scope="session")
def frame_spec(objects_dir: Path) -> FrameSetSpec:
    """48 frames of the three simple objects."""
    return FrameSetSpec(
        objects=(str(objects_dir),),
        num_scenes=12,
        frames_per_scene=4,
        seed=0,
        randomization=load_randomization("mild").to_plain(),
        camera=CameraSetup.default("wrist", 64),
        view=ViewSpec(),
        robot="panda",
    )


@pytest.fixture(scope="session")
def frames(frame_spec: FrameSetSpec, cache_dir: Path, quiet: Progress) -> FrameSet:
    return load_frames(frame_spec, cache_dir, 1, quiet)
