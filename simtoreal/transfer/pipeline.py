"""The `finetune` command: label, choose, train, judge, and ship what is proven to be better."""

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from simtoreal.bundle import Bundle, load_bundle, save_bundle
from simtoreal.evaluation.output_files import write_text_atomic
from simtoreal.evaluation.report import Picture
from simtoreal.policies.load import encoder_weights
from simtoreal.preflight import find_bundle
from simtoreal.pretraining.perception import error_model, grasp_errors
from simtoreal.progress import Progress
from simtoreal.provenance import provenance
from simtoreal.transfer.control.heads import check_head
from simtoreal.transfer.control.side import PerceptionSide, control_side, shippable
from simtoreal.transfer.curve.saved import measure_saved
from simtoreal.transfer.data.labels import Hindsight, LabelSource
from simtoreal.transfer.data.simulated import MAX_HELD_OUT
from simtoreal.transfer.ledger.calibration_check import label_shift
from simtoreal.transfer.ledger.ledger import Findings, write_ledger
from simtoreal.transfer.ledger.page import render_terminal, write_page
from simtoreal.transfer.ledger.pictures import held_out_pictures
from simtoreal.transfer.ledger.probing import probe_frames
from simtoreal.transfer.ledger.verdict import Verdict
from simtoreal.transfer.online import measure_online
from simtoreal.transfer.preparation import Job, check_unchanged, possible_of, prepare, strategies_of
from simtoreal.transfer.settings import FinetuneConfig, HeadStrategy
from simtoreal.transfer.trials.arms import ArmScores, run_arms, train_final
from simtoreal.transfer.trials.folds import make_folds
from simtoreal.transfer.trials.selection import Search, choose, search
from simtoreal.transfer.tuning.grasp_score import by_episode, score_simulated
from simtoreal.transfer.tuning.strategy import Strategy
from simtoreal.transfer.tuning.training import Tuned

EXIT_HARMED = 3


def finetune(config: FinetuneConfig, labels: LabelSource | None = None) -> int:
    """Fine-tunes, writes bundle and ledger; returns 3 where the result is harmful and the source was kept, else 0.

    Args:
        config: what to do.
        labels: who knows the grasps in recorded frames; None is hindsight.
    """
    started_s = time.monotonic()
    strategies = strategies_of(config)
    check_head(config, load_bundle(find_bundle(config.bundle)))
    job = prepare(config, labels or Hindsight(), Progress())
    strategies, left_out = possible_of(strategies, job)
    folds = make_folds(job.data.judgeable, job.data.only_training, config.folds, config.seed)
    tried = search(strategies, job.trainer, folds, config.seed, config.budget_s)
    tried = Search(tried.trials, {**left_out, **tried.skipped})
    choice = choose(tried.trials)
    everything = np.concatenate([job.data.judgeable, job.data.only_training])
    final = train_final(job.trainer, choice, everything, config.seed)
    job.progress.say(f"chosen: {choice.why}")
    tuned = _tuned_bundle(job, final, choice.strategy)
    save_bundle(tuned, config.out / "candidate")  # early, so that it is there while the ledger is written
    arms = run_arms(job.trainer, folds, tried, config.seed)
    simulated = _simulated_scores(job, final)
    control = control_side(config, _perception_side(job, (tuned, final), (arms, simulated), config.head), job.progress)
    tuned = control.bundle
    saved = measure_saved(job.trainer, folds, tried, arms.scratch, config.seed)
    grounding, pictures = _probe(job, final)
    pictures = [*held_out_pictures(job.trainer, folds, (tried, arms), config.seed), *pictures]
    online = measure_online(config, _online_bundles(job, arms, everything), job.progress)
    check_unchanged(config, job.data)
    findings = Findings(
        job.data, tried, choice, arms, final, simulated,
        label_shift(job.trainer.domain.source, job.data.frames, job.trainer.domain.view), online, config.seed,
        time.monotonic() - started_s, config.force,
        {"bundle": str(job.folder), "episodes_folder": str(config.episodes), "seed": config.seed,
         "saved": saved, "grounding": grounding, **control.sections},
    )  # fmt: skip
    return _conclude(job, write_ledger(findings), tuned, pictures)


