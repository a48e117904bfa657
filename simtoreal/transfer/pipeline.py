"""The `finetune` command: label, choose, train, judge, and ship what is proven to be better."""

import json
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from simtoreal.bundle import Bundle, load_bundle, save_bundle
from simtoreal.envs.assets import default_cache_dir
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.evaluation.output_files import write_text_atomic
from simtoreal.policies.encoders import EncoderSpec
from simtoreal.policies.load import encoder_weights, load_encoder
from simtoreal.policies.parts import view_of
from simtoreal.preflight import find_bundle, resolve_device
from simtoreal.pretraining.perception import error_model, grasp_errors
from simtoreal.progress import Progress
from simtoreal.provenance import provenance
from simtoreal.schema import ConfigError
from simtoreal.transfer.arms import ArmScores, run_arms, train_final
from simtoreal.transfer.calibration_check import label_shift
from simtoreal.transfer.control_side import PerceptionSide, control_side, shippable
from simtoreal.transfer.dataset import RealData, Wanted, dataset_digest, load_real_data
from simtoreal.transfer.folds import MIN_EPISODES, make_folds
from simtoreal.transfer.grasp_score import by_episode, score_simulated
from simtoreal.transfer.heads import check_head
from simtoreal.transfer.labels import Hindsight, LabelSource
from simtoreal.transfer.ledger import Findings, write_ledger
from simtoreal.transfer.ledger_page import render_terminal, write_page
from simtoreal.transfer.online import measure_online
from simtoreal.transfer.selection import Search, choose, search
from simtoreal.transfer.settings import FinetuneConfig, HeadStrategy
from simtoreal.transfer.simulated import MAX_HELD_OUT, SimulatedFrames, WantedFrames, load_simulated
from simtoreal.transfer.strategy import AUTO, Strategy, load_strategy
from simtoreal.transfer.trainer import Trainer, hash_of
from simtoreal.transfer.training import Domain, Tuned
from simtoreal.transfer.verdict import Verdict

EXIT_HARMED = 3


@dataclass(frozen=True)
class _Job:
    """What all parts of a fine-tuning share."""

    config: FinetuneConfig
    folder: Path  # of the source bundle
    source: Bundle
    data: RealData
    simulated: SimulatedFrames | None
    trainer: Trainer
    progress: Progress


def finetune(config: FinetuneConfig) -> int:
    """Fine-tunes, writes bundle and ledger; returns 3 where the result is harmful and the source was kept, else 0."""
    started_s = time.monotonic()
    strategies = _strategies(config)
    job = _prepare(config, Hindsight(), Progress())
    strategies, left_out = _possible(strategies, job)
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
    control = control_side(config, _perception_side(job, (tuned, final), arms, simulated), job.progress)
    tuned = control.bundle
    online = measure_online(config, {"source": job.folder, "fine_tuned": config.out / "candidate"}, job.progress)
    _check_unchanged(config, job.data)
    findings = Findings(
        job.data, tried, choice, arms, final, simulated,
        label_shift(job.trainer.domain.source, job.data.frames, job.trainer.domain.view), online, config.seed,
        time.monotonic() - started_s, config.force,
        {"bundle": str(job.folder), "episodes_folder": str(config.episodes), "seed": config.seed, **control.sections},
    )  # fmt: skip
    return _conclude(job, write_ledger(findings), tuned)


