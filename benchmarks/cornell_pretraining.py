"""The simulated part of `cornell.py`: objects on sheets, seen from beside, and nets that learned from them."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cornell_pictures import AUGMENTATION, ENCODER, VIEW

from simtoreal.camera import CameraModel
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.randomization import load_randomization
from simtoreal.policies.encoders import GraspNet, build_encoder
from simtoreal.policies.view import ViewSpec
from simtoreal.pretraining.frame_sets import FrameSet, FrameSetSpec, load_frames
from simtoreal.progress import Progress
from simtoreal.transfer.data.image_plane import Labelled, as_frame_set, simulated_pictures, stack_pictures
from simtoreal.transfer.data.real_frames import RealFrames
from simtoreal.transfer.tuning.strategy import load_strategy
from simtoreal.transfer.tuning.trainer import Trainer
from simtoreal.transfer.tuning.training import Domain, Lesson

CLEARANCE_M = 0.010  # the jaws of a label are wider open than the object, on either side
GOOD_FRAC = 0.6  # of the best grasp of a frame: good enough to be a label
_RENDERED_EDGE_M = 0.36
_LENS = CameraModel.from_fov(200, 200, math.radians(34.0))
_SENSOR = {"exposure": "*LogU(0.8, 1.6)", "white_balance": "*U(0.85, 1.15)", "rgb_noise": "=U(0, 0.03)",
           "blur_px": "=U(0, 1)"}  # fmt: skip
_TRUE_CAMERA = {"mounting_error_m": 0.0, "mounting_error_rad": 0.0}  # a picture has no calibration that could err
_SHEET: dict[str, Any] = {  # a pale plain table under strong light, most of the time
    "visual": {
        "object": {"photo_frac": 0.0, "textured_frac": 0.5},
        "table": {"saturation": "=U(0, 0.15)", "value": "=U(0.6, 1)", "textured_frac": 0.12, "photo_frac": 0.0},
        "own_colours_frac": 0.4, "light_elevation_rad": "=U(0.4, 1.5)", "light_rgb": "=U(0.8, 1)",
        "ambient": "=U(0.3, 0.8)", "diffuse": "=U(0.2, 0.8)", "num_distractors": "=U(0, 2)",
    },
    "camera": _TRUE_CAMERA, "sensor": _SENSOR, "dynamics": {"table_height_m": 0.0},
}  # fmt: skip
_CLUTTER: dict[str, Any] = {  # any table, busy ones above all
    "visual": {"own_colours_frac": 0.4, "light_rgb": "=U(0.7, 1)", "num_distractors": "=U(0, 4)"},
    "camera": _TRUE_CAMERA, "sensor": _SENSOR, "dynamics": {"table_height_m": 0.0},
}  # fmt: skip


@dataclass(frozen=True)
class Pretraining:
    """How much is rendered, and for how long it is learned from."""

    scenes: tuple[int, int]  # household objects on a sheet, household and random ones in clutter
    steps: int

    def specs(self) -> list[FrameSetSpec]:
        """The frame sets."""
        sheet, clutter = ((load_randomization("harsh").updated(looks)).to_plain() for looks in (_SHEET, _CLUTTER))
        first = FrameSetSpec(
            objects=("household_train",), num_scenes=self.scenes[0], frames_per_scene=1, seed=11, randomization=sheet,
            camera=CameraSetup("external", _LENS, depth=False), robot="panda", max_objects=1, holdout_frac=0.04,
            view=ViewSpec("external", "rgb", VIEW.pixels, max_edge_m=_RENDERED_EDGE_M), arm=False,
        )  # fmt: skip
        objects = ("household_train", "random_train")
        return [
            first,
            replace(first, objects=objects, num_scenes=self.scenes[1], seed=12, randomization=clutter, max_objects=2),
        ]


@dataclass(frozen=True)
class Simulation:
    """Simulated pictures, and the nets that learn from them."""

    plan: Pretraining
    frames: RealFrames
    mixed_in: FrameSet  # the same, for batches of fine-tuning
    digest: str

    def pretrained(self, seed: int, folder: Path, progress: Progress) -> GraspNet:
        """A net that has never seen a real image; trained once."""
        domain = Domain(ENCODER, VIEW, build_encoder(ENCODER).eval(), self.frames, augmentation=AUGMENTATION)
        strategy = replace(load_strategy("scratch"), name="pretraining", steps=self.plan.steps, batch_size=32)
        lesson = Lesson(np.arange(len(self.frames)), np.empty(0, np.int64), seed)
        trainer = Trainer(domain, f"{self.digest} {AUGMENTATION}", folder / "pretraining", progress)
        return trainer.tune(strategy, lesson, f"pretraining {seed}").net


def load_simulation(plan: Pretraining, workers: int, progress: Progress) -> Simulation:
    """Renders what is not in the cache."""
    labelled: list[Labelled] = []
    for spec in plan.specs():
        frames = load_frames(spec, default_cache_dir(), workers, progress)
        labelled += simulated_pictures(frames, CLEARANCE_M, GOOD_FRAC)
    with_grasp = [picture for picture in labelled if len(picture.grasps)]
    digest = " ".join(spec.digest() for spec in plan.specs())
    digest = f"{digest} {CLEARANCE_M} {GOOD_FRAC}"
    return Simulation(plan, stack_pictures(with_grasp), as_frame_set(with_grasp), digest)
