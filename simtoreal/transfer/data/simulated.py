"""Simulated frames through the view of a bundle: some to learn from, others, of objects held out, to judge by."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from simtoreal.bundle import Bundle
from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation.arena import camera_of
from simtoreal.policies.parts import view_of
from simtoreal.pretraining.frame_sets import FrameSet, FrameSetSpec, load_frames
from simtoreal.pretraining.pipeline import HOLDOUT_FRAC
from simtoreal.progress import Progress

FRAMES_PER_SCENE = 4  # few of many scenes: frames of one scene are alike
MAX_HELD_OUT = 300  # frames to measure forgetting on
_MIN_SCENES = 8


class WantedFrames(NamedTuple):
    """How many frames, of what, and who renders them."""

    num_frames: int
    objects: tuple[str, ...]
    randomization: str
    robot: str
    seed: int
    workers: int


class SimulatedFrames(NamedTuple):
    """Two sets of frames, and the hash of what they were made from."""

    train: FrameSet
    held_out: FrameSet
    digest: str


def load_simulated(wanted: WantedFrames, bundle: Bundle, cache_dir: Path, progress: Progress) -> SimulatedFrames:
    """Frames through the camera and the view of the bundle, cached.

    Raises:
        ValueError: objects, robot or randomization cannot be used.
        OSError: the cache cannot be written.
    """
    train = FrameSetSpec(
        objects=wanted.objects,
        num_scenes=max(_MIN_SCENES, wanted.num_frames // FRAMES_PER_SCENE),
        frames_per_scene=FRAMES_PER_SCENE,
        seed=wanted.seed + 7,
        randomization=load_randomization(wanted.randomization).to_plain(),
        camera=camera_of(bundle),
        view=view_of(bundle),
        robot=wanted.robot,
        holdout_frac=HOLDOUT_FRAC,
    )
    scenes = max(_MIN_SCENES, min(train.num_scenes // 2, MAX_HELD_OUT // FRAMES_PER_SCENE))
    held_out = replace(train, num_scenes=scenes, seed=wanted.seed + 8, only_holdout=True)
    sets = [load_frames(spec, cache_dir, wanted.workers, progress) for spec in (train, held_out)]
    return SimulatedFrames(sets[0], sets[1], f"{train.digest()}-{held_out.digest()}")
