"""Source and export in the same simulated scenes: who grasps, and what both saw on the way."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simtoreal.contracts import Observation
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation.arena import Arena, ArenaSpec
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import gain_of_pairs, pair_records, summarise
from simtoreal.evaluation.runner import EvaluationPlan, plan_jobs, run_evaluation, usable_objects
from simtoreal.evaluation.statistics import Difference
from simtoreal.export.observations import Episode
from simtoreal.export.settings import ExportConfig
from simtoreal.progress import Progress
from simtoreal.runtime import Step
from simtoreal.transfer.tuning.trainer import hash_of

_WATCHED = 4  # episodes whose observations the policy is timed on


class Success(NamedTuple):
    """Both arms on the scenes that both finished."""

    source: dict[str, Any]  # as `results.summarise`
    exported: dict[str, Any]
    difference: Difference  # exported minus source

    def to_plain(self) -> dict[str, Any]:
        return {"source": self.source, "exported": self.exported, "difference": self.difference._asdict()}


def compare_success(config: ExportConfig, source: Path, progress: Progress) -> Success:
    """Runs both on `config.n` scenes; finished episodes are kept in the folder, so that a stopped run goes on.

    Raises:
        ValueError: the objects cannot be used, or no scene was finished by both.
    """
    ours, theirs = (
        _run(config, name, folder, progress) for name, folder in (("source", source), ("export", config.out))
    )
    pairs = pair_records(ours, theirs)
    if not pairs:
        raise ValueError(f"objects={config.objects}: no scene was finished by both, so they cannot be compared")
    gain = gain_of_pairs(pairs, np.random.default_rng((config.seed, 23)))
    return Success(summarise([a for a, _ in pairs]), summarise([b for _, b in pairs]), gain)


def _run(config: ExportConfig, name: str, folder: Path, progress: Progress) -> list[EpisodeRecord]:
    spec = _arena(config, folder)
    files = ("encoder.safetensors", "encoder.onnx", "head.safetensors")
    weights = [(folder / file).read_bytes().hex() for file in files if (folder / file).is_file()]
    out = (
        config.out
        / "proof"
        / f"{name}-{hash_of(*weights, str(replace(spec, bundle=None, cache_dir=Path())), str(config.n))}"
    )
    plan = EvaluationPlan(config.n, ("policy",), config.workers, out, resume=True, label=name)
    return list(run_evaluation(spec, plan, progress).main)


def watch(config: ExportConfig, progress: Progress) -> list[Episode]:
    """What the exported policy sees in a few of those scenes, from the first image to the last.

    Raises:
        ValueError: the objects cannot be used.
    """
    spec = _arena(config, config.out)
    plan = EvaluationPlan(_WATCHED, ("policy",), 1, config.out)
    names, _ = usable_objects(spec, plan, progress)
    arena = Arena(spec)
    episodes: list[Episode] = []
    try:
        for job in plan_jobs(names, config.seed, plan):
            watcher = _Watcher()
            try:
                arena.run(job, [watcher])
            except InvalidScene:
                continue
            episodes.append(watcher.seen)
    finally:
        arena.close()
    if not episodes:
        raise ValueError(f"objects={config.objects}: no scene could be watched to its end")
    return episodes


class _Watcher:
    """A subscriber that keeps what was observed in the latest episode."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def episode_start(self) -> None:
        self.seen = []

    def step(self, step: Step) -> None:
        self.seen.append(step.observation)

    def episode_end(self) -> None:
        """Nothing to close."""


def _arena(config: ExportConfig, folder: Path) -> ArenaSpec:
    return ArenaSpec(
        bundle=folder,
        objects=config.objects,
        randomization=load_randomization(config.randomization).to_plain(),
        robot=config.robot,
        seed=config.seed,
        cache_dir=default_cache_dir(),
    )
