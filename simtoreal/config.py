"""Settings of commands as frozen dataclasses; `parse` checks them once, at the door.

The YAML files in `simtoreal.configs` spell out the same defaults, for people who read YAML and for Hydra.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simtoreal.schema import ConfigError, option, parse, required
from simtoreal.settings_files import read_mapping, shipped_file, shipped_names
from simtoreal.usage import help_text

__all__ = [
    "ConfigError",
    "EvaluateConfig",
    "InspectConfig",
    "PretrainConfig",
    "QuickstartConfig",
    "help_text",
    "parse",
]

MAX_SEED = 2**32 - 1
MAX_WORKERS = 256


class Device(StrEnum):
    """Where networks run; `auto` is a GPU if there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Stage(StrEnum):
    """What to pretrain."""

    ALL = "all"
    PERCEPTION = "perception"
    CONTROL = "control"


class Modality(StrEnum):
    """What the encoder sees."""

    RGBD = "rgbd"
    RGB = "rgb"
    DEPTH = "depth"


class CameraMount(StrEnum):
    """Where the camera sits: on the wrist, or fixed beside the cell."""

    WRIST = "wrist"
    EXTERNAL = "external"


class Encoder(StrEnum):
    """Image encoders; all but `conv_small` need the `backbones` extra."""

    CONV_SMALL = "conv_small"
    EFFICIENTNET_LITE = "efficientnet_lite"
    RESNET = "resnet"
    CONVNEXT = "convnext"
    DINOV2 = "dinov2"


class Algorithm(StrEnum):
    """The stable-baselines3 algorithms that take continuous actions."""

    SAC = "SAC"
    PPO = "PPO"
    TD3 = "TD3"
    DDPG = "DDPG"
    A2C = "A2C"


class RunLogger(StrEnum):
    """Where training curves go; `wandb` needs the extra of that name."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    NONE = "none"


class Viewer(StrEnum):
    """Programs that episodes can be written for."""

    NONE = "none"
    RERUN = "rerun"


class World(StrEnum):
    """Simulators that an evaluation can run in."""

    PYBULLET = "pybullet"
    MUJOCO = "mujoco"


class Arm(StrEnum):
    """Who grasps: the bundle, the planner that knows the scene, or chance."""

    POLICY = "policy"
    ORACLE = "oracle"
    RANDOM = "random"


class Grasps(StrEnum):
    """Where the head gets its grasps from."""

    LEARNED = "learned"
    PRIVILEGED = "privileged"


class Head(StrEnum):
    """Which head moves the arm; `bundle` is the one that the bundle names."""

    BUNDLE = "bundle"
    SERVO = "servo"
    LEARNED = "learned"


@dataclass(frozen=True)
class PerceptionConfig:
    """How long and on how much the encoder is trained."""

    num_scenes: int = required("different scenes to render", minimum=2, maximum=10_000_000)
    frames_per_scene: int = required("camera poses and looks per scene", minimum=1, maximum=1000)
    epochs: int = required("passes over the frames", minimum=1, maximum=10_000)
    batch_size: int = required("frames per optimizer step", minimum=1, maximum=65_536)
    learning_rate: float = required("peak learning rate", minimum=1e-7, maximum=1.0)


@dataclass(frozen=True)
class ControlConfig:
    """How long and how the head is trained by reinforcement."""

    total_steps: int = required("control steps over all environments", minimum=1, maximum=1_000_000_000)
    cloning_steps: int = required(
        "steps on which the scripted servo is cloned first; 0 starts from nothing", minimum=0, maximum=100_000_000
    )
    num_envs: int = required("simulators side by side", minimum=1, maximum=MAX_WORKERS)
    learning_starts: int = required("steps of random exploration before learning", minimum=0, maximum=1_000_000)
    batch_size: int = required("transitions per gradient step", minimum=1, maximum=65_536)
    gamma: float = required("discount per control step", minimum=0.0, maximum=1.0)
    net_arch: tuple[int, ...] = required("units of each hidden layer", minimum=1, maximum=4096)


@dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation that closes a pretraining."""

    episodes: int = required("episodes on unseen objects", minimum=1, maximum=1_000_000)


@dataclass(frozen=True)
class PresetConfig:
    """Sizes of a pretraining: one file of `configs/preset`."""

    name: str = required("name of the preset, as reports show it")
    perception: PerceptionConfig = required("perception stage")
    control: ControlConfig = required("control stage")
    evaluation: EvaluationConfig = required("closing evaluation")


def load_preset(name: str) -> PresetConfig:
    """Reads one of the shipped presets.

    Raises:
        ConfigError: there is no such preset.
    """
    names = shipped_names("preset")
    if name not in names:
        raise ConfigError(f"preset={name} is not a choice. Choose from: {', '.join(names)}")
    return parse(read_mapping(shipped_file("preset", name)), PresetConfig, prefix="preset.")


