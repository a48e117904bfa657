"""The online half of a ledger: source and fine-tuned policy in a world that can be run, on the same scenes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal.config import World
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.reality import load_reality
from simtoreal.envs.worlds import check_world
from simtoreal.evaluation.arena import ArenaSpec
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import pair_records, summarise
from simtoreal.evaluation.runner import EvaluationPlan, run_evaluation
from simtoreal.evaluation.statistics import Difference, paired_difference
from simtoreal.progress import Progress
from simtoreal.transfer.settings import TransferConfig
from simtoreal.transfer.trainer import hash_of

Bundles = Mapping[str, Path]  # folder by arm: source, fine_tuned


def measure_online(config: TransferConfig, bundles: Bundles, progress: Progress) -> dict[str, Any] | None:
    """Success of both arms on unseen objects, paired, there and in the source simulator; None where no world was named.

    Finished episodes are kept in the run folder, so that a run that was stopped goes on.

    Raises:
        ValueError: world, reality or objects cannot be used.
        ModuleNotFoundError: the world is an extra that is not installed.
    """
    if config.world is None:
        return None
    check_world(config.world.value, with_camera=True)
    there = _compare(config, config.world, bundles, progress)
    if config.world is World.PYBULLET:
        return {"world": config.world.value, "objects": config.objects, **there, "source_simulator": None}
    home = _compare(config, World.PYBULLET, bundles, progress)
    return {
        "world": config.world.value,
        "reality": config.reality or "default",
        "objects": config.objects,
        **there,
        "source_simulator": home,
    }


def _compare(config: TransferConfig, world: World, bundles: Bundles, progress: Progress) -> dict[str, Any]:
    records = {arm: run_arm(config, world, (arm, folder), progress) for arm, folder in bundles.items()}
    pairs = pair_records(records["source"], records["fine_tuned"])
    if not pairs:
        raise ValueError(f"world={world.value}: no scene was finished by both policies, so they cannot be compared")
    source, tuned = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    gain: Difference = paired_difference(
        [record.success for record in tuned],
        [record.success for record in source],
        [record.target_name for record in source],
        rng=np.random.default_rng((config.seed, 19)),
    )
    return {"arms": {"source": summarise(source), "fine_tuned": summarise(tuned)}, "gain": gain._asdict()}


def run_arm(config: TransferConfig, world: World, arm: tuple[str, Path], progress: Progress) -> list[EpisodeRecord]:
    """The episodes of one policy, by name and folder, on the scenes that all others of these settings meet too."""
    name, folder = arm
    reality = load_reality(config.reality or "default").to_plain() if world is World.MUJOCO else {}
    spec = ArenaSpec(
        bundle=folder,
        objects=config.objects,
        randomization=load_randomization(config.randomization).to_plain(),
        robot=config.robot,
        seed=config.seed,
        cache_dir=default_cache_dir(),
        world=world.value,
        reality=reality,
    )
    # A folder for each policy and setting, so that what is in it can always be gone on with.
    made_of = hash_of(
        (folder / "encoder.safetensors").read_bytes().hex(),
        str(replace(spec, cache_dir=Path())),
        str(config.online_episodes),
    )
    out = config.out / "online" / f"{world.value}-{name}-{made_of}"
    plan = EvaluationPlan(
        config.online_episodes, ("policy",), config.workers, out, resume=True, label=f"{name} in {world.value}"
    )
    return list(run_evaluation(spec, plan, progress).main)