def _conclude(job: _Job, ledger: dict[str, Any], tuned: Bundle) -> int:
    """Ships what the ledger says, and says it."""
    out = job.config.out
    shipped = shippable(job.source, tuned, ledger) if ledger["shipped"] == "fine_tuned" else job.source
    save_bundle(_with_verdict(shipped, ledger, job), out / "bundle")
    write_text_atomic(out / "ledger.json", json.dumps(ledger, indent=1, allow_nan=False) + "\n")
    page = write_page(out, ledger, shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    console = Console()
    console.print(render_terminal(ledger))
    for name, path in (("ledger", out / "ledger.json"), ("page", page), ("bundle", out / "bundle")):
        console.print(f"{name}: {path}", highlight=False, soft_wrap=True)
    harmed = ledger["verdict"] == Verdict.HARMED.value and ledger["shipped"] == "source"
    return EXIT_HARMED if harmed else 0


# --- what is needed before


def _strategies(config: FinetuneConfig) -> list[Strategy]:
    """The strategies to try; all of their files are read before anything long begins."""
    if config.episodes is None:
        raise ConfigError("episodes must be given: episodes=DIR, a dataset of `simtoreal record` or `simtoreal import`")
    names = config.candidates if config.strategy == AUTO else (config.strategy,)
    return [load_strategy(name) for name in names]


def _prepare(config: FinetuneConfig, labels: LabelSource, progress: Progress) -> _Job:
    assert config.episodes is not None
    torch.set_num_threads(config.workers)
    folder = find_bundle(config.bundle)
    source = load_bundle(folder)
    check_head(config, source)
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
    return _Job(
        config, folder, source, data, simulated, Trainer(domain, made_of, config.out / "trainings", progress), progress
    )


def _possible(strategies: list[Strategy], job: _Job) -> tuple[list[Strategy], dict[str, str]]:
    """The strategies that there are frames for; one that was asked for by name must be among them."""
    possible = [strategy for strategy in strategies if job.simulated is not None or not strategy.needs_simulation]
    left_out = {s.name: "mixes in simulated frames, and simulated_frames=0" for s in strategies if s not in possible}
    if not possible:
        raise ConfigError(
            f"strategy={job.config.strategy} needs simulated frames, and simulated_frames=0: give some, "
            "or another strategy"
        )
    return possible, left_out


def _check_episodes(config: FinetuneConfig, data: RealData) -> None:
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


def _check_unchanged(config: FinetuneConfig, data: RealData) -> None:
    assert config.episodes is not None
    with DatasetReader(config.episodes, skip_broken=True) as reader:
        if dataset_digest(reader) != data.digest:
            raise DatasetError(
                "was changed while it was trained on, so that the ledger would speak of other episodes: run the same "
                "command again when recording has ended",
                file=config.episodes,
            )


# --- what comes out


def _simulated_scores(job: _Job, final: Tuned) -> Any:
    if job.simulated is None:
        return None
    view = job.trainer.domain.view
    nets = (job.trainer.domain.source, final.net)
    before, after = (score_simulated(net, job.simulated.held_out, view, MAX_HELD_OUT) for net in nets)
    return before, after


def _perception_side(job: _Job, tuned: tuple[Bundle, Tuned], arms: ArmScores, simulated: Any) -> PerceptionSide:
    """What the control side has to know: above all the error that a head is to be trained against."""
    bundle, final = tuned
    error, domain = job.source.error, job.trainer.domain
    if job.simulated is not None and job.config.head is HeadStrategy.IDENTIFIED:
        error = error_model(grasp_errors(final.net, job.simulated.held_out, domain.view, "cpu"))
    home = None if simulated is None else float(by_episode(simulated[0]).miss.mean())
    return PerceptionSide(job.folder, bundle, error, float(by_episode(arms.held_out["source"]).miss.mean()), home)


def _tuned_bundle(job: _Job, final: Tuned, strategy: Strategy) -> Bundle:
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


def _with_verdict(bundle: Bundle, ledger: Mapping[str, Any], job: _Job) -> Bundle:
    """Whoever opens the bundle later shall see what the ledger said, above all where it was overruled."""
    said = {
        "verdict": ledger["verdict"],
        "reasons": list(ledger["reasons"]),
        "shipped": ledger["shipped"],
        "forced": ledger["forced"],
        "episodes": str(job.config.episodes),
    }
    return replace(bundle, provenance={**bundle.provenance, "finetuning": said})