def _conclude(job: Job, ledger: dict[str, Any], tuned: Bundle, pictures: Sequence[Picture]) -> int:
    """Ships what the ledger says, and says it."""
    out = job.config.out
    shipped = shippable(job.source, tuned, ledger) if ledger["shipped"] == "fine_tuned" else job.source
    save_bundle(_with_verdict(shipped, ledger, job), out / "bundle")
    write_text_atomic(out / "ledger.json", json.dumps(ledger, indent=1, allow_nan=False) + "\n")
    page = write_page(out, ledger, shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), pictures)
    console = Console()
    console.print(render_terminal(ledger))
    for name, path in (("ledger", out / "ledger.json"), ("page", page), ("bundle", out / "bundle")):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)
    harmed = ledger["verdict"] == Verdict.HARMED.value and ledger["shipped"] == "source"
    return EXIT_HARMED if harmed else 0


# --- what comes out


def _simulated_scores(job: Job, final: Tuned) -> Any:
    if job.simulated is None:
        return None
    view = job.trainer.domain.view
    nets = (job.trainer.domain.source, final.net)
    before, after = (score_simulated(net, job.simulated.held_out, view, MAX_HELD_OUT) for net in nets)
    return before, after


def _perception_side(
    job: Job, tuned: tuple[Bundle, Tuned], scores: tuple[ArmScores, Any], head: HeadStrategy
) -> PerceptionSide:
    """What the control side has to know: above all the error that a head is to be trained against."""
    (bundle, final), (arms, simulated) = tuned, scores
    error, domain = job.source.error, job.trainer.domain
    if job.simulated is not None and head is HeadStrategy.IDENTIFIED:
        error = error_model(grasp_errors(final.net, job.simulated.held_out, domain.view, "cpu"))
    home = None if simulated is None else float(by_episode(simulated[0]).miss.mean())
    return PerceptionSide(job.folder, bundle, error, float(by_episode(arms.held_out["source"]).miss.mean()), home)


def _probe(job: Job, final: Tuned) -> tuple[dict[str, Any], list[Picture]]:
    """Whether source and result look at the picture, and one frame disturbed in every way as the result sees it."""
    domain = job.trainer.domain
    nets = {"source": domain.source, "fine_tuned": final.net}
    probed = {arm: probe_frames(net, job.data.frames, domain.view, job.config.seed) for arm, net in nets.items()}
    last = probed["fine_tuned"]
    found = {arm: one.found for arm, one in probed.items() if one is not None}
    return found, [] if last is None else last.pictures


def _online_bundles(job: Job, arms: ArmScores, everything: NDArray[np.int64]) -> dict[str, Path]:
    """Folders of the policies that meet the same scenes; the one from scratch is trained where there is a world."""
    out = job.config.out
    folders = {"source": job.folder, "fine_tuned": out / "candidate"}
    if job.config.world is None:
        return folders
    scratch = train_final(job.trainer, choose([arms.scratch]), everything, job.config.seed)
    save_bundle(replace(job.source, encoder_weights=encoder_weights(scratch.net)), out / "scratch")
    return {**folders, "scratch": out / "scratch"}


def _tuned_bundle(job: Job, final: Tuned, strategy: Strategy) -> Bundle:
    facts = {"strategy": strategy.name, "steps": final.steps, "num_trainable": final.num_trainable,
             "n_episodes": len(job.data.notes)}  # fmt: skip
    config = json.loads(json.dumps(asdict(job.config), default=str))
    made = {**provenance(), "config": config, "seed": job.config.seed, "data": {"episodes": job.data.digest},
            "source": {"bundle": str(job.folder), **job.source.provenance}}  # fmt: skip
    return replace(
        job.source,
        encoder_weights=encoder_weights(final.net),
        figures={**job.source.figures, "finetuning": facts},
        provenance=made,
        card=f"{job.source.card}\n## Fine-tuned\n\nBy `simtoreal finetune`, `strategy={strategy.name}` ({final.steps} "
        f"steps) on {len(job.data.notes)} recorded episodes. Figures above are those of the source policy.\n",
    )


def _with_verdict(bundle: Bundle, ledger: Mapping[str, Any], job: Job) -> Bundle:
    """Whoever opens the bundle later shall see what the ledger said, above all where it was overruled."""
    said = {
        "verdict": ledger["verdict"],
        "reasons": list(ledger["reasons"]),
        "shipped": ledger["shipped"],
        "forced": ledger["forced"],
        "episodes": str(job.config.episodes),
    }
    return replace(bundle, provenance={**bundle.provenance, "finetuning": said})
