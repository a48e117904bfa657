"""The online half of a ledger: source and fine-tuned policy in a world that can be run, on the same scenes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from simtoreal.config import World
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.reality import load_reality
from simtoreal.envs.worlds import check_world
from simtoreal.evaluation.arena import ArenaSpec
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import gain_of_pairs, pair_records, summarise
from simtoreal.evaluation.runner import EvaluationPlan, run_evaluation
from simtoreal.evaluation.statistics import Difference
from simtoreal.policies.parts import HeadChoice
from simtoreal.progress import Progress
from simtoreal.transfer.settings import TransferConfig
from simtoreal.transfer.tuning.trainer import hash_of

Grasps = Literal["learned", "privileged"]
Bundles = Mapping[str, Path]  # folder by arm: source, fine_tuned, and where there is one scratch


def measure_online(config: TransferConfig, bundles: Bundles, progress: Progress) -> dict[str, Any] | None:
    """Success of all arms on unseen objects, paired, and of two in the source simulator; None where no world was named.

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
    kept = {arm: folder for arm, folder in bundles.items() if arm != "scratch"}  # which never was at home there
    home = _compare(config, World.PYBULLET, kept, progress)
    return {
        "world": config.world.value,
        "reality": config.reality or "default",
        "objects": config.objects,
        **there,
        "source_simulator": home,
    }


def _compare(config: TransferConfig, world: World, bundles: Bundles, progress: Progress) -> dict[str, Any]:
    """Success of every arm on the scenes that all of them finished, and what fine-tuning gains on each other."""
    by_arm = {arm: run_arm(config, world, Entrant(arm, folder), progress) for arm, folder in bundles.items()}
    common = set.intersection(*({(r.episode, r.scene_seed) for r in records} for records in by_arm.values()))
    if not common:
        raise ValueError(f"world={world.value}: no scene was finished by both policies, so they cannot be compared")
    kept = {arm: [r for r in records if (r.episode, r.scene_seed) in common] for arm, records in by_arm.items()}
    gains = {arm: _gain(kept["fine_tuned"], kept[arm], config.seed) for arm in kept if arm != "fine_tuned"}
    return {
        "arms": {arm: summarise(records) for arm, records in kept.items()},
        "gain": gains["source"]._asdict(),
        "gain_over_scratch": gains["scratch"]._asdict() if "scratch" in gains else None,
    }


def _gain(tuned: list[EpisodeRecord], other: list[EpisodeRecord], seed: int) -> Difference:
    return gain_of_pairs(pair_records(other, tuned), np.random.default_rng((seed, 19)))


class Entrant(NamedTuple):
    """A policy that meets the scenes: its name, its folder, which head moves it, and whose grasps it goes for."""

    name: str
    folder: Path
    head: HeadChoice = "bundle"
    grasps: Grasps = "learned"


def run_arm(config: TransferConfig, world: World, entrant: Entrant, progress: Progress) -> list[EpisodeRecord]:
    """The episodes of one policy on the scenes that all others of these settings meet too.

    They are kept in a folder of that policy and setting, so that a run that was stopped goes on; equal ones share it.
    """
    reality = load_reality(config.reality or "default").to_plain() if world is World.MUJOCO else {}
    spec = ArenaSpec(
        bundle=entrant.folder,
        objects=config.objects,
        randomization=load_randomization(config.randomization).to_plain(),
        robot=config.robot,
        seed=config.seed,
        cache_dir=default_cache_dir(),
        head=entrant.head,
        grasps=entrant.grasps,
        world=world.value,
        reality=reality,
    )
    files = [entrant.folder / "bundle.yaml", *sorted(entrant.folder.glob("*.safetensors"))]
    made_of = hash_of(
        *(path.read_bytes().hex() for path in files),
        str(replace(spec, cache_dir=Path(), bundle=None)),
        str(config.online_episodes),
    )
    out = config.out / "online" / f"{world.value}-{made_of}"
    label = f"{entrant.name} in {world.value}"
    plan = EvaluationPlan(config.online_episodes, ("policy",), config.workers, out, resume=True, label=label)
    return list(run_evaluation(spec, plan, progress).main)
