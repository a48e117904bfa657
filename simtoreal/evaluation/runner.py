"""Evaluation: every arm meets the same scenes, in parallel, with the same result for any number of workers."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from simtoreal.bundle import load_bundle
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord
from simtoreal.config import Arm, EvaluateConfig, Grasps, Head, World
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.calibrated_camera import with_camera
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.object_sets import load_object_set
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.reality import load_reality
from simtoreal.envs.robot import own_files_digest
from simtoreal.envs.worlds import WorldName, check_world
from simtoreal.evaluation.arena import ArenaSpec, EpisodeRun, Job, camera_of
from simtoreal.evaluation.jobs import Lost, run_jobs
from simtoreal.evaluation.journal import EpisodeJournal
from simtoreal.evaluation.preparation import ObjectSource, prepare
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import EvaluationResult
from simtoreal.evaluation.workers import worker_pool
from simtoreal.preflight import CameraChoice, find_bundle, find_camera
from simtoreal.progress import Progress
from simtoreal.provenance import git_revision

_NOT_COMPARED = ("cache_dir", "device", "bundle", "always_sees")  # of a spec: they do not change outcomes
_ORDER_STREAM = 11  # keeps the order of objects apart from the scenes drawn from the same seed


@dataclass(frozen=True)
class EvaluationPlan:
    """How much to run, and how."""

    episodes: int
    arms: tuple[str, ...]
    workers: int
    out: Path
    resume: bool = False
    config: dict[str, Any] = field(default_factory=dict)  # as shown in eval_info.json
    label: str = "evaluate"


def run_evaluation(spec: ArenaSpec, plan: EvaluationPlan, progress: Progress) -> EvaluationResult:
    """Runs all arms of a plan and returns their records; finished episodes are kept on disk as they finish.

    Raises:
        ValueError: no object of the set can be used.
        OSError: the run folder cannot be written.
    """
    names, problems = usable_objects(spec, plan, progress)
    jobs = list(plan_jobs(names, spec.seed, plan))
    timing = _Timing()
    with EpisodeJournal(plan.out, _fingerprint(spec, plan), resume=plan.resume) as journal:
        finished = journal.finished
        missing = [job for job in jobs if (job.arm, job.episode) not in finished]
        with progress.task(plan.label, len(missing)) as bar:
            succeeded = 0
            for run in run_jobs(spec, missing, plan.workers):
                if isinstance(run, Lost):
                    problems.append({"path": run.job.object_name, "reason": f"arm {run.job.arm}: {run.reason}"})
                else:
                    journal.append(run.record)
                    timing.add(run)
                    succeeded += run.record.success and run.record.arm == plan.arms[0]
                bar.advance(note=f"{plan.arms[0]}: {succeeded} grasped")
        by_arm = journal.by_arm()
    records = {arm: sorted(by_arm.get(arm, []), key=lambda record: record.episode) for arm in plan.arms}
    return EvaluationResult(
        records=_with_oracle(records),
        seed=spec.seed,
        config=plan.config,
        git_revision=git_revision() or "",
        timing=timing.summary(),
        problems=problems,
        main_arm=plan.arms[0],
    )


def usable_objects(
    spec: ArenaSpec, plan: EvaluationPlan, progress: Progress
) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Builds every object that the plan needs, in parallel; those that turn out broken are reported, not used."""
    objects = load_object_set(spec.objects, spec.cache_dir, scale=spec.objects_scale)
    problems = [{"path": str(problem.path), "reason": problem.reason} for problem in objects.problems]
    names = _ordered(objects.names, spec.seed)[: plan.episodes]
    broken: dict[str, str] = {}
    source = ObjectSource(spec.objects, spec.cache_dir, spec.objects_scale)
    with progress.task("objects", len(names)) as bar, worker_pool(min(plan.workers, len(names))) as pool:
        for name, reason in pool.map(prepare, [source] * len(names), names, chunksize=max(1, len(names) // 40)):
            if reason:
                broken[name] = reason
            bar.advance()
    problems += [{"path": name, "reason": reason} for name, reason in broken.items()]
    good = tuple(name for name in names if name not in broken)
    if not good:
        first = problems[0]
        raise ValueError(f"objects={spec.objects}: none can be used; the first: {first['path']}: {first['reason']}")
    for problem in problems:
        progress.say(f"left out: {problem['path']}: {problem['reason']}")
    return good, problems


def plan_jobs(names: Sequence[str], seed: int, plan: EvaluationPlan) -> Iterator[Job]:
    """Every object in turn, in an order drawn from the seed; all arms meet the same episodes."""
    for episode in range(plan.episodes):
        for arm in plan.arms:
            yield Job(arm, episode, names[episode % len(names)])


def _ordered(names: Sequence[str], seed: int) -> list[str]:
    order = np.random.default_rng((seed, _ORDER_STREAM)).permutation(len(names))
    return [names[i] for i in order]


class _Timing:
    """Policy time per step, and control steps per second of all workers together."""

    def __init__(self) -> None:
        self._policy_s: list[np.ndarray[Any, np.dtype[np.float32]]] = []
        self._num_steps = 0

    def add(self, run: EpisodeRun) -> None:
        self._num_steps += run.num_steps
        if run.record.arm == "policy":
            self._policy_s.append(run.policy_s)

    def summary(self) -> dict[str, float]:
        if not self._policy_s:
            return {"num_steps": float(self._num_steps)}
        milliseconds = 1e3 * np.concatenate(self._policy_s)
        p50, p99 = (float(value) for value in np.percentile(milliseconds, [50, 99]))
        return {
            "num_steps": float(self._num_steps),
            "policy_step_p50_ms": round(p50, 3),
            "policy_step_p99_ms": round(p99, 3),
        }


def _with_oracle(records: dict[str, list[EpisodeRecord]]) -> dict[str, list[EpisodeRecord]]:
    """Writes into every record whether the oracle managed the same scene."""
    managed = {(record.episode, record.scene_seed): record.success for record in records.get("oracle", [])}
    return {
        arm: [replace(record, oracle_success=managed.get((record.episode, record.scene_seed))) for record in items]
        for arm, items in records.items()
    }


def _fingerprint(spec: ArenaSpec, plan: EvaluationPlan) -> dict[str, Any]:
    plain = {key: str(value) for key, value in asdict(spec).items() if key not in _NOT_COMPARED}
    robot = f"{spec.robot} {own_files_digest(spec.robot)}".strip()
    return {**plain, "robot": robot, "bundle": _bundle_hash(spec.bundle), "episodes": plan.episodes}


def _bundle_hash(folder: Path | None) -> str:
    if folder is None:
        return ""
    digest = sha256()
    for name in ("bundle.yaml", "encoder.safetensors", "encoder.onnx", "head.safetensors"):
        path = folder / name
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


def spec_from(config: EvaluateConfig) -> ArenaSpec:
    """The arena that an evaluate command asks for.

    Raises:
        ValueError: the bundle, the robot, the randomization or the objects cannot be used.
    """
    folder = find_bundle(config.bundle)
    bundle = load_bundle(folder)
    calibrated = find_camera(config.camera).record if config.camera is not None else None
    if config.head is Head.LEARNED and not bundle.head_weights:
        raise ValueError(f"head=learned, but {folder} holds no learned head; use head=servo")
    return ArenaSpec(
        bundle=folder,
        objects=config.objects,
        randomization=with_camera(load_randomization(config.randomization).to_plain(), calibrated),
        world=_world(config),
        reality=_reality(config, calibrated),
        robot=config.robot,
        seed=config.seed,
        cache_dir=default_cache_dir(),
        objects_scale=config.objects_scale,
        num_objects=config.num_objects,
        camera=_camera(config, camera_of(bundle)),
        head=config.head.value,
        grasps=config.grasps.value,
        device="cuda" if config.device.value == "cuda" else "cpu",
    )


def _world(config: EvaluateConfig) -> WorldName:
    """The name of the world, once it is known that it can be opened here."""
    looks = Arm.POLICY in config.arms and config.grasps is Grasps.LEARNED
    check_world(config.world.value, with_camera=looks)
    return config.world.value


def _reality(config: EvaluateConfig, calibrated: CameraRecord | None) -> dict[str, Any]:
    if config.world is not World.MUJOCO:
        return {}
    return with_camera(load_reality(config.reality or "default").to_plain(), calibrated, reality=True)


def _camera(config: EvaluateConfig, trained: CameraSetup) -> CameraSetup:
    """The bundle's camera with what the command line changes about it; another size keeps the field of view.

    A camera file replaces lens and mount; what is delivered stays what the bundle was trained with.
    """
    choice = find_camera(config.camera) if config.camera is not None else CameraChoice(trained.placement, None)
    model = choice.record.model if choice.record is not None else trained.model
    mount = choice.record.mount if choice.record is not None else trained.mount
    width = config.image_width_px or model.width_px
    height = config.image_height_px or model.height_px
    k1, k2, p1, p2, k3 = config.distortion or model.distortion
    if config.fx is None or config.fy is None or config.cx is None or config.cy is None:
        x, y = width / model.width_px, height / model.height_px
        focal = (model.fx * x, model.fy * y, (model.cx + 0.5) * x - 0.5, (model.cy + 0.5) * y - 0.5)
    else:
        focal = (config.fx, config.fy, config.cx, config.cy)
    if choice.placement != trained.placement:
        raise ValueError(
            f"camera={config.camera}, but the bundle looks through a {trained.placement} camera; "
            f"give a bundle that was trained with camera={choice.placement}"
        )
    return CameraSetup(
        trained.placement, CameraModel(width, height, *focal, (k1, k2, p1, p2, k3)), trained.rgb, trained.depth, mount
    )


def evaluate(config: EvaluateConfig) -> None:
    """The `evaluate` command: runs, prints the table, writes `eval_info.json`, `episodes.csv`, report and videos."""
    from simtoreal.evaluation.presentation import present

    progress = Progress()
    spec = spec_from(config)
    plan = EvaluationPlan(
        episodes=config.episodes,
        arms=tuple(arm.value for arm in config.arms),
        workers=config.workers,
        out=config.out,
        resume=config.resume,
        config={key: str(value) for key, value in asdict(config).items()},
    )
    result = run_evaluation(spec, plan, progress)
    present(spec, plan, result, config.videos, Console(), progress)
