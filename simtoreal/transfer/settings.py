"""The settings of `simtoreal finetune` and `simtoreal curve`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simtoreal.config import MAX_SEED, MAX_WORKERS, Device, World
from simtoreal.schema import ConfigError, option
from simtoreal.transfer.tuning.strategy import AUTO


class HeadStrategy(StrEnum):
    """What becomes of the policy head."""

    AUTO = "auto"  # stays, and the ledger says whether it is what to fix first
    KEEP = "keep"
    IDENTIFIED = "identified"
    CLONE = "clone"
    AWR = "awr"
    RESIDUAL = "residual"


@dataclass(frozen=True)
class TransferConfig:
    """What every command that trains on recorded episodes is told.

    Raises:
        ConfigError: a reality is given for a world that has none, or a candidate is named twice.
    """

    bundle: str = option("default", "policy to start from: a shipped bundle, or a folder; it is never changed")
    episodes: Path | None = option(None, "dataset of recorded episodes; it must be given")
    strategy: str = option(AUTO, "auto, the name of a shipped strategy, or a YAML file")
    candidates: tuple[str, ...] = option(
        ("zero_shot", "normalisation", "heads", "last_layers", "staged", "all", "lora"), "what strategy=auto tries"
    )
    out: Path = option(Path("runs/transfer"), "run folder")
    budget_s: float = option(
        150.0, "time for trying strategies; those that do not fit are left out", unit="s", minimum=1.0, maximum=1e6
    )
    camera: str | None = option(None, "camera of the episodes to look through; null is the one that sits right")
    max_frames: int = option(16, "labelled frames per episode", minimum=1, maximum=100_000)
    simulated_frames: int = option(
        800, "simulated frames to mix in and to hold the net back with; 0 is none", minimum=0, maximum=10_000_000
    )
    simulated_objects: tuple[str, ...] = option(
        ("random_train", "household_train"), "object sets or folders that they show"
    )
    randomization: str = option(
        "default", "domain randomization of them: none, mild, default, harsh, or a YAML file", file="randomization"
    )
    robot: str = option("panda", "arm and gripper: a shipped robot, or a YAML file", file="robot")
    world: World | None = option(None, "world in which policies are also compared by success; null is none")
    reality: str | None = option(
        None, "what world=mujoco is like: mild, default, harsh, or a YAML file", file="reality"
    )
    objects: str = option("random_test", "unseen objects of that comparison: a set, or a folder")
    online_episodes: int = option(60, "scenes of that comparison", minimum=2, maximum=1_000_000)
    seed: int = option(0, "seed of everything that is drawn", minimum=0, maximum=MAX_SEED)
    workers: int = option(2, "threads, and worker processes", minimum=1, maximum=MAX_WORKERS)
    device: Device = option(Device.CPU, "where networks are trained")

    def __post_init__(self) -> None:
        if self.reality is not None and self.world is not World.MUJOCO:
            raise ConfigError(f"reality={self.reality} is for world=mujoco")
        if self.strategy == AUTO and (not self.candidates or len(set(self.candidates)) < len(self.candidates)):
            raise ConfigError(f"candidates={list(self.candidates)} must name at least one strategy, and each one once")


@dataclass(frozen=True)
class FinetuneConfig(TransferConfig):
    """Fine-tune a bundle on recorded episodes, and say in a ledger whether it helped."""

    out: Path = option(Path("runs/finetune"), "run folder; the bundle is written to its folder bundle/")
    head: HeadStrategy = option(
        HeadStrategy.AUTO,
        "policy head: auto keeps it and says whether it is what to fix, keep does not look; identified trains it anew "
        "in the simulator that the logs correct; clone, awr and residual learn from the logs",
    )
    folds: int = option(
        3, "times that other episodes are held out, each with a seed of its own; every episode is held out once",
        minimum=3, maximum=20,
    )  # fmt: skip
    force: bool = option(False, "ship the fine-tuned policy whatever the verdict; the provenance says so")


@dataclass(frozen=True)
class CurveConfig(TransferConfig):
    """Success against the number of real episodes, fine-tuned and from scratch, and what more of them would bring.

    Raises:
        ConfigError: sizes do not grow, or seeds are named twice.
    """

    out: Path = option(Path("runs/curve"), "run folder: curve.json, report.html and what was trained")
    candidates: tuple[str, ...] = option(("zero_shot", "heads", "last_layers"), "what strategy=auto tries at each size")
    sizes: tuple[int, ...] = option(
        (0, 1, 2, 5, 10, 20, 50, 100), "episodes to train on, each set within the next; as far as the dataset goes",
        minimum=0, maximum=1_000_000,
    )  # fmt: skip
    seeds: tuple[int, ...] = option(
        (0, 1, 2), "each divides and orders the episodes in its own way", minimum=0, maximum=MAX_SEED
    )
    held_out_frac: float = option(
        0.3, "share of the episodes that judge and are never trained on", minimum=0.05, maximum=0.8
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sizes or list(self.sizes) != sorted(set(self.sizes)):
            raise ConfigError(f"sizes={list(self.sizes)} must grow")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds={list(self.seeds)} must name at least one, and each one once")
