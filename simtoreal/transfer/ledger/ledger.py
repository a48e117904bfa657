"""The transfer ledger: what fine-tuning did, beside the source and beside training from nothing, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import FloatArray
from simtoreal.evaluation.statistics import Difference, paired_mean_difference
from simtoreal.transfer.data.dataset import RealData
from simtoreal.transfer.data.simulated import FRAMES_PER_SCENE
from simtoreal.transfer.ledger.calibration_check import Shift, suspicion
from simtoreal.transfer.ledger.slices import by_slice, describe
from simtoreal.transfer.ledger.verdict import Evidence, Verdict, judge
from simtoreal.transfer.trials.arms import ARMS, ArmScores
from simtoreal.transfer.trials.selection import Choice, Search, Trial
from simtoreal.transfer.tuning.grasp_score import EpisodeScores, FrameScore, by_episode, columns
from simtoreal.transfer.tuning.strategy import SCRATCH, as_plain
from simtoreal.transfer.tuning.training import Tuned

VERSION = 1
_NOTICEABLE = 0.05  # change of an episode's miss that counts as better or worse


@dataclass(frozen=True)
class Findings:
    """Everything that a ledger is made from."""

    data: RealData
    search: Search
    choice: Choice
    arms: ArmScores
    final: Tuned
    simulated: tuple[list[FrameScore], list[FrameScore]] | None  # of source and final net on held-out simulated frames
    label_shift: Shift | None
    online: Mapping[str, Any] | None  # as `online.measure_online` gives it
    seed: int
    wall_s: float
    force: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_ledger(findings: Findings) -> dict[str, Any]:
    """The ledger as plain values for JSON."""
    rng = np.random.default_rng((findings.seed, 17))
    scores = {arm: by_episode(findings.arms.held_out[arm]) for arm in ARMS}
    forgotten = _forgetting(findings.simulated, rng)
    gain = _paired(scores["source"].miss, scores["fine_tuned"].miss, scores["source"].episodes, rng)
    judgement = judge(_evidence(findings, gain, forgotten))
    ships = judgement.verdict is Verdict.IMPROVED or findings.force
    ledger: dict[str, Any] = _plain(
        {
            "ledger_version": VERSION,
            "verdict": judgement.verdict.value,
            "reasons": judgement.reasons,
            "shipped": "fine_tuned" if ships else "source",
            "forced": findings.force and judgement.verdict is not Verdict.IMPROVED,
            "arms": {arm: _arm(scores[arm]) for arm in ARMS},
            "paired": _all_paired(scores, rng),
            "per_fold": _per_fold(findings.arms, scores),
            "per_episode": _per_episode(findings, scores),
            "auto": _auto(findings.search, findings.choice, findings.arms.chosen),
            "forgetting": forgotten,
            "over_fitting": _over_fitting(findings.arms, scores, rng),
            "slices": _slices(findings.data, scores, rng),
            "online": findings.online,
            "label_shift": None if findings.label_shift is None else findings.label_shift._asdict(),
            "cost": _cost(findings),
            "data": _data(findings.data),
            **findings.facts,
        }
    )
    return ledger


def _evidence(findings: Findings, gain: Difference, forgotten: dict[str, Any] | None) -> Evidence:
    online = None if findings.online is None else Difference(**findings.online["gain"])
    lost = None if forgotten is None else Difference(**forgotten["rise"])
    home = None if findings.online is None else findings.online["source_simulator"]
    home_gain = None if home is None else Difference(**home["gain"])
    return Evidence(gain, lost, online, home_gain, suspicion(findings.label_shift))


def _arm(scores: EpisodeScores) -> dict[str, Any]:
    """Mean over episodes of each error, with the spread of the episodes."""
    spread = {
        name: {"mean": values.mean(), "median": np.median(values), "sd": _sd(values)}
        for name, values in columns(scores)
    }
    return {"n_episodes": len(scores.episodes), **spread}


def _all_paired(scores: Mapping[str, EpisodeScores], rng: np.random.Generator) -> dict[str, Any]:
    """Gains of the fine-tuned net in each error, positive where it is lower."""
    tuned = dict(columns(scores["fine_tuned"]))
    return {
        f"{other} - fine_tuned": {
            name: _paired(values, tuned[name], scores[other].episodes, rng)._asdict()
            for name, values in columns(scores[other])
        }
        for other in ("source", SCRATCH)
    }


def _paired(a: FloatArray, b: FloatArray, episodes: NDArray[np.int64], rng: np.random.Generator) -> Difference:
    return paired_mean_difference(a, b, episodes.tolist(), rng=rng)


def _per_fold(arms: ArmScores, scores: Mapping[str, EpisodeScores]) -> list[dict[str, Any]]:
    """Each fold has a seed of its own: how much the result depends on it."""
    episodes = scores["source"].episodes
    folds = np.array([arms.fold_of[int(episode)] for episode in episodes])
    return [
        {
            "fold": int(fold),
            "strategy": arms.chosen[int(fold)],
            "n_episodes": int((folds == fold).sum()),
            "miss": {arm: scores[arm].miss[folds == fold].mean() for arm in ARMS},
        }
        for fold in np.unique(folds)
    ]


def _per_episode(findings: Findings, scores: Mapping[str, EpisodeScores]) -> list[dict[str, Any]]:
    names = {note.position: note.object_name for note in findings.data.notes}
    return [
        {"episode": int(episode), "object": names[int(episode)],
         "miss": {arm: scores[arm].miss[i] for arm in ARMS},
         "position_mm": {arm: scores[arm].position_mm[i] for arm in ARMS}}
        for i, episode in enumerate(scores["source"].episodes)
    ]  # fmt: skip


def _auto(search: Search, choice: Choice, chosen: Sequence[str]) -> dict[str, Any]:
    return {
        "chosen": choice.strategy.name,
        "steps": choice.steps,
        "why": choice.why,
        "strategy": as_plain(choice.strategy),
        "chosen_in_folds": list(chosen),
        "tried": [_tried(trial) for trial in search.trials],
        "skipped": search.skipped,
    }


def _tried(trial: Trial) -> dict[str, Any]:
    return {
        "strategy": trial.strategy.name,
        "miss": trial.miss.mean(),
        "sd": _sd(trial.miss),
        "n_validation": len(trial.miss),
        "steps": list(trial.steps),
        "num_trainable": trial.num_trainable,
        "seconds": trial.seconds,
    }


def _forgetting(
    simulated: tuple[list[FrameScore], list[FrameScore]] | None, rng: np.random.Generator
) -> dict[str, Any] | None:
    if simulated is None:
        return None
    before, after = (by_episode(scores) for scores in simulated)
    scenes = (before.episodes // FRAMES_PER_SCENE).tolist()
    rise = paired_mean_difference(after.miss, before.miss, scenes, rng=rng)
    return {"source": _arm(before), "fine_tuned": _arm(after), "rise": rise._asdict(), "n_scenes": len(set(scenes))}


def _over_fitting(arms: ArmScores, scores: Mapping[str, EpisodeScores], rng: np.random.Generator) -> dict[str, Any]:
    """Held-in against held-out episodes of the fine-tuned nets, and for how many episodes it went the other way."""
    inside, outside = by_episode(arms.held_in), scores["fine_tuned"]
    both = np.intersect1d(inside.episodes, outside.episodes)
    within, without = (s.miss[np.isin(s.episodes, both)] for s in (inside, outside))
    change = scores["source"].miss - outside.miss
    return {
        "held_in_miss": inside.miss.mean(),
        "held_out_miss": outside.miss.mean(),
        "gap": _paired(without, within, both, rng)._asdict() if len(both) else None,
        "n_better": int((change > _NOTICEABLE).sum()),
        "n_worse": int((change < -_NOTICEABLE).sum()),
        "n_alike": int((np.abs(change) <= _NOTICEABLE).sum()),
    }


def _slices(data: RealData, scores: Mapping[str, EpisodeScores], rng: np.random.Generator) -> list[dict[str, Any]]:
    source = scores["source"]
    gain = source.miss - scores["fine_tuned"].miss
    names = {note.position: note.object_name for note in data.notes}
    slices = describe(data.frames, source.episodes, [names[int(episode)] for episode in source.episodes])
    return by_slice(gain, source.episodes, slices, rng)


def _cost(findings: Findings) -> dict[str, Any]:
    final, frames = findings.final, findings.data.frames
    return {
        "num_trainable": final.num_trainable,
        "num_parameters": final.num_parameters,
        "steps": final.steps,
        "final_training_s": final.seconds,
        "search_s": sum(trial.seconds for trial in findings.search.trials),
        "arms_s": findings.arms.seconds,
        "scratch_steps": list(findings.arms.scratch.steps),
        "scratch_num_trainable": findings.arms.scratch.num_trainable,
        "wall_s": findings.wall_s,
        "n_frames": len(frames),
        "n_labelled_frames": int(frames.is_labelled.sum()),
    }


def _data(data: RealData) -> dict[str, Any]:
    return {
        "digest": data.digest,
        "n_episodes": len(data.notes),
        "n_judged": len(data.judgeable),
        "episodes": [note._asdict() for note in data.notes],
    }


def _sd(values: FloatArray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _plain(value: Any) -> Any:
    """Numbers that JSON knows: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