@dataclass(frozen=True)
class QuickstartConfig:
    """Pretrain small, evaluate on unseen objects, write the report."""

    out: Path = option(Path("runs/quickstart"), "run folder")
    seed: int = option(0, "seed of everything that is drawn", minimum=0, maximum=MAX_SEED)
    workers: int = option(2, "simulator processes", minimum=1, maximum=MAX_WORKERS)
    device: Device = option(Device.CPU, "where networks are trained")
    open_report: bool = option(False, "open the report in a browser at the end")
    resume: bool = option(True, "go on with what the run folder holds; false starts over")
    objects: str = option("random_test", "unseen objects to evaluate on: a set, or a folder of meshes and URDF files")
    preset: PresetConfig = option(lambda: load_preset("quick"), "sizes of the pretraining")


@dataclass(frozen=True)
class PretrainConfig:
    """Train perception, then control, and write a policy bundle.

    Raises:
        ConfigError: the control stage alone was asked for without a bundle that holds the perception.
    """

    preset: PresetConfig = option(lambda: load_preset("quick"), "sizes of the pretraining")
    stage: Stage = option(Stage.ALL, "what to train")
    bundle: str | None = option(None, "bundle whose perception the control stage builds on, for stage=control")
    out: Path = option(Path("runs/pretrain"), "run folder; the bundle is written to its folder bundle/")
    seed: int = option(0, "seed of everything that is drawn", minimum=0, maximum=MAX_SEED)
    workers: int = option(2, "simulator processes", minimum=1, maximum=MAX_WORKERS)
    device: Device = option(Device.AUTO, "where networks are trained; auto takes a GPU if there is one")
    resume: bool = option(False, "go on with what the run folder holds")
    objects: tuple[str, ...] = option(("random_train", "household_train"), "object sets or folders to train on")
    modality: Modality = option(Modality.RGBD, "what the encoder sees")
    camera: str = option("wrist", "where the camera sits: wrist, external, or the camera.yaml of a calibration")
    encoder: Encoder = option(Encoder.CONV_SMALL, "image encoder")
    encoder_weights: Path | None = option(None, "folder with the weights of a pretrained backbone")
    image_px: int = option(64, "edge length of the view that the encoder gets", unit="px", minimum=32, maximum=512)
    randomization: str = option(
        "default", "domain randomization: none, mild, default, harsh, or a YAML file", file="randomization"
    )
    identified: Path | None = option(
        None, "identified.yaml of `simtoreal identify`: its dynamics and timing instead of those of the randomization"
    )
    algorithm: Algorithm = option(Algorithm.SAC, "reinforcement learning algorithm of the control stage")
    photos: Path | None = option(None, "folder of photographs that textures are cut from, beside procedural ones")
    robot: str = option("panda", "arm and gripper: a shipped robot, or a YAML file", file="robot")
    logger: RunLogger = option(RunLogger.TENSORBOARD, "where training curves go")
    num_frames: int | None = option(None, "frames to render, instead of the preset's", minimum=2, maximum=100_000_000)
    epochs: int | None = option(None, "passes over the frames, instead of the preset's", minimum=1, maximum=10_000)
    control_steps: int | None = option(
        None, "steps of the control stage, instead of the preset's", minimum=1, maximum=1_000_000_000
    )

    def __post_init__(self) -> None:
        if self.stage is Stage.CONTROL and self.bundle is None:
            raise ConfigError("stage=control needs a trained perception: give bundle=DIR, or use stage=all")
        if self.stage is not Stage.CONTROL and self.bundle is not None:
            raise ConfigError(f"bundle={self.bundle} is only used by stage=control, and stage={self.stage} was given")
        if self.stage is Stage.PERCEPTION and self.identified is not None:
            raise ConfigError(f"identified={self.identified} is for the control stage, and stage=perception was given")
        if self.encoder_weights is not None and self.encoder in (Encoder.CONV_SMALL, Encoder.EFFICIENTNET_LITE):
            raise ConfigError(
                f"encoder_weights is for encoder=resnet, convnext or dinov2, and encoder={self.encoder} was given: "
                "conv_small has none, those of efficientnet_lite come with 'simtoreal[backbones]'"
            )

    @property
    def plan(self) -> PresetConfig:
        """The preset with `num_frames`, `epochs` and `control_steps` put in their places."""
        perception, control = self.preset.perception, self.preset.control
        if self.num_frames is not None:
            scenes = -(-self.num_frames // perception.frames_per_scene)
            perception = dataclasses.replace(perception, num_scenes=max(scenes, 2))
        if self.epochs is not None:
            perception = dataclasses.replace(perception, epochs=self.epochs)
        if self.control_steps is not None:
            control = dataclasses.replace(control, total_steps=self.control_steps)
        return dataclasses.replace(self.preset, perception=perception, control=control)


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure a bundle on objects that it has never seen, beside the oracle and a random policy.

    Raises:
        ConfigError: some of fx, fy, cx and cy are given and others are not, an arm is named twice, or a reality is
            given for a world that has none.
    """

    bundle: str = option("default", "policy: a shipped bundle, or a folder")
    world: World = option(World.PYBULLET, "simulator; mujoco is the second world, which plays reality")
    reality: str | None = option(
        None, "what the second world is like: mild, default, harsh, or a YAML file; null is default", file="reality"
    )
    objects: str = option("random_test", "object set, or a folder of meshes and URDF files")
    objects_scale: float = option(
        1.0, "factor on the meshes of a folder, 0.001 for millimetres", minimum=1e-6, maximum=1e6
    )
    num_objects: int = option(1, "objects in the scene", minimum=1, maximum=20)
    episodes: int = option(200, "scenes to try", minimum=1, maximum=1_000_000)
    arms: tuple[Arm, ...] = option((Arm.POLICY, Arm.ORACLE, Arm.RANDOM), "who grasps, all in the same scenes")
    grasps: Grasps = option(Grasps.LEARNED, "where the head gets its grasps from; privileged tests the head alone")
    head: Head = option(Head.BUNDLE, "which head moves the arm")
    randomization: str = option(
        "default",
        "domain randomization of world=pybullet: none, mild, default, harsh, or a YAML file",
        file="randomization",
    )
    robot: str = option("panda", "arm and gripper: a shipped robot, or a YAML file", file="robot")
    camera: str | None = option(
        None, "where the camera sits: wrist, external, or the camera.yaml of a calibration; null is as in the bundle"
    )
    image_width_px: int | None = option(
        None, "image width; null is as in the bundle", unit="px", minimum=16, maximum=4096
    )
    image_height_px: int | None = option(
        None, "image height; null is as in the bundle", unit="px", minimum=16, maximum=4096
    )
    fx: float | None = option(None, "horizontal focal length; null is as in the bundle", unit="px", minimum=1.0)
    fy: float | None = option(None, "vertical focal length; null is as in the bundle", unit="px", minimum=1.0)
    cx: float | None = option(None, "column of the principal point; null is as in the bundle", unit="px")
    cy: float | None = option(None, "row of the principal point; null is as in the bundle", unit="px")
    distortion: tuple[float, float, float, float, float] | None = option(
        None, "OpenCV distortion k1, k2, p1, p2, k3; null is as in the bundle", minimum=-10.0, maximum=10.0
    )
    seed: int = option(0, "seed that the scenes are drawn from", minimum=0, maximum=MAX_SEED)
    workers: int = option(2, "simulator processes; the result does not depend on it", minimum=1, maximum=MAX_WORKERS)
    device: Device = option(Device.CPU, "where networks run")
    out: Path = option(Path("runs/evaluate"), "run folder")
    resume: bool = option(False, "go on with what the run folder holds")
    videos: int = option(4, "episodes to film", minimum=0, maximum=1000)

    def __post_init__(self) -> None:
        intrinsics = {name: getattr(self, name) for name in ("fx", "fy", "cx", "cy")}
        missing = [name for name, value in intrinsics.items() if value is None]
        if missing and len(missing) < len(intrinsics):
            raise ConfigError(f"intrinsics come together: {', '.join(missing)} must be given too, in pixels")
        if self.world is World.PYBULLET and self.reality is not None:
            raise ConfigError(f"reality={self.reality} is for world=mujoco; world=pybullet has randomization=NAME")
        if self.world is World.MUJOCO and self.randomization != "default":
            raise ConfigError(
                f"randomization={self.randomization} is for world=pybullet; world=mujoco has reality=NAME"
            )
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise ConfigError(f"arms={[arm.value for arm in self.arms]} must name at least one, and each one once")


@dataclass(frozen=True)
class InspectConfig:
    """Show what is in a bundle or in a dataset of episodes, with pictures.

    Raises:
        ConfigError: a viewer is asked for without episodes.
    """

    bundle: str | None = option(
        None, "policy: a shipped bundle, or a folder; null is default, or none where episodes are given"
    )
    episodes: Path | None = option(
        None, "dataset of recorded or imported episodes to look at; with a bundle, also what that sees in them"
    )
    episodes_shown: int = option(
        12, "episodes with pictures and plots, spread over the dataset; all are checked", minimum=0, maximum=500
    )
    viewer: Viewer = option(Viewer.NONE, "rerun writes the shown episodes as episodes.rrd for the Rerun viewer")
    out: Path = option(Path("runs/inspect"), "run folder")
    scenes: int = option(12, "scenes to picture with a bundle", minimum=1, maximum=1000)
    objects: str = option("random_test", "object set, or a folder of meshes and URDF files, for a bundle")
    seed: int = option(0, "seed that the scenes are drawn from", minimum=0, maximum=MAX_SEED)

    def __post_init__(self) -> None:
        if self.viewer is not Viewer.NONE and self.episodes is None:
            raise ConfigError(
                f"viewer={self.viewer.value} shows episodes: give the folder of a dataset with episodes=DIR"
            )
