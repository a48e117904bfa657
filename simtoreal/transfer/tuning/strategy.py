"""A fine-tuning strategy as data: what moves at which rate, what holds it back, what is mixed in.

The shipped ones are the files of `configs/strategy`; any YAML file of that form is one too.
"""

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from simtoreal.schema import ConfigError, option, parse, required
from simtoreal.settings_files import find_settings, read_mapping, shipped_names

AUTO = "auto"
SCRATCH = "scratch"  # the arm that every fine-tuning is compared with


class Start(StrEnum):
    """The weights that training starts from."""

    SOURCE = "source"
    SCRATCH = "scratch"


class Statistics(StrEnum):
    """What becomes of the running statistics of normalisation layers."""

    KEEP = "keep"  # those of the source
    ADAPT = "adapt"  # estimated anew from real frames, before training; needs no label
    LEARN = "learn"  # follow the batches, as in a training from nothing


class Unlabelled(StrEnum):
    """What frames without a label are good for."""

    NONE = "none"
    CONSISTENCY = "consistency"  # the net shall say the same of a frame and of its disturbed copy
    SELF_TRAINING = "self_training"  # the net shall say what the source is sure of


@dataclass(frozen=True)
class Depths:
    """Learning rates by depth, as factors: the heads, and the stages of the body counted from the output."""

    heads: float = option(0.0, "factor for the two readouts", minimum=0.0, maximum=100.0)
    body: float = option(0.0, "factor for the stage of the body nearest to the output", minimum=0.0, maximum=100.0)
    num_stages: int = option(0, "stages of the body that move, from the output", minimum=0, maximum=1000)
    decay: float = option(1.0, "factor from one stage to the one before it", minimum=0.0, maximum=1.0)
    unfreeze_frac: float = option(
        0.0,
        "share of the steps after which one more stage begins to move; 0 moves all at once",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True)
class Anchors:
    """What holds a net back at its source: weights of penalties, 0 is off."""

    l2sp: float = option(0.0, "squared distance of the weights from the source", minimum=0.0, maximum=1e6)
    ewc: float = option(
        0.0, "the same, weighed by how much simulated frames need each weight (Fisher)", minimum=0.0, maximum=1e9
    )
    distillation: float = option(
        0.0, "what the source says of the real frames, where no label says otherwise", minimum=0.0, maximum=1e3
    )


@dataclass(frozen=True)
class Mixture:
    """Simulated frames in every batch (co-training)."""

    start_frac: float = option(0.0, "share of simulated frames in the first step", minimum=0.0, maximum=1.0)
    end_frac: float = option(0.0, "share in the last step; linear between", minimum=0.0, maximum=1.0)
    separate_norm: bool = option(True, "simulated frames are normalised by the statistics of the source")

    def frac_at(self, progress: float) -> float:
        """Share at a progress in [0, 1]."""
        return self.start_frac + (self.end_frac - self.start_frac) * min(max(progress, 0.0), 1.0)


@dataclass(frozen=True)
class Strategy:
    """One way to fine-tune the perception encoder.

    Raises:
        ConfigError: something would be trained in no step, or nothing in many; or adapters replace what shall move.
    """

    name: str = required("name, as the ledger shows it")
    about: str = required("what it does, in a sentence")
    start: Start = option(Start.SOURCE, "weights to start from")
    steps: int = option(0, "optimizer steps at most; early stopping may take fewer", minimum=0, maximum=1_000_000)
    learning_rate: float = option(1e-3, "peak learning rate where the factor is 1", minimum=1e-8, maximum=1.0)
    batch_size: int = option(16, "frames per step, simulated ones included", minimum=2, maximum=4096)
    statistics: Statistics = option(Statistics.KEEP, "running statistics of normalisation layers")
    adapter_rank: int = option(0, "rank of LoRA adapters on the convolutions; 0 is none", minimum=0, maximum=256)
    unknown_weight: float = option(
        0.0, "weight of cells without label as 'no grasp here'; 0 believes nothing of them", minimum=0.0, maximum=1.0
    )
    augment: bool = option(True, "turn, zoom, shift and recolour the real frames, labels with them")
    depths: Depths = option(lambda: Depths(), "learning rates by depth")
    anchors: Anchors = option(lambda: Anchors(), "what holds the net back at its source")
    mixture: Mixture = option(lambda: Mixture(), "simulated frames in every batch")
    unlabelled: Unlabelled = option(Unlabelled.NONE, "what frames without label are used for")
    unlabelled_weight: float = option(0.5, "weight of that", minimum=0.0, maximum=100.0)

    def __post_init__(self) -> None:
        moves = self.depths.heads > 0 or (self.depths.body > 0 and self.depths.num_stages > 0) or self.adapter_rank > 0
        if moves != (self.steps > 0):
            what = "moves something in no step" if moves else f"moves nothing in {self.steps} steps"
            raise ConfigError(f"strategy {self.name}: {what}; give both steps and depths or adapter_rank, or neither")
        if self.start is Start.SCRATCH and (self.adapter_rank or self.anchors != Anchors()):
            raise ConfigError(
                f"strategy {self.name}: start=scratch has no source that adapters or anchors could hold to"
            )

    @property
    def needs_simulation(self) -> bool:
        """Whether simulated frames are part of it."""
        return self.steps > 0 and (max(self.mixture.start_frac, self.mixture.end_frac) > 0 or self.anchors.ewc > 0)


def strategy_names() -> list[str]:
    """Names of the shipped strategies."""
    return shipped_names("strategy")


def load_strategy(name_or_path: str) -> Strategy:
    """Reads a shipped strategy, or one from a YAML file.

    Raises:
        ConfigError: there is no such strategy, or the file is not right; names the file and the field.
    """
    values = read_mapping(find_settings("strategy", name_or_path, "strategy", (AUTO,)))
    return parse(values, Strategy, prefix=f"strategy {name_or_path}: ")


def as_plain(strategy: Strategy) -> dict[str, object]:
    """A strategy as plain values, for JSON and for hashes."""
    plain: dict[str, object] = dataclasses.asdict(strategy)
    return plain
