"""The settings of `simtoreal compare`."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from simtoreal.config import MAX_SEED, Arm
from simtoreal.schema import ConfigError, option


class Pairing(StrEnum):
    """Whether two evaluations are compared scene by scene."""

    AUTO = "auto"  # where they met the same scenes
    PAIRED = "paired"
    INDEPENDENT = "independent"


@dataclass(frozen=True)
class CompareConfig:
    """Compare evaluations: the difference in success with its interval, and what may be concluded.

    Raises:
        ConfigError: a run folder is given twice.
    """

    runs: tuple[Path, ...] = option(
        (), "run folders of `simtoreal evaluate`, two or more; bare words are taken as such"
    )
    arm: Arm = option(Arm.POLICY, "arm of each evaluation that is compared")
    pairing: Pairing = option(Pairing.AUTO, "auto pairs episodes where both runs met the same scenes")
    pictures: int = option(
        6, "scenes with different outcome that are pictured, where bundles are there", minimum=0, maximum=100
    )
    seed: int = option(0, "seed of the bootstrap", minimum=0, maximum=MAX_SEED)
    out: Path = option(Path("runs/compare"), "run folder: comparison.json and report.html")

    def __post_init__(self) -> None:
        if len({run.resolve() for run in self.runs}) < len(self.runs):
            raise ConfigError(f"runs={','.join(map(str, self.runs))}: one is named twice")
