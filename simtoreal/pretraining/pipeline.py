"""The `pretrain` and `quickstart` commands: perception, then control, then a bundle measured before it ships."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from simtoreal.bundle import Bundle, load_bundle, save_bundle
from simtoreal.camera_record import CameraRecord
from simtoreal.config import ControlConfig, Device, PretrainConfig, QuickstartConfig, Stage
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.calibrated_camera import with_camera
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.gym_envs import EnvConfig
from simtoreal.envs.randomization import Randomization, load_randomization
from simtoreal.envs.robot import load_robot
from simtoreal.evaluation.arena import ArenaSpec
from simtoreal.evaluation.presentation import Extras, curves_of_error, present
from simtoreal.evaluation.results import EvaluationResult
from simtoreal.evaluation.runner import EvaluationPlan, run_evaluation
from simtoreal.head_interface import HeadScale
from simtoreal.identified import load_identified
from simtoreal.policies.encoders import EncoderSpec
from simtoreal.policies.load import encoder_weights
from simtoreal.policies.parts import view_record
from simtoreal.policies.view import ViewSpec
from simtoreal.preflight import find_bundle, find_camera
from simtoreal.pretraining.card import write_card
from simtoreal.pretraining.control import ControlPlan, ControlRun, train_head
from simtoreal.pretraining.corrected import in_identified_world
from simtoreal.pretraining.frame_sets import FrameSetSpec, load_frames
from simtoreal.pretraining.perception import (
    PerceptionRun,
    TrainingPlan,
    error_model,
    grasp_errors,
    train_encoder,
)
from simtoreal.pretraining.tracking import make_tracker
from simtoreal.pretraining.wall_clock import WallClock
from simtoreal.progress import Progress
from simtoreal.provenance import WALL_TIME_FILE, provenance

HOLDOUT_FRAC = 0.04  # of the training objects: never trained on, to choose the head and measure the error
_HOLDOUT_SCENES, _HOLDOUT_FRAMES = 150, 8
_HEAD_FRAC, _MAX_HEAD_EPISODES = 0.15, 120  # of the closing evaluation, to choose between the heads
_EXTERNAL_IMAGE_PX, _EXTERNAL_VIEW_PX, _EXTERNAL_EDGE_M = 128, 80, 0.40


@dataclass(frozen=True)
class _Job:
    """What all stages share."""

    config: PretrainConfig
    cache_dir: Path
    progress: Progress
    device: str

    @property
    def camera(self) -> CameraSetup:
        config, choice = self.config, find_camera(self.config.camera)
        if choice.record is not None:
            return CameraSetup.of(replace(choice.record, modality=config.modality.value))
        external = choice.placement == "external"
        image_px = max(config.image_px, _EXTERNAL_IMAGE_PX) if external else config.image_px
        return CameraSetup.default(choice.placement, image_px, config.modality.value)

    @property
    def view(self) -> ViewSpec:
        config = self.config
        if self.camera.placement == "external":
            pixels = max(config.image_px, _EXTERNAL_VIEW_PX)
            return ViewSpec("external", config.modality.value, pixels, max_edge_m=_EXTERNAL_EDGE_M)
        return ViewSpec("wrist", config.modality.value, config.image_px)

    @property
    def randomization(self) -> Randomization:
        plain = load_randomization(self.config.randomization).to_plain()
        ranges = Randomization().updated(with_camera(plain, find_camera(self.config.camera).record))
        if self.config.photos is None:
            return ranges
        return ranges.updated({"visual": {"photo_folder": str(self.config.photos)}})


def pretrain(config: PretrainConfig) -> None:
    """Trains what the configuration asks for, writes the bundle and its closing evaluation."""
    config = in_identified_world(config)
    clock = WallClock(config.out / WALL_TIME_FILE, config.resume)
    job = _Job(config, default_cache_dir(), Progress(), _device(config.device))
    try:
        bundle = _train(job, clock)
        measured = _measure(job, "random_test", ("policy", "oracle", "random"))
    finally:
        clock.keep()
    bundle = _with_figures(job, bundle, measured, clock.seconds)
    _save(job, bundle)
    _present(job, bundle, "random_test", measured)


def _train(job: _Job, clock: WallClock) -> Bundle:
    config = job.config
    bundle = _perception(job) if config.stage is not Stage.CONTROL else _given_bundle(config)
    _save(job, bundle)
    clock.keep()
    if config.stage is not Stage.PERCEPTION:
        bundle = _control(job, bundle)
        _save(job, bundle)
    return bundle


def quickstart(config: QuickstartConfig) -> None:
    """Pretrains small, evaluates on unseen objects, writes bundle, report and videos."""
    settings = PretrainConfig(
        preset=config.preset,
        out=config.out,
        seed=config.seed,
        workers=config.workers,
        device=config.device,
        resume=config.resume,
    )
    pretrain(settings)
    report = (config.out / "evaluation" / "report.html").resolve()
    if config.open_report:
        import webbrowser

        webbrowser.open(report.as_uri())


# --- stages


def _perception(job: _Job) -> Bundle:
    config, view = job.config, job.view
    plan = config.plan.perception
    train, held_out = _frame_specs(job, plan.num_scenes, plan.frames_per_scene)
    frames = load_frames(train, job.cache_dir, config.workers, job.progress)
    spec = EncoderSpec(config.encoder.value, view.modality)
    tracker = make_tracker(config.logger.value, config.out / "logs")
    net = train_encoder(
        spec,
        view,
        frames,
        TrainingPlan(plan.epochs, plan.batch_size, plan.learning_rate, config.seed, job.device, config.workers),
        PerceptionRun(config.out / "checkpoints", config.resume, tracker, job.progress, config.encoder_weights),
    )
    tracker.close()
    unseen = load_frames(held_out, job.cache_dir, config.workers, job.progress)
    error = error_model(grasp_errors(net, unseen, view, job.device))
    calibrated = find_camera(config.camera).record
    record = CameraRecord(job.camera.placement, config.modality.value, job.camera.model)
    if calibrated is not None:
        record = replace(calibrated, modality=config.modality.value)
    return Bundle(
        encoder=asdict(spec),
        view=view_record(view),
        head="servo",
        scale=HeadScale(max_opening_m=load_robot(config.robot).gripper.max_opening_m),
        error=error,
        camera=record,
        encoder_weights=encoder_weights(net),
        provenance=_provenance(job, {"train_frames": train.digest(), "held_out_frames": held_out.digest()}),
    )


def _frame_specs(job: _Job, num_scenes: int, frames_per_scene: int) -> tuple[FrameSetSpec, FrameSetSpec]:
    train = FrameSetSpec(
        objects=job.config.objects,
        num_scenes=num_scenes,
        frames_per_scene=frames_per_scene,
        seed=job.config.seed,
        randomization=job.randomization.to_plain(),
        camera=job.camera,
        view=job.view,
        robot=job.config.robot,
        holdout_frac=HOLDOUT_FRAC,
    )
    held_out = replace(
        train, num_scenes=_HOLDOUT_SCENES, frames_per_scene=_HOLDOUT_FRAMES, seed=job.config.seed + 1, only_holdout=True
    )
    return train, held_out


def _given_bundle(config: PretrainConfig) -> Bundle:
    assert config.bundle is not None  # PretrainConfig has checked it
    return load_bundle(find_bundle(config.bundle))


def _control(job: _Job, bundle: Bundle) -> Bundle:
    """Trains a head against the measured error and ships it only if it beats the servo on the same scenes."""
    config = job.config
    plan = config.plan.control
    tracker = make_tracker(config.logger.value, config.out / "logs")
    weights = train_head(
        EnvConfig(
            config.objects,
            config.randomization,
            config.robot,
            perception_error=bundle.error,
        ),
        _control_plan(config, plan),
        ControlRun(config.out / "checkpoints", config.resume, tracker, job.progress),
    )
    tracker.close()
    made = bundle.provenance
    if config.identified is not None:
        made = {**made, "identified": load_identified(config.identified).to_plain()}
    return _with_better_head(job, replace(bundle, head_weights=weights, head="learned", provenance=made))


def _control_plan(config: PretrainConfig, plan: ControlConfig) -> ControlPlan:
    return ControlPlan(
        algorithm=config.algorithm.value,
        total_steps=plan.total_steps,
        num_envs=plan.num_envs,
        learning_starts=plan.learning_starts,
        batch_size=plan.batch_size,
        gamma=plan.gamma,
        net_arch=plan.net_arch,
        seed=config.seed,
        cloning_steps=plan.cloning_steps,
        comparison_episodes=_head_episodes(config),
        target=config.randomization if config.identified is not None else "harsh",
    )


def _head_episodes(config: PretrainConfig) -> int:
    """How many episodes decide between two heads."""
    return min(_MAX_HEAD_EPISODES, max(1, round(_HEAD_FRAC * config.plan.evaluation.episodes)))


def _with_better_head(job: _Job, bundle: Bundle) -> Bundle:
    """Both heads on the same scenes of training objects; ties go to the scripted servo, which is simpler."""
    _save(job, bundle)
    episodes = _head_episodes(job.config)
    success: dict[str, list[bool]] = {}
    for head in ("servo", "learned"):
        spec = replace(_arena(job, job.config.objects[-1]), head=head)
        plan = EvaluationPlan(episodes, ("policy",), job.config.workers, job.config.out / "heads" / head,
                              job.config.resume, label=f"head {head}")  # fmt: skip
        result = run_evaluation(spec, plan, job.progress)
        success[head] = [record.success for record in result.main]
    rates = {head: float(np.mean(values)) for head, values in success.items()}
    winner = "learned" if rates["learned"] > rates["servo"] else "servo"
    text = ", ".join(f"{head} {100 * rate:.1f} %" for head, rate in rates.items())
    job.progress.say(f"heads on {episodes} scenes of {job.config.objects[-1]}: {text}; the bundle ships {winner}")
    comparison = {"episodes": episodes, "objects": job.config.objects[-1], "success": rates, "winner": winner}
    return replace(bundle, head=winner, figures={**bundle.figures, "heads": comparison})


# --- measuring and writing


def _arena(job: _Job, objects: str) -> ArenaSpec:
    return ArenaSpec(
        bundle=job.config.out / "bundle",
        objects=objects,
        randomization=load_randomization(job.config.randomization).to_plain(),
        robot=job.config.robot,
        seed=job.config.seed,
        cache_dir=job.cache_dir,
    )


def _measure(job: _Job, objects: str, arms: tuple[str, ...]) -> EvaluationResult:
    return run_evaluation(_arena(job, objects), _evaluation_plan(job, objects, arms), job.progress)


def _evaluation_plan(job: _Job, objects: str, arms: tuple[str, ...]) -> EvaluationPlan:
    config = job.config
    shown = {"bundle": config.out / "bundle", "objects": objects, "episodes": config.plan.evaluation.episodes,
             "seed": config.seed, "randomization": config.randomization, "robot": config.robot}  # fmt: skip
    plain = {key: str(value) for key, value in shown.items()}
    episodes = config.plan.evaluation.episodes
    return EvaluationPlan(episodes, arms, config.workers, config.out / "evaluation", config.resume, plain)


def _with_figures(job: _Job, bundle: Bundle, result: EvaluationResult, wall_s: float) -> Bundle:
    info = result.to_eval_info()
    figures = {
        **bundle.figures,
        "random_test": {
            "policy": info["overall"],
            "oracle": _overall(info["oracle"]),
            "random": _overall(info["random"]),
        },
        "timing": info["timing"],
        "training_wall_s": round(wall_s, 1),
    }
    bundle = replace(bundle, figures=figures)
    return replace(bundle, card=write_card(bundle, job.config.plan.name))


def _overall(arm: Mapping[str, Any] | None) -> Any:
    return None if arm is None else arm["overall"]


def _present(job: _Job, bundle: Bundle, objects: str, result: EvaluationResult) -> None:
    head = "scripted servo" if bundle.head == "servo" else "learned head"
    extras = Extras(
        title=f"simtoreal: {job.config.plan.name} pretraining",
        lead=(
            f"A policy trained in simulation ({job.config.modality.value} camera, {job.camera.placement}; {head}), "
            f"on objects it has never seen, beside the planner that knows every mesh and a policy that moves at random."
        ),
        perception_plots=curves_of_error(bundle.error),
        facts={"bundle": str(job.config.out / "bundle"), "encoder": bundle.encoder["name"]},
    )
    plan = _evaluation_plan(job, objects, ("policy",))
    present(_arena(job, objects), plan, result, 4, Console(), job.progress, extras)
    Console().print(f"bundle: {job.config.out / 'bundle'}", highlight=False, soft_wrap=True)


def _save(job: _Job, bundle: Bundle) -> None:
    card = bundle.card or write_card(bundle, job.config.plan.name)
    save_bundle(replace(bundle, card=card), job.config.out / "bundle")


def _provenance(job: _Job, data: dict[str, str]) -> dict[str, Any]:
    # Through JSON: what goes into a YAML that anybody may read back safely is plain.
    config = json.loads(json.dumps(asdict(job.config), default=str))
    return {**provenance(), "config": config, "seed": job.config.seed, "data": data}


def _device(choice: Device) -> str:
    if choice is Device.CPU:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"
