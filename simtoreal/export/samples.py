"""Views to calibrate an export on, and others to compare it on: recorded where there are any, else simulated."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simtoreal.bundle import Bundle
from simtoreal.envs.assets import default_cache_dir
from simtoreal.export.settings import ExportConfig
from simtoreal.policies.parts import view_of
from simtoreal.policies.view import View, from_camera_row
from simtoreal.pretraining.frame_sets import FrameSet
from simtoreal.progress import Progress
from simtoreal.transfer.data.dataset import Wanted, load_real_data
from simtoreal.transfer.data.labels import Hindsight
from simtoreal.transfer.data.simulated import WantedFrames, load_simulated


class Samples(NamedTuple):
    """Views of different scenes for the two purposes, and where they come from, in words."""

    calibration: Sequence[View]
    held_out: Sequence[View]
    origin: str


def load_samples(config: ExportConfig, bundle: Bundle, progress: Progress) -> Samples:
    """The views that the settings ask for; what was rendered or read before is taken from the cache.

    Raises:
        DatasetError: the dataset cannot be read, or gives no frame.
        ConfigError: no camera of it is the one that the bundle looks through.
        ValueError: objects, robot or randomization cannot be used.
    """
    return _simulated(config, bundle, progress) if config.episodes is None else _recorded(config, bundle, progress)


def _recorded(config: ExportConfig, bundle: Bundle, progress: Progress) -> Samples:
    assert config.episodes is not None
    wanted = Wanted(view_of(bundle), config.camera)
    frames = load_real_data(config.episodes, wanted, Hindsight(), default_cache_dir(), progress).frames
    views = [frames.view(index) for index in range(len(frames))]
    # Every other episode, so that nothing is judged on what it was calibrated on; of a single one, every other frame.
    _, place = np.unique(frames.episode, return_inverse=True)
    even = (place if place.any() else np.arange(len(views))) % 2 == 0
    calibration = [view for view, kept in zip(views, even, strict=True) if kept]
    held_out = [view for view, kept in zip(views, even, strict=True) if not kept]
    return Samples(calibration, held_out or calibration, f"{len(views)} frames of {config.episodes}")


def _simulated(config: ExportConfig, bundle: Bundle, progress: Progress) -> Samples:
    wanted = WantedFrames(
        config.frames, config.simulated_objects, config.randomization, config.robot, config.seed, config.workers
    )
    frames = load_simulated(wanted, bundle, default_cache_dir(), progress)
    objects = ", ".join(config.simulated_objects)
    origin = f"{len(frames.train)} simulated frames of {objects}, and {len(frames.held_out)} of objects held out"
    return Samples(_views(frames.train), _views(frames.held_out), origin)


def _views(frames: FrameSet) -> list[View]:
    return [
        View(
            frames.rgb[i],
            frames.height_m[i].astype(np.float32),
            frames.valid[i],
            *from_camera_row(frames.camera[i]),
            float(frames.edge_m[i]),
        )
        for i in range(len(frames))
    ]
