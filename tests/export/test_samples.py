"""Views to calibrate on and views to judge by: never of the same episode where there are several."""

import io
from pathlib import Path

import numpy as np
import pytest
from bar_episodes import write
from export_samples import random_bundle
from rich.console import Console

from simtoreal.export.samples import load_samples
from simtoreal.export.settings import ExportConfig
from simtoreal.progress import Progress

QUIET = Progress(Console(file=io.StringIO()))


def keys(views) -> set[bytes]:
    return {view.rgb.tobytes() for view in views}


@pytest.mark.parametrize(("num_episodes", "share"), [(1, 1.0), (3, 2.0)])
def test_recorded_frames_are_shared_out(num_episodes: int, share: float, tmp_path: Path) -> None:
    """Of three episodes, two calibrate and one judges; of a single one, every other frame does."""
    folder = write(tmp_path / "dataset", (True,) * num_episodes)
    samples = load_samples(ExportConfig(episodes=folder), random_bundle(), QUIET)
    num_calibrating, num_judging = len(samples.calibration), len(samples.held_out)
    assert num_calibrating / num_judging == pytest.approx(share, rel=0.15)
    assert samples.origin == f"{num_calibrating + num_judging} frames of {folder}"
    assert samples.held_out[0].rgb.shape == (32, 32, 3), "through the view of the bundle"


@pytest.mark.slow
def test_simulated_frames_are_of_other_objects(objects_dir: Path) -> None:
    config = ExportConfig(frames=8, simulated_objects=(str(objects_dir),), randomization="mild", workers=1)
    samples = load_samples(config, random_bundle(), QUIET)
    assert len(samples.calibration) == len(samples.held_out) == 32
    assert not keys(samples.calibration) & keys(samples.held_out)
    view = samples.held_out[0]
    assert view.height_m.dtype == np.float32
    assert np.isfinite(view.height_m).any()
