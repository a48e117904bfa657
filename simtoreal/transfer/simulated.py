"""The simulated frames of a fine-tuning: to mix in, and others, of objects held out, to see what is forgotten."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from simtoreal.bundle import Bundle
from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation.arena import camera_of
from simtoreal.policies.load import view_of
from simtoreal.pretraining.frame_sets import FrameSet, FrameSetSpec, load_frames
from simtoreal.pretraining.pipeline import HOLDOUT_FRAC
from simtoreal.progress import Progress
from simtoreal.transfer.settings import TransferConfig

FRAMES_PER_SCENE = 4  # few of many scenes: frames of one scene are alike
MAX_HELD_OUT = 300  # frames to measure forgetting on
_MIN_SCENES = 8


class SimulatedFrames(NamedTuple):
    """Two sets of frames, and the hash of what they were made from."""

    train: FrameSet
    held_out: FrameSet
    digest: str


def load_simulated(
    config: TransferConfig, bundle: Bundle, cache_dir: Path, progress: Progress
) -> SimulatedFrames | None:
    """Frames through the camera and the view of the bundle, cached; None where none are wanted.

    Raises:
        ValueError: objects, robot or randomization cannot be used.
        OSError: the cache cannot be written.
    """
    if config.simulated_frames == 0:
        return None
    train = FrameSetSpec(
        objects=config.simulated_objects,
        num_scenes=max(_MIN_SCENES, config.simulated_frames // FRAMES_PER_SCENE),
        frames_per_scene=FRAMES_PER_SCENE,
        seed=config.seed + 7,
        randomization=load_randomization(config.randomization).to_plain(),
        camera=camera_of(bundle),
        view=view_of(bundle),
        robot=config.robot,
        holdout_frac=HOLDOUT_FRAC,
    )
    scenes = max(_MIN_SCENES, min(train.num_scenes // 2, MAX_HELD_OUT // FRAMES_PER_SCENE))
    held_out = replace(train, num_scenes=scenes, seed=config.seed + 8, only_holdout=True)
    sets = [load_frames(spec, cache_dir, config.workers, progress) for spec in (train, held_out)]
    return SimulatedFrames(sets[0], sets[1], f"{train.digest()}-{held_out.digest()}")
