"""What every command of this package needs before it trains: labelled frames, simulated ones, and a trainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from simtoreal.bundle import Bundle, load_bundle
from simtoreal.envs.assets import default_cache_dir
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.policies.encoders import EncoderSpec
from simtoreal.policies.load import load_encoder
from simtoreal.policies.parts import view_of
from simtoreal.preflight import find_bundle, resolve_device
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError
from simtoreal.transfer.data.dataset import RealData, Wanted, dataset_digest, load_real_data
from simtoreal.transfer.data.labels import LabelSource
from simtoreal.transfer.data.simulated import SimulatedFrames, WantedFrames, load_simulated
from simtoreal.transfer.settings import TransferConfig
from simtoreal.transfer.trials.folds import MIN_EPISODES
from simtoreal.transfer.tuning.strategy import AUTO, Strategy, load_strategy
from simtoreal.transfer.tuning.trainer import Trainer, hash_of
from simtoreal.transfer.tuning.training import Domain


@dataclass(frozen=True)
class Job:
    """What all parts of a fine-tuning share."""

    config: TransferConfig
    folder: Path  # of the source bundle
    source: Bundle
    data: RealData
    simulated: SimulatedFrames | None
    trainer: Trainer
    progress: Progress


def strategies_of(config: TransferConfig) -> list[Strategy]:
    """The strategies to try; all of their files are read before anything long begins.

    Raises:
        ConfigError: no episodes are given, or a strategy is none.
    """
    if config.episodes is None:
        raise ConfigError("episodes must be given: episodes=DIR, a dataset of `simtoreal record` or `simtoreal import`")
    names = config.candidates if config.strategy == AUTO else (config.strategy,)
    return [load_strategy(name) for name in names]


def prepare(config: TransferConfig, labels: LabelSource, progress: Progress) -> Job:
    """Labels episodes, renders simulated frames, and sets up the trainer; what was made before comes from the cache.

    Raises:
        ConfigError: bundle, camera or device cannot be used.
        DatasetError: there are no episodes, or too few that show where something was held.
    """
    assert config.episodes is not None
    torch.set_num_threads(config.workers)
    folder = find_bundle(config.bundle)
    source = load_bundle(folder)
    cache_dir = default_cache_dir()
    data = load_real_data(
        config.episodes, Wanted(view_of(source), config.camera, config.max_frames), labels, cache_dir, progress
    )
    _check_episodes(config, data)
    wanted = WantedFrames(
        config.simulated_frames, config.simulated_objects, config.randomization, config.robot, config.seed,
        config.workers,
    )  # fmt: skip
    simulated = load_simulated(wanted, source, cache_dir, progress) if wanted.num_frames else None
    domain = Domain(
        EncoderSpec(**source.encoder), view_of(source), load_encoder(source).requires_grad_(False), data.frames,
        simulated.train if simulated is not None else None, resolve_device(config.device),
    )  # fmt: skip
    made_of = hash_of(
        *(source.encoder_weights[name] for name in sorted(source.encoder_weights)),
        str(source.encoder), str(source.view), data.digest, labels.version, str(config.camera), str(config.max_frames),
        "" if simulated is None else simulated.digest,
    )  # fmt: skip
    return Job(
        config, folder, source, data, simulated, Trainer(domain, made_of, config.out / "trainings", progress), progress
    )


def possible_of(strategies: Sequence[Strategy], job: Job) -> tuple[list[Strategy], dict[str, str]]:
    """The strategies that there are frames for; one that was asked for by name must be among them.

    Raises:
        ConfigError: there is none.
    """
    possible = [strategy for strategy in strategies if job.simulated is not None or not strategy.needs_simulation]
    left_out = {s.name: "mixes in simulated frames, and simulated_frames=0" for s in strategies if s not in possible}
    if not possible:
        raise ConfigError(
            f"strategy={job.config.strategy} needs simulated frames, and simulated_frames=0: give some, "
            "or another strategy"
        )
    return possible, left_out


def _check_episodes(config: TransferConfig, data: RealData) -> None:
    """Makes sure that there is enough to learn from and to judge by.

    Raises:
        DatasetError: there is not; names the first episode that gave nothing and why.
    """
    if len(data.judgeable) >= MIN_EPISODES:
        return
    without = [note for note in data.notes if not note.num_held]
    text = f"{len(data.judgeable)} of {len(data.notes)} episodes show where something was held"
    if without:
        note = without[0]
        why = note.problem or "the jaws only ever closed on nothing while the camera saw the place"
        text += f" (episode {note.position} does not: {why})"
    raise DatasetError(
        f"{text}, and at least {MIN_EPISODES} are needed to train, to stop and to judge: record more successes. "
        "`simtoreal dataset action=verify` says whether the recordings are whole",
        file=config.episodes,
    )


def check_unchanged(config: TransferConfig, data: RealData) -> None:
    """Makes sure that the episodes are still those that were trained on.

    Raises:
        DatasetError: they are not.
    """
    assert config.episodes is not None
    with DatasetReader(config.episodes, skip_broken=True) as reader:
        if dataset_digest(reader) != data.digest:
            raise DatasetError(
                "was changed while it was trained on, so that the ledger would speak of other episodes: run the same "
                "command again when recording has ended",
                file=config.episodes,
            )
