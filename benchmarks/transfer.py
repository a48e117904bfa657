"""What fine-tuning on 20 real episodes brings, what pretraining saves, and whether harmful data is seen through.

    python benchmarks/transfer.py [--quick] [--realities default harsh] [--seeds 0 1 2] [--curve harsh]
    python benchmarks/transfer.py --harmful [--quick] [--settings workers=1 head=keep]

- In every reality and with every seed: 20 episodes of the oracle with `random_train` are recorded, `simtoreal finetune`
  (`strategy=auto`) learns from them, and source, from scratch, fine-tuned and what ships meet the same scenes of
  `random_test` as the oracle, there and (source and fine-tuned) in the source simulator.
- `simtoreal curve` in one reality, closed loop: real data and training time saved. Then training from scratch on all of
  those episodes is given 4 and 16 times as many steps: how long does it take for what fine-tuning has on one episode?
- With --harmful: 20 fine-tunings on spoiled episodes and labels (see harmful_episodes.py), verdict and what shipped.

Everything is kept in runs/benchmarks/transfer as it ends: a run that was stopped goes on where it was.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from operator import itemgetter  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import fmean  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from harmful_episodes import KINDS, SpoiledLabels, spoil  # noqa: E402
from record import Row, per_cent, save  # noqa: E402

from simtoreal import cli  # noqa: E402
from simtoreal.config import World  # noqa: E402
from simtoreal.envs.assets import default_cache_dir  # noqa: E402
from simtoreal.envs.randomization import load_randomization  # noqa: E402
from simtoreal.envs.reality import load_reality  # noqa: E402
from simtoreal.episodes.errors import DatasetError  # noqa: E402
from simtoreal.evaluation.arena import ArenaSpec  # noqa: E402
from simtoreal.evaluation.output_files import make_folder  # noqa: E402
from simtoreal.evaluation.records import EpisodeRecord  # noqa: E402
from simtoreal.evaluation.runner import EvaluationPlan, run_evaluation  # noqa: E402
from simtoreal.evaluation.statistics import paired_difference, paired_ratio, wilson  # noqa: E402
from simtoreal.preflight import find_bundle  # noqa: E402
from simtoreal.progress import Progress  # noqa: E402
from simtoreal.transfer.curve.command import TUNED, online, work_of  # noqa: E402
from simtoreal.transfer.curve.points import Task, find_point  # noqa: E402
from simtoreal.transfer.data.labels import Hindsight  # noqa: E402
from simtoreal.transfer.online import Entrant, run_arm  # noqa: E402
from simtoreal.transfer.pipeline import EXIT_HARMED, finetune  # noqa: E402
from simtoreal.transfer.preparation import prepare  # noqa: E402
from simtoreal.transfer.settings import CurveConfig, FinetuneConfig  # noqa: E402
from simtoreal.transfer.tuning.strategy import SCRATCH, load_strategy  # noqa: E402

FOLDER = Path("runs") / "benchmarks" / "transfer"
OF_ORACLE = {"default": 0.95, "harsh": 0.90}
LEVELS = ("labels", "episodes")
ARMS = ("source", "scratch", "fine_tuned", "shipped")
Records = list[EpisodeRecord]


@dataclass(frozen=True)
class Effort:
    """How much to run."""

    episodes: int  # recorded
    scenes: int  # of each seed
    curve_episodes: int
    sizes: str
    tries: int
    patience: tuple[int, ...]  # times the usual steps from scratch
    folder: Path
    extra: tuple[str, ...] = ()  # settings of every fine-tuning


FULL = Effort(20, 100, 60, "[0,1,2,5,10,20,40]", 20, (4, 16), FOLDER)
QUICK = Effort(
    5, 6, 6, "[0,1,3]", 6, (2,), FOLDER / "quick",
    ("simulated_frames=80", "candidates=[zero_shot,heads]", "max_frames=4"),
)  # fmt: skip


class Outcomes:
    """Records of every arm by scene, all seeds together; names of objects carry no seed, scenes do."""

    def __init__(self) -> None:
        self.by_arm: dict[str, Records] = {}

    def add(self, arm: str, records: Records) -> None:
        self.by_arm.setdefault(arm, []).extend(records)

    def pairs(self, a: str, b: str) -> tuple[list[bool], list[bool], list[str]]:
        """Outcomes of two arms on the same scenes, and the objects."""
        scenes = {record.scene_seed: record for record in self.by_arm[b]}
        met = [(one, scenes[one.scene_seed]) for one in self.by_arm[a] if one.scene_seed in scenes]
        return [x.success for x, _ in met], [y.success for _, y in met], [x.target_name for x, _ in met]


def command(*words: str) -> int:
    """Runs a command of the package; 2 is an error that it has explained."""
    print("simtoreal", *words, flush=True)
    status = cli.main(list(words))
    if status not in (0, EXIT_HARMED):
        raise SystemExit(f"simtoreal {words[0]} ended with status {status}")
    return status


def recorded(reality: str, seed: int, episodes: int, effort: Effort) -> Path:
    """A dataset of the oracle in a reality, with objects that are not evaluated on."""
    out = effort.folder / f"record-{reality}-{seed}-{episodes}"
    command("record", "controller=mujoco", f"reality={reality}", "objects=random_train", f"episodes={episodes}",
            f"seed={1000 + seed}", f"out={out}")  # fmt: skip
    return out


def finetuned(reality: str, seed: int, effort: Effort) -> FinetuneConfig:
    """A fine-tuning with its closed-loop arms; kept where it was finished."""
    out = effort.folder / f"finetune-{reality}-{seed}"
    episodes = recorded(reality, seed, effort.episodes, effort)
    started_s = time.monotonic()
    if not (out / "ledger.json").exists():
        common = ("finetune", f"episodes={episodes}", f"seed={seed}", *effort.extra)
        command(*common, f"out={out}")  # offline first, for its time
        (out / "offline.json").write_text(json.dumps({"wall_s": time.monotonic() - started_s}) + "\n")
        command(*common, f"out={out}", "world=mujoco", f"reality={reality}", f"online_episodes={effort.scenes}")
    return FinetuneConfig(episodes=episodes, seed=seed, out=out, world=World.MUJOCO, reality=reality,
                          online_episodes=effort.scenes)  # fmt: skip


def oracle(reality: str, seed: int, effort: Effort) -> Records:
    """The oracle on the scenes of a fine-tuning's closed loop."""
    spec = ArenaSpec(
        bundle=find_bundle("default"), objects="random_test", randomization=load_randomization("default").to_plain(),
        robot="panda", seed=seed, cache_dir=default_cache_dir(), world="mujoco",
        reality=load_reality(reality).to_plain(),
    )  # fmt: skip
    out = effort.folder / f"oracle-{reality}-{seed}"
    plan = EvaluationPlan(effort.scenes, ("oracle",), 2, out, resume=True, label=f"oracle {reality}")
    return list(run_evaluation(spec, plan, Progress()).records["oracle"])


