"""What people look at after an evaluation: the table, the report, pictures of predicted grasps, and short films."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.envs.cell import InvalidScene
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job
from simtoreal.evaluation.charts import Curve, CurvePlot
from simtoreal.evaluation.pictures import Image, draw_estimate
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.report import FailureStrip, Picture, ReportContent, Video, render_terminal, write_report
from simtoreal.evaluation.results import EvaluationResult
from simtoreal.evaluation.runner import EvaluationPlan
from simtoreal.evaluation.video import VideoWriter
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.progress import Progress
from simtoreal.runtime import Step

NUM_PICTURES = 12
_STRIP_EVERY = 12  # control periods between two frames of a failure strip


@dataclass(frozen=True)
class Extras:
    """What a pretraining adds to the report of its closing evaluation."""

    title: str = "Evaluation"
    lead: str = ""
    perception_plots: Sequence[CurvePlot] = ()
    training_plots: Sequence[CurvePlot] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


class _Strip:
    """Keeps a picture now and then of what the policy saw."""

    def __init__(self, policy: GraspPolicy, opening_m: float) -> None:
        self.frames: list[Image] = []
        self._policy = policy
        self._opening_m = opening_m

    def episode_start(self) -> None:
        self.frames.clear()

    def step(self, step: Step) -> None:
        if step.index % _STRIP_EVERY == 0 and step.observation.rgb is not None:
            estimate = self._policy.estimate
            picture = step.observation.rgb
            if estimate is not None:
                picture = draw_estimate(step.observation, estimate, self._opening_m)
            self.frames.append(picture)

    def episode_end(self) -> None:
        """Nothing to close."""


def present(
    spec: ArenaSpec,
    plan: EvaluationPlan,
    result: EvaluationResult,
    num_videos: int,
    console: Console,
    progress: Progress,
    extras: Extras | None = None,
) -> Path:
    """Writes every file of an evaluation and prints its table; returns the path of the report."""
    extras = extras or Extras(lead=_lead(spec, plan))
    info = result.write(plan.out)
    content = ReportContent(title=extras.title, lead=extras.lead, eval_info=info, command=_command(plan))
    if result.main_arm == "policy" and spec.grasps == "learned":
        content = _with_pictures(content, spec, plan, result, num_videos, progress)
    content = replace(
        content,
        perception_plots=extras.perception_plots,
        training_plots=extras.training_plots,
        facts=extras.facts,
    )
    path = write_report(plan.out, content)
    console.print(render_terminal(result))
    console.print(f"report: {path}", highlight=False, soft_wrap=True)
    return path


def _lead(spec: ArenaSpec, plan: EvaluationPlan) -> str:
    reality = plan.config.get("reality") or "default"
    where = f", in the second world: MuJoCo, reality={reality}" if spec.world == "mujoco" else ""
    return f"{plan.episodes} scenes with objects of {spec.objects}{where}."


def _with_pictures(
    content: ReportContent,
    spec: ArenaSpec,
    plan: EvaluationPlan,
    result: EvaluationResult,
    num_videos: int,
    progress: Progress,
) -> ReportContent:
    """Runs some episodes once more, which gives the same again, and takes pictures this time."""
    records = list(result.main)
    failed = [record for record in records if not record.success]
    succeeded = [record for record in records if record.success]
    filmed = (failed[: (num_videos + 1) // 2] + succeeded)[:num_videos]
    strips = failed[:8]
    arena = Arena(spec)
    try:
        with progress.task("pictures", len(filmed) + len(strips) + min(NUM_PICTURES, len(records))) as bar:
            grasps = []
            for record in records[:NUM_PICTURES]:
                picture = _first_look(arena, record)
                grasps += [picture] if picture is not None else []
                bar.advance()
            videos = []
            for record in filmed:
                videos += _film(arena, record, plan.out)
                bar.advance()
            failures = []
            for record in strips:
                failures += _strip(arena, record)
                bar.advance()
    finally:
        arena.close()
    return replace(content, grasps=grasps, videos=videos, failures=failures)


def _target(record: EpisodeRecord) -> Job:
    return Job("policy", record.episode, record.target_name or record.object_name)


def first_look(arena: Arena, job: Job, redraw: int) -> tuple[Observation, GraspEstimate | None]:
    """What the camera shows at the start of a scene, and where the policy would grasp; None if it sees no grasp.

    Raises:
        InvalidScene: this draw of the scene cannot be used.
    """
    policy, cell = arena.policy("policy")
    assert isinstance(policy, GraspPolicy)
    observation = cell.reset(arena.scene(job, redraw))
    policy.reset()
    policy.act(observation)
    return observation, policy.estimate


def _first_look(arena: Arena, record: EpisodeRecord) -> Picture | None:
    try:
        observation, estimate = first_look(arena, _target(record), record.invalid_redraws)
    except InvalidScene:
        return None
    if estimate is None or (observation.rgb is None and observation.depth_m is None):
        return None
    rgb = draw_estimate(observation, estimate, arena.robot.gripper.max_opening_m)
    return Picture(rgb, f"{record.object_name} ({record.group}), quality {estimate.quality:.2f}", record.success)


def _film(arena: Arena, record: EpisodeRecord, out: Path) -> list[Video]:
    policy, cell = arena.policy("policy")
    assert isinstance(policy, GraspPolicy)
    outcome = "grasped" if record.success else record.failure
    path = out / "videos" / f"{record.episode:04d}-{_file_name(record.object_name)}-{outcome}.mp4"

    def latest() -> GraspEstimate | None:
        return policy.estimate

    with VideoWriter(path, cell.control_hz, latest) as video:
        video.title = f"{record.object_name} ({record.group})"
        try:
            run = arena.run(_target(record), [video])
        except InvalidScene:
            return []
        video.show_outcome(run.record.success, run.record.failure)
    return [Video(path, f"{record.object_name} ({record.group}): {outcome}")]


def _strip(arena: Arena, record: EpisodeRecord) -> list[FailureStrip]:
    policy, _ = arena.policy("policy")
    assert isinstance(policy, GraspPolicy)
    strip = _Strip(policy, arena.robot.gripper.max_opening_m)
    try:
        run = arena.run(_target(record), [strip])
    except InvalidScene:
        return []
    if not strip.frames:
        return []
    happened = f"{run.record.num_attempts} attempts in {run.record.duration_s:.1f} s"
    return [FailureStrip(list(strip.frames), record.object_name, run.record.failure or "timed_out", happened)]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60]


def _command(plan: EvaluationPlan) -> str:
    shown = (
        "bundle",
        "world",
        "reality",
        "objects",
        "episodes",
        "seed",
        "randomization",
        "robot",
        "camera",
        "head",
        "grasps",
    )
    parts = [f"{key}={plan.config[key]}" for key in shown if plan.config.get(key) not in (None, "None", "")]
    return " ".join(["simtoreal evaluate", *parts]) if parts else ""


def curves_of_error(error: PerceptionError) -> list[CurvePlot]:
    """Plots of a measured perception error against distance."""
    distance = np.array(error.distance_m)
    plots = [
        ("position", "mm", [("across", 1e3 * np.array(error.lateral_m)), ("height", 1e3 * np.array(error.height_m))]),
        ("yaw", "degrees", [("yaw", np.degrees(error.yaw_rad))]),
        ("no grasp at all", "%", [("share of estimates", 100 * np.array(error.wrong_frac))]),
    ]
    return [
        CurvePlot(f"Error of the grasp estimate: {title}", "distance from camera to object (m)", f"{title} ({unit})",
                  [Curve(name, list(map(float, distance)), list(map(float, values))) for name, values in columns])
        for title, unit, columns in plots
    ]  # fmt: skip
