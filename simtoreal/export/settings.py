"""The settings of `simtoreal export`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simtoreal.config import MAX_SEED, MAX_WORKERS
from simtoreal.schema import option


class Precision(StrEnum):
    """What the numbers of an exported network are."""

    FP32 = "fp32"
    INT8 = "int8"


@dataclass(frozen=True)
class ExportConfig:
    """Write a bundle as ONNX for the robot's computer, and prove that it still grasps."""

    bundle: str = option("default", "policy to export: a shipped bundle, or a folder; it is never changed")
    precision: Precision = option(Precision.INT8, "numbers of the network: fp32, or int8 where it convolves")
    out: Path = option(Path("runs/export"), "folder to write; it is what the robot gets")
    episodes: Path | None = option(
        None, "dataset of recorded episodes to calibrate int8 on and to compare on; null is simulated frames"
    )
    camera: str | None = option(None, "camera of the episodes to look through; null is the one that sits right")
    frames: int = option(
        800, "simulated frames to calibrate int8 on, where no episodes are given", minimum=8, maximum=1_000_000
    )
    simulated_objects: tuple[str, ...] = option(
        ("random_train", "household_train"), "object sets or folders that they show"
    )
    n: int = option(
        100, "scenes in which source and export both grasp; 0 leaves the comparison out", minimum=0, maximum=1_000_000
    )
    objects: str = option("random_test", "objects of those scenes: a set, or a folder of meshes and URDF files")
    randomization: str = option(
        "default", "domain randomization: none, mild, default, harsh, or a YAML file", file="randomization"
    )
    robot: str = option("panda", "arm and gripper: a shipped robot, or a YAML file", file="robot")
    # What the proof demands, of 95 in 100 frames where it speaks of frames:
    max_position_m: float = option(0.005, "shift of a grasp that int8 may cause", unit="m", minimum=0.0, maximum=1.0)
    max_angle_rad: float = option(0.05, "turn of a grasp that int8 may cause", unit="rad", minimum=0.0, maximum=3.2)
    max_quality: float = option(
        0.05,
        "change of a grasp's quality that int8 may cause, and what its choice may be worse by",
        minimum=0.0,
        maximum=1.0,
    )
    max_lost_frac: float = option(0.05, "share of the n scenes that may be lost", minimum=0.0, maximum=1.0)
    max_step_s: float | None = option(
        None, "99th percentile of processor time, image to action; null is a tenth of the control period",
        unit="s", minimum=1e-6, maximum=10.0,
    )  # fmt: skip
    max_size_mb: float | None = option(None, "size of encoder.onnx; null is any", unit="MB", minimum=0.0)
    max_memory_mb: float | None = option(
        None, "peak memory of the deployed process; null is any", unit="MB", minimum=0.0
    )
    seed: int = option(0, "seed of everything that is drawn", minimum=0, maximum=MAX_SEED)
    workers: int = option(2, "simulator processes", minimum=1, maximum=MAX_WORKERS)