def arms_of(config: FinetuneConfig, ledger: Mapping[str, Any]) -> dict[str, Path]:
    """Folders of the policies that a fine-tuning compares."""
    arms = {"source": find_bundle("default"), "scratch": config.out / "scratch", "fine_tuned": config.out / "candidate"}
    return {**arms, "shipped": arms[ledger["shipped"]]}


def reality_rows(reality: str, seeds: Sequence[int], effort: Effort) -> list[Row]:
    """Success of every arm, of the oracle, over zero-shot, and what was lost at home."""
    there, home, ledgers = Outcomes(), Outcomes(), []
    for seed in seeds:
        config = finetuned(reality, seed, effort)
        ledgers.append(json.loads((config.out / "ledger.json").read_text()))
        there.add("oracle", oracle(reality, seed, effort))
        for arm, folder in arms_of(config, ledgers[-1]).items():
            there.add(arm, run_arm(config, World.MUJOCO, Entrant(arm, folder), Progress()))
        for arm in ("source", "fine_tuned"):
            home.add(arm, run_arm(config, World.PYBULLET, Entrant(arm, arms_of(config, ledgers[-1])[arm]), Progress()))
    facts = {"seeds": list(seeds), "verdicts": [one["verdict"] for one in ledgers],
             "chosen": [one["auto"]["chosen"] for one in ledgers]}  # fmt: skip
    rows = [_rate(f"{reality}: {arm}", there.by_arm[arm], facts) for arm in ("oracle", *ARMS)]
    rows += [_of_oracle(reality, arm, there) for arm in ("fine_tuned", "shipped")]
    rows += [_gain(f"{reality}: {a} over {b}", there, (a, b), None)
             for a, b in (("fine_tuned", "source"), ("shipped", "source"), ("fine_tuned", "scratch"))]  # fmt: skip
    rows.append(
        _gain(f"source simulator after {reality}: fine_tuned over source", home, ("fine_tuned", "source"), -0.02)
    )
    return [*rows, *_times(reality, seeds, ledgers, effort)]


