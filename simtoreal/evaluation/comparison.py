"""The `compare` command: two or more evaluations, scene by scene where they met the same scenes."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from simtoreal.config import ConfigError
from simtoreal.evaluation import statistics
from simtoreal.evaluation.comparison_page import render_terminal, write_page
from simtoreal.evaluation.output_files import make_folder, write_text_atomic
from simtoreal.evaluation.records import EpisodeRecord, to_plain
from simtoreal.evaluation.report import Picture
from simtoreal.evaluation.results import load_eval_info, load_records, pair_records, summarise
from simtoreal.evaluation.settings import CompareConfig, Pairing
from simtoreal.progress import Progress

# What decides which scenes an evaluation meets; head, grasps, camera and bundle are what is compared.
SCENE_KEYS = ("world", "reality", "objects", "objects_scale", "num_objects", "randomization", "robot", "seed")
_MIN_PAIRED_FRAC = 0.5  # of the shorter run: fewer scenes in common are an accident, not a paired design
Pair = tuple[EpisodeRecord, EpisodeRecord]


@dataclass(frozen=True)
class Run:
    """One arm of one evaluation."""

    name: str
    folder: Path
    config: Mapping[str, str]
    records: Sequence[EpisodeRecord]


class Judged(NamedTuple):
    """Two runs beside each other, `b` against `a`; differences are fractions, positive where b is better."""

    a: Run
    b: Run
    pairs: Sequence[Pair]  # of the same scene, empty where they are independent
    why_independent: str  # empty where they are paired
    difference: statistics.Difference  # with the interval of one look
    corrected: statistics.Difference  # with the interval and the p value corrected for all looks
    p_mcnemar: float | None  # exact, without regard to objects


def compare(config: CompareConfig) -> None:
    """Compares every run with every other, prints the table, and writes `comparison.json` and `report.html`.

    Raises:
        ConfigError: runs cannot be paired although that was asked for, or say different things of one scene.
        RunFolderError: a folder is not one of an evaluation, or `out` cannot be written.
    """
    runs = load_runs(config)
    found = judge_all(runs, config.pairing, config.seed)
    make_folder(config.out)
    summary = to_plain(summarise_all(runs, found))
    write_text_atomic(config.out / "comparison.json", json.dumps(summary, indent=1, allow_nan=False) + "\n")
    pictures: list[Picture] = []
    if config.pictures:
        from simtoreal.evaluation.comparison_pictures import picture_disagreements  # opens simulators

        pictures = picture_disagreements(found, config.pictures, Progress())
    page = write_page(config.out, summary, pictures)
    console = Console()
    console.print(render_terminal(summary))
    for name, path in (("comparison", config.out / "comparison.json"), ("page", page)):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


def load_runs(config: CompareConfig) -> list[Run]:
    """Reads the arm of every run folder; names are as short as tells them apart.

    Raises:
        ConfigError: there are fewer than two, or one lacks the arm.
        RunFolderError: one is not of an evaluation.
    """
    if len(config.runs) < 2:
        given = f"got {config.runs[0]} alone" if config.runs else "none was given"
        raise ConfigError(f"runs: at least two are compared, {given}: simtoreal compare runs/a runs/b")
    infos = [load_eval_info(folder) for folder in config.runs]
    names = _names(config.runs)
    runs = []
    for name, folder, info in zip(names, config.runs, infos, strict=True):
        records = load_records(folder)
        if not records.get(config.arm.value):
            raise ConfigError(f"arm={config.arm.value}: {folder} has {', '.join(sorted(records)) or 'no episode'}")
        settings = {**info["config"], "seed": str(info["seed"])}
        runs.append(Run(name, folder, settings, records[config.arm.value]))
    return runs


def judge_all(runs: Sequence[Run], pairing: Pairing, seed: int) -> list[Judged]:
    """Every run against every one before it, corrected for how many comparisons that makes."""
    looks = list(combinations(runs, 2))
    found = [_judge(a, b, pairing, (seed, i), len(looks)) for i, (a, b) in enumerate(looks)]
    corrected = statistics.holm([judged.difference.p for judged in found])
    return [
        judged._replace(corrected=judged.corrected._replace(p=float(p)))
        for judged, p in zip(found, corrected, strict=True)
    ]


def match_scenes(a: Run, b: Run) -> tuple[list[Pair], str]:
    """The episodes of two runs that met the same scene, or why there are too few.

    Raises:
        ConfigError: by seed and settings a scene is the same, and object or sampled world differ all the same.
    """
    other = [key for key in SCENE_KEYS if a.config.get(key) != b.config.get(key)]
    if other:
        told = ", ".join(f"{key} {a.config.get(key)} and {b.config.get(key)}" for key in other)
        return [], f"they met other scenes ({told})"
    pairs = pair_records(a.records, b.records)
    for ours, theirs in pairs:
        _check_same(a, b, ours, theirs)
    shorter = min(len(a.records), len(b.records))
    if len(pairs) < max(1, _MIN_PAIRED_FRAC * shorter):
        return [], f"only {len(pairs)} of {shorter} scenes are the same"
    return pairs, ""


def _check_same(a: Run, b: Run, ours: EpisodeRecord, theirs: EpisodeRecord) -> None:
    named = ours.target_name != theirs.target_name
    if not named and ours.world_sample == theirs.world_sample:
        return
    what = f"objects {ours.target_name} and {theirs.target_name}" if named else "other values in world_sample"
    raise ConfigError(
        f"episode {ours.episode} (scene {ours.scene_seed}) is one scene by its settings, but {a.folder} and {b.folder} "
        f"have {what}: they were run by other versions or with another object set of that name. Run one of them again, "
        "or compare them as independent with pairing=independent"
    )


def _judge(a: Run, b: Run, pairing: Pairing, seed: tuple[int, int], num_looks: int) -> Judged:
    pairs, why = ([], "pairing=independent was asked for") if pairing is Pairing.INDEPENDENT else match_scenes(a, b)
    if why and pairing is Pairing.PAIRED:
        raise ConfigError(f"pairing=paired: {a.folder} and {b.folder} cannot be paired, because {why}")
    confidences = (0.95, 1.0 - 0.05 / num_looks)
    if why:
        difference, corrected = (_independent(a, b, confidence) for confidence in confidences)
        return Judged(a, b, [], why, difference, corrected, None)
    ours, theirs = [x.success for x, _ in pairs], [y.success for _, y in pairs]
    objects = [cluster_of(x) for x, _ in pairs]
    difference, corrected = (
        statistics.paired_difference(theirs, ours, objects, rng=np.random.default_rng(seed), confidence=confidence)
        for confidence in confidences
    )
    return Judged(a, b, pairs, "", difference, corrected, statistics.mcnemar_exact(theirs, ours))


def _independent(a: Run, b: Run, confidence: float) -> statistics.Difference:
    ours, theirs = (sum(record.success for record in run.records) for run in (a, b))
    return statistics.independent_difference(theirs, len(b.records), ours, len(a.records), confidence)


def cluster_of(record: EpisodeRecord) -> str:
    """The object that a scene was drawn around: the unit that is resampled."""
    return record.target_name or record.object_name


# --- as plain values


def summarise_all(runs: Sequence[Run], found: Sequence[Judged]) -> dict[str, Any]:
    """Everything for `comparison.json`; differences are in percent points."""
    return {
        "runs": [{"name": run.name, "folder": str(run.folder), **summarise(run.records)} for run in runs],
        "n_comparisons": len(found),
        "comparisons": [_summary(judged) for judged in found],
    }


def _summary(judged: Judged) -> dict[str, Any]:
    one, all_ = judged.difference, judged.corrected
    paired = [(ours.success, theirs.success) for ours, theirs in judged.pairs]
    return {
        "a": judged.a.name,
        "b": judged.b.name,
        "paired": not judged.why_independent,
        "why_independent": judged.why_independent,
        "n_paired": len(paired),
        "n_objects": len({cluster_of(ours) for ours, _ in judged.pairs}),
        "both": sum(x and y for x, y in paired),
        "only_a": sum(x and not y for x, y in paired),
        "only_b": sum(y and not x for x, y in paired),
        "pc_difference": 100 * one.mean,
        "pc_difference_ci95": [100 * one.low, 100 * one.high],
        "pc_difference_ci95_corrected": [100 * all_.low, 100 * all_.high],
        "p": one.p,
        "p_corrected": all_.p,
        "p_mcnemar": judged.p_mcnemar,
        "verdict": verdict_of(judged),
        "n_to_tell_apart": _enough(judged),
        "per_group": _per_group(judged),
    }


def verdict_of(judged: Judged) -> str:
    """`better`, `worse`, or `no evidence` for b against a; the corrected interval decides."""
    if judged.corrected.low > 0:
        return "better"
    return "worse" if judged.corrected.high < 0 else "no evidence"


def _enough(judged: Judged) -> int | None:
    """Scenes per run with which independent runs of these rates would probably be told apart."""
    rates = [float(np.mean([record.success for record in run.records])) for run in (judged.a, judged.b)]
    return None if math.isclose(*rates) else statistics.power_n(*rates)


def _per_group(judged: Judged) -> list[dict[str, Any]]:
    """The difference by shape group, corrected for the number of groups; nothing where runs are independent."""
    groups = sorted({ours.group for ours, _ in judged.pairs})
    rows: list[dict[str, Any]] = []
    for group in groups if len(groups) > 1 else ():
        pairs = [pair for pair in judged.pairs if pair[0].group == group]
        ours, theirs = [x.success for x, _ in pairs], [y.success for _, y in pairs]
        objects = [cluster_of(x) for x, _ in pairs]
        difference = statistics.paired_difference(theirs, ours, objects, rng=np.random.default_rng(0))
        interval = [100 * difference.low, 100 * difference.high]
        rows.append({"group": group, "n_paired": len(pairs), "pc_difference": 100 * difference.mean,
                     "pc_difference_ci95": interval, "p": difference.p})  # fmt: skip
    for row, p in zip(rows, statistics.holm([row["p"] for row in rows]), strict=True):
        row["p_corrected"] = float(p)
    return rows


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of paths, as many as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-depth:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
