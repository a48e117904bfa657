"""Strategies for the policy head: in the corrected simulator, or from the logs themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from simtoreal.bundle import Bundle
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.learned_grasps import LearnedGrasps
from simtoreal.policies.load import learned_grasp_map
from simtoreal.policies.parts import make_head, view_of
from simtoreal.policies.residual_head import split_residual
from simtoreal.pretraining.corrected import retrain_head
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError
from simtoreal.transfer.control.head_learning import Learned, learn_awr, learn_clone, learn_residual
from simtoreal.transfer.control.head_logs import Transitions, read_transitions
from simtoreal.transfer.data.dataset import Wanted, choose_camera
from simtoreal.transfer.settings import FinetuneConfig, HeadStrategy

MIN_EPISODES, MIN_SUCCESSES = 8, 4
FROM_LOGS = (HeadStrategy.CLONE, HeadStrategy.AWR, HeadStrategy.RESIDUAL)


class HeadOutcome(NamedTuple):
    """A bundle with another head, and what is known of it."""

    bundle: Bundle
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class HeadJob:
    """What a strategy gets: the bundle with the fine-tuned perception, and its error as it was measured."""

    config: FinetuneConfig
    bundle: Bundle
    error: PerceptionError
    identified: Path | None  # identified.yaml, where one was written
    progress: Progress


def check_head(config: FinetuneConfig, bundle: Bundle) -> None:
    """Refuses what cannot work before anything long begins.

    Raises:
        ConfigError: the strategy needs a learned head, and the bundle has none.
    """
    if config.head in (HeadStrategy.CLONE, HeadStrategy.AWR) and not split_residual(bundle.head_weights)[0]:
        raise ConfigError(
            f"head={config.head.value} starts from a learned head, and the bundle holds none: give head=residual, "
            "which works on the scripted servo, or train one with `simtoreal pretrain stage=control bundle=...`"
        )


def adapt_head(job: HeadJob) -> HeadOutcome | None:
    """Carries out the strategy for the head; None where it stays as it is.

    Raises:
        DatasetError: too few episodes with a known outcome, or too few successes, to learn from.
        ConfigError: head=identified, and nothing could be identified.
    """
    strategy = job.config.head
    if strategy is HeadStrategy.IDENTIFIED:
        return _identified(job)
    if strategy not in FROM_LOGS:
        return None
    data = _transitions(job)
    learned = _learn(job, data)
    weights = {**split_residual(job.bundle.head_weights)[0], **learned.weights}
    head = job.bundle.head if strategy is HeadStrategy.RESIDUAL else "learned"
    facts = {
        "strategy": strategy.value,
        "n_episodes": len(set(data.episode.tolist())),
        "n_transitions": len(data.observations),
        "n_held_out": learned.num_held_out,
        "steps": learned.steps,
        "held_out_gain": learned.gain._asdict(),
    }
    return HeadOutcome(replace(job.bundle, head=head, head_weights=weights), facts)


def _learn(job: HeadJob, data: Transitions) -> Learned:
    torch.set_num_threads(1)  # for networks so small, a second thread only waits for the first
    start, seed = split_residual(job.bundle.head_weights)[0], job.config.seed
    if job.config.head is HeadStrategy.CLONE:
        return learn_clone(data, start, seed)
    return learn_awr(data, start, seed) if job.config.head is HeadStrategy.AWR else learn_residual(data, seed)


def _transitions(job: HeadJob) -> Transitions:
    folder, view = job.config.episodes, view_of(job.bundle)
    assert folder is not None
    source = LearnedGrasps(learned_grasp_map(job.bundle), view)
    plain = replace(job.bundle, head_weights=split_residual(job.bundle.head_weights)[0])
    with DatasetReader(folder, skip_broken=True) as reader:
        camera = choose_camera(reader, Wanted(view, job.config.camera))
        data = read_transitions(reader, camera, source, make_head(plain), plain.scale)
    num, good = len(set(data.episode.tolist())), len(set(data.episode[data.success].tolist()))
    if num < MIN_EPISODES or good < MIN_SUCCESSES:
        raise DatasetError(
            f"has {num} episodes with commands and a known outcome, {good} of them successes; head="
            f"{job.config.head.value} needs {MIN_EPISODES} and {MIN_SUCCESSES}: record more, mark success when "
            "importing, or give head=identified, which learns from failures too",
            file=folder,
        )
    return data


def _identified(job: HeadJob) -> HeadOutcome:
    if job.identified is None:
        raise ConfigError(
            "head=identified, but the episodes do not tell enough of the arm: see what is missing with "
            f"`simtoreal identify episodes={job.config.episodes}`"
        )
    bundle = replace(job.bundle, error=job.error)
    weights = retrain_head(bundle, job.identified, job.config.out / "head", (job.config.seed, job.config.workers),
                           job.progress)  # fmt: skip
    facts = {"strategy": "identified", "identified": str(job.identified), "perception_error": job.error.to_dict()}
    return HeadOutcome(replace(bundle, head="learned", head_weights=weights), facts)