def _rate(what: str, records: Records, facts: dict[str, Any]) -> Row:
    num, n = sum(record.success for record in records), len(records)
    low, high = wilson(num, n)
    return Row(what, f"{per_cent(num / n)} [{per_cent(low)}, {per_cent(high)}], n = {n}", "", None,
               {"success": num / n, "ci95": [low, high], "n": n, **facts})  # fmt: skip


def _of_oracle(reality: str, arm: str, outcomes: Outcomes) -> Row:
    ratio = paired_ratio(*outcomes.pairs(arm, "oracle"), rng=np.random.default_rng(0))
    target = OF_ORACLE.get(reality)
    text = f"{per_cent(ratio.ratio)} [{per_cent(ratio.low)}, {per_cent(ratio.high)}]"
    must, reached = ("", None) if target is None else (per_cent(target), ratio.ratio >= target)
    return Row(f"{reality}: {arm}, of the oracle", text, must, reached, ratio._asdict())


def _gain(what: str, outcomes: Outcomes, arms: tuple[str, str], at_least: float | None) -> Row:
    found = paired_difference(*outcomes.pairs(*arms), rng=np.random.default_rng(0))
    # A difference of two rates is not exact: 0.97 - 0.99 is a little less than -0.02.
    text = f"{100 * found.mean:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}], p = {found.p:.3f}"
    return Row(what, text, "" if at_least is None else f"{100 * at_least:+.0f} points",
               None if at_least is None else found.mean >= at_least - 1e-9, found._asdict())  # fmt: skip


def _times(reality: str, seeds: Sequence[int], ledgers: Sequence[dict[str, Any]], effort: Effort) -> list[Row]:
    offline = [
        json.loads((effort.folder / f"finetune-{reality}-{seed}" / "offline.json").read_text()) for seed in seeds
    ]
    bundle_s = [one["cost"]["search_s"] + one["cost"]["final_training_s"] for one in ledgers]
    whole_s = [one["wall_s"] for one in offline]
    return [
        Row(f"finetune on {effort.episodes} episodes, {reality}: training until the new bundle", _minutes(bundle_s),
            "3 min", max(bundle_s) <= 180, {"seconds": bundle_s}),
        Row(f"finetune on {effort.episodes} episodes, {reality}: with the offline part of the ledger",
            _minutes(whole_s), "10 min", max(whole_s) <= 600, {"seconds": whole_s}),
    ]  # fmt: skip


def _minutes(seconds: Sequence[float]) -> str:
    return ", ".join(f"{value / 60:.1f}" for value in seconds) + " min"


def curve_rows(reality: str, seeds: Sequence[int], effort: Effort) -> list[Row]:
    """Real data and training time saved at equal closed-loop success."""
    episodes = recorded(reality, 50, effort.curve_episodes, effort)
    listed = "[" + ",".join(map(str, seeds)) + "]"
    words = [f"episodes={episodes}", f"sizes={effort.sizes}", f"seeds={listed}", "world=mujoco", f"reality={reality}",
             f"online_episodes={effort.scenes}", f"out={effort.folder / f'curve-{reality}'}",
             *(word for word in effort.extra if not word.startswith(("candidates=", "head=")))]  # fmt: skip
    command("curve", *words)
    config = cli.read_settings(CurveConfig, "curve", words)
    found = json.loads((config.out / "curve.json").read_text())
    rows = []
    for part, where in ((found, "miss on held-out episodes"), (found["online"], "closed-loop failures")):
        for key, what, target in (("data", "real data saved", 20.0), ("time", "training time saved", 10.0)):
            one = part["saved"][key]
            more = "at least " if part["saved"]["at_least"] else ""
            text = f"{more}{one['value']:.1f} x [{one['low']:.1f}, {one['high']:.1f}] at {part['saved']['loss']:.3f}"
            rows.append(Row(f"{reality}: {what}, {where}", text, f"{target:g} x", one["value"] >= target,
                            {**part["saved"], "arms": part["arms"]}))  # fmt: skip
    return [*rows, _patience(config, found["online"]["points"], seeds[0], effort)]


