"""Recording in a simulated cell: scenes are drawn, the oracle or a bundle grasps, and the cell judges."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from simtoreal import frames
from simtoreal.bundle import load_bundle
from simtoreal.camera import CameraModel
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.calibrated_camera import with_camera
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene, SimulatedCell
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.reality import load_reality
from simtoreal.envs.worlds import WorldName, check_world
from simtoreal.episodes.controllers import Take
from simtoreal.episodes.recorder import Recorder
from simtoreal.episodes.records import EpisodeEnd, Mount
from simtoreal.episodes.settings import RecordConfig, Teacher
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job, camera_of
from simtoreal.evaluation.runner import EvaluationPlan, plan_jobs, usable_objects
from simtoreal.preflight import CameraChoice, find_bundle, find_camera, resolve_device
from simtoreal.progress import Progress
from simtoreal.runtime import Step, Subscriber

_FIELD_OF_VIEW_RAD = {"wrist": math.radians(60.0), "external": math.radians(40.0)}


class SimulatedSession:
    """The cells and policies of an arena, one episode after the other."""

    def __init__(self, config: RecordConfig, progress: Progress, more: Sequence[Subscriber] = ()) -> None:
        """`more` subscribe to the loop behind the recorder, such as somebody who disturbs the scene in a test."""
        self._more = more
        self._spec = arena_spec(config)
        check_world(self._spec.world, with_camera=True)
        self._plan = EvaluationPlan(config.episodes, (_arm(config),), 1, config.out)
        self._names, _ = usable_objects(self._spec, self._plan, progress)
        self._arena = Arena(self._spec)
        assert self._spec.camera is not None
        self.mounts: dict[str, Mount] = {self._spec.camera.placement: self._spec.camera.placement}
        self._watch: _CellWatch | None = None

    @property
    def domain(self) -> str:
        return self._spec.world

    @property
    def control_hz(self) -> float:
        return self.cell.control_hz

    @property
    def cell(self) -> SimulatedCell[Any]:
        """The cell that episodes run in."""
        return self._arena.cell(with_camera=True)

    @property
    def robot(self) -> str:
        return self._arena.robot.name

    def clock(self, step: Step) -> float:
        """Time of the cell before the action of this step was sent."""
        return self._watch.period_began_s if self._watch is not None else 0.0

    def takes(self, numbers: Sequence[int]) -> list[Take]:
        """The same objects and scenes as in an evaluation with this seed."""
        plan = EvaluationPlan(max(numbers, default=-1) + 1, self._plan.arms, 1, self._plan.out)
        jobs = {job.episode: job for job in plan_jobs(self._names, self._spec.seed, plan)}
        return [Take(number, jobs[number].object_name) for number in numbers]

    def run(self, take: Take, recorder: Recorder) -> EpisodeEnd | None:
        job = Job(self._plan.arms[0], take.number, take.object_name)
        cell = self.cell
        self._watch = _CellWatch(cell)
        try:
            run = self._arena.run(job, [recorder, *self._more, self._watch])
        except InvalidScene:
            recorder.discard()
            return None
        record = run.record
        return EpisodeEnd(
            success=record.success,
            failure=record.failure,
            world_sample=record.world_sample,
            labels={
                "episode": take.number,
                "policy": job.arm,
                "scene_seed": record.scene_seed,
                "num_attempts": record.num_attempts,
                "lifted": record.object_name if record.success else "",
                "objects": [item.asset.name for item in cell.scene.objects],
                "object_poses": self._watch.object_poses,
            },
        )

    def close(self) -> None:
        self._arena.close()


class _CellWatch:
    """Notes the cell's clock, and the truth about the objects before each action. Comes after the recorder."""

    def __init__(self, cell: SimulatedCell[Any]) -> None:
        self._cell = cell
        self.period_began_s = 0.0
        self.object_poses: list[Any] = []  # per frame and object: x y z qx qy qz qw in the base frame

    def episode_start(self) -> None:
        self.object_poses = [self._poses()]
        self.period_began_s = self._cell.time_s

    def step(self, step: Step) -> None:
        self.period_began_s = self._cell.time_s
        self.object_poses.append(self._poses())

    def episode_end(self) -> None:
        """The last poses belong to no frame."""
        del self.object_poses[-1:]

    def _poses(self) -> list[list[float]]:
        poses = self._cell.object_poses()
        return [np.round([*T[:3, 3], *frames.rotation_to_quat(T[:3, :3])], 6).tolist() for T in poses]


def open_session(config: RecordConfig, progress: Progress) -> SimulatedSession:
    """The session of controller=pybullet or mujoco.

    Raises:
        ValueError: the bundle, the robot, the randomization, the reality or the objects cannot be used.
        ModuleNotFoundError: controller=mujoco without MuJoCo or OpenGL; says what to install.
    """
    return SimulatedSession(config, progress)


def arena_spec(config: RecordConfig) -> ArenaSpec:
    """The arena that a record command asks for.

    Raises:
        ValueError: the bundle, the robot, the randomization or the objects cannot be used.
    """
    folder = find_bundle(config.bundle) if config.policy is Teacher.BUNDLE else None
    world: WorldName = "mujoco" if config.controller == "mujoco" else "pybullet"
    calibrated = find_camera(config.camera).record if config.camera is not None else None
    reality = load_reality(config.reality or "default").to_plain() if world == "mujoco" else {}
    return ArenaSpec(
        bundle=folder,
        objects=config.objects,
        randomization=with_camera(load_randomization(config.randomization).to_plain(), calibrated),
        world=world,
        reality=with_camera(reality, calibrated, reality=True) if world == "mujoco" else {},
        robot=config.robot,
        seed=config.seed,
        cache_dir=default_cache_dir(),
        objects_scale=config.objects_scale,
        num_objects=config.num_objects,
        camera=_camera(config) if folder is None else _resized(camera_of(load_bundle(folder)), config),
        device=resolve_device(config.device),
        always_sees=True,
    )


def _arm(config: RecordConfig) -> str:
    return "policy" if config.policy is Teacher.BUNDLE else "oracle"


def _camera(config: RecordConfig) -> CameraSetup:
    choice = find_camera(config.camera or "wrist")
    if choice.record is not None:
        return CameraSetup(choice.placement, choice.record.model, mount=choice.record.mount)
    fov_rad = _FIELD_OF_VIEW_RAD[choice.placement]
    return CameraSetup(choice.placement, CameraModel.from_fov(config.image_width_px, config.image_height_px, fov_rad))


def _resized(trained: CameraSetup, config: RecordConfig) -> CameraSetup:
    """The camera that a bundle knows, with its vertical field of view at another size."""
    choice = find_camera(config.camera) if config.camera is not None else CameraChoice(trained.placement, None)
    if choice.placement != trained.placement:
        raise ValueError(f"camera={config.camera}, but the bundle looks through a {trained.placement} camera")
    if choice.record is not None:
        return CameraSetup(choice.placement, choice.record.model, mount=choice.record.mount)
    fov_rad = 2.0 * math.atan(0.5 * trained.model.height_px / trained.model.fy)
    return CameraSetup(trained.placement, CameraModel.from_fov(config.image_width_px, config.image_height_px, fov_rad))
