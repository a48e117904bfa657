"""The settings of `simtoreal record` and `simtoreal dataset`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simtoreal.config import MAX_SEED, Device
from simtoreal.schema import ConfigError, option


class Teacher(StrEnum):
    """Who grasps while it is recorded: the planner that knows the scene, or a bundle."""

    ORACLE = "oracle"
    BUNDLE = "bundle"


class DatasetAction(StrEnum):
    """What to do with a recorded dataset."""

    VERIFY = "verify"
    REPAIR = "repair"
    FILTER = "filter"
    SPLIT = "split"
    MERGE = "merge"


class SplitBy(StrEnum):
    """What stays together when a dataset is split."""

    OBJECT = "object"
    EPISODE = "episode"


@dataclass(frozen=True)
class RecordConfig:
    """Record episodes from a controller into a LeRobotDataset v3.0 folder; run again with more episodes to go on.

    Raises:
        ConfigError: a setting of one world is given for the other.
    """

    controller: str = option("pybullet", "who is recorded: pybullet or mujoco")
    policy: Teacher = option(Teacher.ORACLE, "who grasps: the planner that knows the scene, or the bundle")
    bundle: str = option("default", "policy of policy=bundle: a shipped bundle, or a folder")
    objects: str = option("random_test", "object set, or a folder of meshes and URDF files")
    objects_scale: float = option(
        1.0, "factor on the meshes of a folder, 0.001 for millimetres", minimum=1e-6, maximum=1e6
    )
    num_objects: int = option(1, "objects in the scene", minimum=1, maximum=20)
    episodes: int = option(20, "episodes that the dataset shall hold in the end", minimum=1, maximum=1_000_000)
    randomization: str = option(
        "default", "domain randomization: none, mild, default, harsh, or a YAML file", file="randomization"
    )
    reality: str | None = option(
        None, "what controller=mujoco is like: mild, default, harsh, or a YAML file; null is default", file="reality"
    )
    robot: str = option("panda", "arm and gripper: a shipped robot, or a YAML file", file="robot")
    camera: str | None = option(
        None,
        "where the camera sits: wrist, external, or the camera.yaml of a calibration, with its image size; null is on "
        "the wrist, or as in the bundle",
    )
    image_width_px: int = option(640, "image width", unit="px", minimum=16, maximum=4096)
    image_height_px: int = option(480, "image height", unit="px", minimum=16, maximum=4096)
    lossless_rgb: bool = option(False, "colour as PNG instead of H.264; a dataset keeps what it was begun with")
    depth_unit_m: float = option(0.0005, "step of the stored depth", unit="m", minimum=1e-5, maximum=0.001)
    seed: int = option(0, "seed that the scenes are drawn from", minimum=0, maximum=MAX_SEED)
    device: Device = option(Device.CPU, "where networks run")
    out: Path = option(Path("runs/record"), "folder of the dataset")

    def __post_init__(self) -> None:
        if self.controller != "mujoco" and self.reality is not None:
            raise ConfigError(f"reality={self.reality} is for controller=mujoco")
        if self.controller == "mujoco" and self.randomization != "default":
            raise ConfigError(
                f"randomization={self.randomization} is for controller=pybullet; controller=mujoco has reality=NAME"
            )


@dataclass(frozen=True)
class DatasetConfig:
    """Look after recorded datasets: verify, repair, filter, split, merge.

    Raises:
        ConfigError: there is no source, several where one is needed, or a part has no share.
    """

    action: DatasetAction = option(DatasetAction.VERIFY, "what to do")
    source: tuple[str, ...] = option(("runs/record",), "folder of the dataset; several for action=merge")
    out: Path = option(Path("runs/dataset"), "folder of the result: a list of problems, a dataset, or one per part")
    decode: bool = option(False, "verify: decode every picture too")
    success: bool | None = option(None, "filter: keep successes, or failures; null does not look at it")
    domains: tuple[str, ...] = option((), "filter: keep these domains; empty keeps all, as below")
    objects: tuple[str, ...] = option((), "filter: keep these objects")
    robots: tuple[str, ...] = option((), "filter: keep these robots")
    tasks: tuple[str, ...] = option((), "filter: keep these tasks")
    failures: tuple[str, ...] = option((), "filter: keep these kinds of failure")
    min_frames: int = option(0, "filter: keep episodes of at least so many frames", minimum=0)
    by: SplitBy = option(SplitBy.OBJECT, "split: what stays together")
    parts: tuple[str, ...] = option(("train", "test"), "split: names of the parts, which become folders in out")
    shares: tuple[float, ...] = option((0.8, 0.2), "split: share of each part", minimum=0.0, maximum=1.0)
    seed: int = option(0, "split: seed of the draw", minimum=0, maximum=MAX_SEED)

    def __post_init__(self) -> None:
        if not self.source or (len(self.source) > 1 and self.action is not DatasetAction.MERGE):
            raise ConfigError(f"action={self.action} needs source=DIR, and several only with action=merge")
        if len(self.parts) != len(self.shares) or len(set(self.parts)) < len(self.parts):
            raise ConfigError(f"parts={list(self.parts)} must be different names, one for each of shares={self.shares}")
