"""The settings of `simtoreal identify`."""

from dataclasses import dataclass
from pathlib import Path

from simtoreal.schema import option


@dataclass(frozen=True)
class IdentifyConfig:
    """Find latencies and dynamics in recorded episodes, and write them as randomization ranges."""

    episodes: Path | None = option(None, "dataset of recorded or imported episodes; it must be given")
    out: Path = option(Path("runs/identify"), "run folder; identified.yaml and report.html are written there")
    camera: str | None = option(None, "camera that policies look through; null is one on the wrist")
    robot: str | None = option(
        None, "arm and gripper, a shipped robot or a YAML file; null is that of the episodes", file="robot"
    )
    base: str = option(
        "default", "randomization that keeps what cannot be identified: a preset, or a YAML file", file="randomization"
    )
    max_episodes: int = option(60, "episodes to look at, spread over the dataset", minimum=2, maximum=100_000)