def _patience(config: CurveConfig, points: Sequence[dict[str, Any]], seed: int, effort: Effort) -> Row:
    """Training time saved where from scratch may take its time: more steps on all episodes of a seed of the curve."""
    trained = [point for point in points if point["arm"] == TUNED and point["seed"] == seed and point["seconds"]]
    tuned = min(trained, key=itemgetter("size"))
    job = prepare(config, Hindsight(), Progress())
    torch.set_num_threads(1)  # as the points of a curve are trained
    usual, facts, enough_s = load_strategy(SCRATCH), list[dict[str, float]](), None
    for factor in effort.patience:
        work = work_of(config, job, {SCRATCH: (replace(usual, steps=factor * usual.steps),)})
        point = find_point(work, Task(SCRATCH, len(work.splits[seed].row), seed))
        (failures,) = online([point], config, job, work).values()
        facts.append({"steps": factor * usual.steps, "seconds": point.seconds, "failed": fmean(failures.values())})
        if enough_s is None and facts[-1]["failed"] <= tuned["loss"]:
            enough_s = point.seconds
    saved = (max(fact["seconds"] for fact in facts) if enough_s is None else enough_s) / tuned["seconds"]
    levels = ", ".join(f"{per_cent(1 - fact['failed'])} after {fact['seconds']:.0f} s" for fact in facts)
    text = f"{'at least ' if enough_s is None else ''}{saved:.1f} x (from scratch {levels})"
    what = f"{config.reality}: training time saved, from scratch as long as it takes"
    return Row(what, text, "10 x", saved >= 10, {"tuned": tuned, "scratch": facts})


def harmful_rows(effort: Effort) -> list[Row]:
    """Fine-tunings on spoiled episodes, and on labels that got past all checks; each is kept as it ends."""
    source = recorded("default", 0, effort.episodes, effort)
    kinds = [(level, kind) for kind in KINDS for level in LEVELS]
    tries = [(*kinds[i % len(kinds)], i // len(kinds)) for i in range(effort.tries)]
    found = [(level, kind, harmful_try(source, (level, kind, seed), effort)) for level, kind, seed in tries]
    rows = []
    for level, kind in kinds:
        mine = [result for *names, result in found if names == [level, kind]]
        kept = sum(result["shipped"] == "source" for result in mine)
        counted = Counter(result["verdict"] for result in mine)
        verdicts = ", ".join(f"{verdict} {num}" for verdict, num in sorted(counted.items()))
        rows.append(Row(f"harmful {level}, {kind}: source kept", f"{kept} of {len(mine)} ({verdicts})", "all",
                        kept == len(mine), {"tries": mine}))  # fmt: skip
    return [row for row in rows if row.numbers["tries"]]


def harmful_try(source: Path, what: tuple[str, str, int], effort: Effort) -> dict[str, Any]:
    """One fine-tuning on what is spoiled, at a level and in a way, with a seed."""
    level, kind, seed = what
    out = effort.folder / f"harmful-{level}-{kind}-{seed}"
    result = out / "result.json"
    if result.exists():
        return dict(json.loads(result.read_text()))
    episodes, labels = source, SpoiledLabels(Hindsight(), kind, seed) if level == "labels" else None
    if level == "episodes":
        episodes = spoil(source, effort.folder / f"spoiled-{kind}-{seed}", kind, seed)
    words = [f"episodes={episodes}", f"seed={seed}", f"out={out}", *effort.extra]
    print("simtoreal finetune", *words, f"({level}, {kind})", flush=True)
    make_folder(out)
    told: dict[str, Any] = {"level": level, "kind": kind, "seed": seed}
    try:
        finetune(cli.read_settings(FinetuneConfig, "finetune", words), labels)
        ledger = json.loads((out / "ledger.json").read_text())
        told |= {key: ledger[key] for key in ("verdict", "shipped", "reasons", "label_shift")}
    except DatasetError as error:  # too little of it made sense to learn from: nothing ships either
        told |= {"verdict": "refused", "shipped": "source", "reasons": [str(error)]}
    result.write_text(json.dumps(told, indent=1) + "\n")
    return told


def main() -> None:
    """Runs what was asked for, writes benchmarks/results/transfer*.json and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="minutes, to see that it works; not a figure")
    parser.add_argument("--harmful", action="store_true", help="fine-tune on spoiled episodes instead")
    parser.add_argument("--realities", nargs="*", default=["default", "harsh"],
                        help="shipped realities or YAML files; none leaves only the curve")  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--curve", nargs="*", default=["harsh"], help="realities for the learning curve; none skips it")
    parser.add_argument("--settings", nargs="*", default=[], help="of every fine-tuning, such as workers=1 head=keep")
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else FULL
    effort = replace(effort, extra=(*effort.extra, *arguments.settings))
    if arguments.harmful:
        save("transfer_harmful", harmful_rows(effort), arguments.quick)
        return
    rows = [row for reality in arguments.realities for row in reality_rows(reality, arguments.seeds, effort)]
    if rows:
        save("transfer", rows, arguments.quick)
    rows = [row for reality in arguments.curve for row in curve_rows(reality, arguments.seeds, effort)]
    if rows:
        save("transfer_curve", rows, arguments.quick)


if __name__ == "__main__":
    main()
