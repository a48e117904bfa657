"""The `curve` command: success against the number of real episodes, fine-tuned and from scratch."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from simtoreal.bundle import save_bundle
from simtoreal.config import World
from simtoreal.envs.worlds import check_world
from simtoreal.evaluation.output_files import write_text_atomic
from simtoreal.evaluation.records import to_plain
from simtoreal.policies.load import encoder_weights
from simtoreal.progress import Progress
from simtoreal.transfer.curve.learning_curve import (
    Curves,
    Estimate,
    Measured,
    band,
    fit_curves,
    outlook,
    what_was_saved,
)
from simtoreal.transfer.curve.page import render_terminal, write_page
from simtoreal.transfer.curve.points import Point, Split, Task, Work, find_points, make_split, train_point
from simtoreal.transfer.curve.saved import as_plain_saved
from simtoreal.transfer.data.labels import Hindsight
from simtoreal.transfer.online import Entrant, run_arm
from simtoreal.transfer.preparation import Job, check_unchanged, possible_of, prepare, strategies_of
from simtoreal.transfer.settings import CurveConfig
from simtoreal.transfer.tuning.strategy import SCRATCH, Strategy, load_strategy

TUNED = "fine_tuned"
VERSION = 1
_DRAWN = 40  # points that a fitted curve is drawn through


def curve(config: CurveConfig) -> None:
    """Finds every point, fits curves, says what they mean, and writes `curve.json` and `report.html`.

    Raises:
        ConfigError: a strategy, the bundle or the camera cannot be used, or no size is left.
        DatasetError: there are too few episodes, or they changed meanwhile.
    """
    progress = Progress()
    strategies = strategies_of(config)
    if config.world is not None:
        check_world(config.world.value, with_camera=True)
    job = prepare(config, Hindsight(), progress)
    strategies, _ = possible_of(strategies, job)
    work = work_of(config, job, {TUNED: tuple(strategies), SCRATCH: (load_strategy(SCRATCH),)})
    tasks = plan_tasks(config, work.splits)
    points = []
    with progress.task("points", len(tasks)) as bar:
        for point in find_points(work, tasks, config.workers):
            points.append(point)
            bar.advance(note=f"{point.arm}, {point.size} episodes: miss {np.mean(point.miss):.3f}")
    check_unchanged(config, job.data)
    found = summarise(points, config, offline(points), "miss")
    if config.world is not None:
        found["online"] = summarise(points, config, online(points, config, job, work), "failure")
    facts = {"bundle": str(job.folder), "episodes_folder": str(config.episodes), "digest": job.data.digest,
             "seeds": list(config.seeds), "n_held_out": {s: len(split.held_out) for s, split in work.splits.items()},
             "world": config.world, "reality": config.reality}  # fmt: skip
    _write(config, to_plain({"curve_version": VERSION, **facts, **found}))


def _write(config: CurveConfig, plain: Mapping[str, Any]) -> None:
    write_text_atomic(config.out / "curve.json", json.dumps(plain, indent=1, allow_nan=False) + "\n")
    page = write_page(config.out, plain, shlex.join(["simtoreal", *sys.argv[1:]]))
    console = Console()
    console.print(render_terminal(plain))
    for name, path in (("curve", config.out / "curve.json"), ("page", page)):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)


def work_of(config: CurveConfig, job: Job, arms: dict[str, tuple[Strategy, ...]]) -> Work:
    """What finding the points of some arms needs."""
    frames = job.data.frames
    labelled = np.unique(frames.episode[frames.is_labelled])
    others = np.intersect1d(job.data.only_training, labelled).astype(np.int64)  # failures teach too
    splits = {seed: make_split(job.data.judgeable, others, config.held_out_frac, seed) for seed in config.seeds}
    made_of = job.trainer.made_of
    return Work(job.trainer.domain, made_of, config.out, arms, splits, config.budget_s, job.data.judgeable)


def plan_tasks(config: CurveConfig, splits: Mapping[int, Split]) -> list[Task]:
    """Every arm, size and seed, small sizes first; from scratch there is nothing at size 0."""
    most = min(len(split.row) for split in splits.values())
    sizes = sorted({*(size for size in config.sizes if size <= most), most})
    arms = [(TUNED, size) for size in sizes] + [(SCRATCH, size) for size in sizes if size]
    return [Task(arm, size, seed) for arm, size in sorted(arms, key=lambda item: item[1]) for seed in config.seeds]


Losses = dict[Task, dict[str, float]]  # by unit: episode or object


def offline(points: Sequence[Point]) -> Losses:
    """The miss of every held-out episode."""
    return {
        Task(*point[:3]): {str(episode): miss for episode, miss in zip(point.episodes, point.miss, strict=True)}
        for point in points
    }


def online(points: Sequence[Point], config: CurveConfig, job: Job, work: Work) -> Losses:
    """The share of failures with every object, in the world that was asked for, on the same scenes for all points.

    Nets that came out alike are run once.
    """
    assert config.world is not None
    losses: Losses = {}
    for point in points:
        task = Task(*point[:3])
        tuned, _, _ = train_point(work, task, job.trainer)  # kept by the trainer
        folder = config.out / "policies" / "-".join(map(str, task))
        save_bundle(replace(job.source, encoder_weights=encoder_weights(tuned.net)), folder)
        records = run_arm(config, World(config.world), Entrant("point", folder), job.progress)
        failed: dict[str, list[float]] = {}
        for record in records:
            failed.setdefault(record.target_name, []).append(float(not record.success))
        losses[task] = {name: float(np.mean(values)) for name, values in failed.items()}
    return losses


# --- what it says


def summarise(points: Sequence[Point], config: CurveConfig, losses: Losses, what: str) -> dict[str, Any]:
    """Curves of both arms with bands, what pretraining saved, and what more episodes would bring, as plain values."""
    sizes = {arm: sorted({task.size for task in losses if task.arm == arm}) for arm in (TUNED, SCRATCH)}
    seconds = {Task(*point[:3]): point.seconds for point in points}
    arms = {arm: {seed: _measured(losses, seconds, arm, (seed, sizes[arm])) for seed in config.seeds} for arm in sizes}
    curves = fit_curves(arms, sizes, np.random.default_rng((config.seed, 37)))
    saved, later = what_was_saved(curves[TUNED], curves[SCRATCH]), outlook(curves[TUNED])
    return {
        "loss": what,
        "arms": {arm: _plain_arm(found) for arm, found in curves.items()},
        "saved": as_plain_saved(saved),
        "outlook": {**later._asdict(), "gain_of_doubling": later.gain_of_doubling._asdict(),
                    "num_worth": later.num_worth._asdict()},
        "points": [{**point._asdict(), "loss": float(np.mean(list(losses[Task(*point[:3])].values())))}
                   for point in points],
    }  # fmt: skip


def _measured(losses: Losses, seconds: Mapping[Task, float], arm: str, where: tuple[int, Sequence[int]]) -> Measured:
    """What one seed measured; units are those that every point of the seed was judged by."""
    seed, sizes = where
    common = set.intersection(*(set(found) for task, found in losses.items() if task.seed == seed))
    units = tuple(sorted(common))
    tasks = [Task(arm, size, seed) for size in sizes]
    loss: NDArray[np.float64] = np.array([[losses[task][unit] for task in tasks] for unit in units])
    return Measured(units, loss, np.array([seconds[task] for task in tasks]))


def _plain_arm(curves: Curves) -> dict[str, Any]:
    drawn = np.linspace(curves.sizes[0], 2 * curves.sizes[-1], _DRAWN)
    return {
        "sizes": curves.sizes.tolist(),
        "measured": _columns(band(curves.mean)),
        "seconds": curves.seconds[0].tolist(),
        "floor": float(curves.floor[0]), "drop": float(curves.drop[0]), "rate": float(curves.rate[0]),
        "fitted": {"sizes": drawn.tolist(), **_columns(band(curves.at(drawn)))},
    }  # fmt: skip


def _columns(estimates: Sequence[Estimate]) -> dict[str, list[float]]:
    return {name: [getattr(one, name) for one in estimates] for name in Estimate._fields}
