"""One scene, one arm, one episode: what every worker of an evaluation does."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch

from simtoreal.bundle import Bundle, is_exported, load_bundle
from simtoreal.camera import CameraModel
from simtoreal.contracts import Observation, Policy
from simtoreal.envs.assets import AssetError
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene, SceneLayout, SimulatedCell
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.object_sets import load_object_set
from simtoreal.envs.oracle import PrivilegedGrasps
from simtoreal.envs.planner import fits_gripper
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import load_robot
from simtoreal.envs.worlds import WorldChoice, WorldName, open_cell, open_scenes
from simtoreal.evaluation.records import EpisodeRecord, size_class
from simtoreal.head_interface import HeadScale
from simtoreal.policies.exported import load_exported
from simtoreal.policies.grasp_policy import GraspPolicy, RandomPolicy
from simtoreal.policies.load import make_policy
from simtoreal.policies.parts import HeadChoice
from simtoreal.policies.servo import ServoHead
from simtoreal.runtime import Step, Subscriber, run_episode

MAX_EPISODE_S = 12.0
_MAX_REDRAWS = 10


@dataclass(frozen=True)
class ArenaSpec:
    """Where an evaluation happens; plain values, so that it can be handed to a worker process."""

    bundle: Path | None  # None where only the oracle and the random policy run
    objects: str
    randomization: dict[str, Any]
    robot: str
    seed: int
    cache_dir: Path
    objects_scale: float = 1.0
    num_objects: int = 1
    camera: CameraSetup | None = None  # None is the camera of the bundle
    head: HeadChoice = "bundle"
    grasps: Literal["learned", "privileged"] = "learned"
    device: str = "cpu"
    always_sees: bool = False  # render also for those who do not look, so that it can be recorded
    world: WorldName = "pybullet"
    reality: dict[str, Any] = field(default_factory=dict)  # of world=mujoco; randomization is of world=pybullet


class Job(NamedTuple):
    """One episode to run: who, which, with what object."""

    arm: str
    episode: int
    object_name: str


class EpisodeRun(NamedTuple):
    """A finished episode: its record, and what it cost."""

    record: EpisodeRecord
    policy_s: np.ndarray[Any, np.dtype[np.float32]]  # image to action, every control period
    num_steps: int
    num_rebuilds: int


class _Stopwatch:
    """Collects the policy's time per step."""

    def __init__(self) -> None:
        self.policy_s: list[float] = []

    def episode_start(self) -> None:
        self.policy_s.clear()

    def step(self, step: Step) -> None:
        self.policy_s.append(step.policy_s)

    def episode_end(self) -> None:
        """Nothing to close."""


class Arena:
    """Cells, policies and scenes of one process."""

    def __init__(self, spec: ArenaSpec) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.spec = spec
        self.robot = load_robot(spec.robot)
        self.objects = load_object_set(spec.objects, spec.cache_dir, scale=spec.objects_scale)
        self.resting = RestingPoses(spec.cache_dir)
        self.library = GraspLibrary(self.robot.gripper.geometry, self.resting, spec.cache_dir)
        self._world = WorldChoice(spec.world, spec.randomization, spec.reality)
        self._sampler = open_scenes(self._world, self.objects, self.resting)
        self._bundle = load_bundle(spec.bundle) if spec.bundle is not None else None
        self._cells: dict[bool, SimulatedCell[Any]] = {}
        self._policies: dict[str, Policy] = {}

    def close(self) -> None:
        for cell in self._cells.values():
            cell.disconnect()

    def cell(self, with_camera: bool) -> SimulatedCell[Any]:
        """The cell, with the camera or without; both have the same physics."""
        if with_camera not in self._cells:
            camera = self._camera() if with_camera else None
            self._cells[with_camera] = open_cell(self._world, self.robot, camera)
        return self._cells[with_camera]

    def policy(self, arm: str) -> tuple[Policy, SimulatedCell[Any]]:
        """The policy of an arm and the cell it acts in."""
        looks = arm == "policy" and self.spec.grasps == "learned"
        cell = self.cell(with_camera=looks or self.spec.always_sees)
        if arm not in self._policies:
            self._policies[arm] = self._make_policy(arm, cell)
        return self._policies[arm], cell

    def scene(self, job: Job, redraw: int) -> SceneLayout:
        scene: SceneLayout = self._sampler.sample(
            (self.spec.seed, job.episode, redraw), job.object_name, self.spec.num_objects
        )
        return scene

    def run(self, job: Job, subscribers: Sequence[Subscriber] = ()) -> EpisodeRun:
        """Runs one episode; a scene that the physics loses is drawn again and counted.

        Raises:
            InvalidScene: too many draws in a row were invalid.
        """
        policy, cell = self.policy(job.arm)
        stopwatch = _Stopwatch()
        for redraw in range(_MAX_REDRAWS):
            try:
                scene = self.scene(job, redraw)
                observation = cell.reset(scene)
                num_steps = self._episode(job, cell, policy, observation, [stopwatch, *subscribers])
            except (InvalidScene, AssetError):  # the latter of a neighbour, whose file nobody has looked at yet
                continue
            record = self._record(job, scene, cell, policy, redraw)
            return EpisodeRun(record, np.array(stopwatch.policy_s, dtype=np.float32), num_steps, cell.num_rebuilds)
        raise InvalidScene(f"episode {job.episode}, object {job.object_name}: {_MAX_REDRAWS} invalid scenes in a row")

    def _episode(
        self,
        job: Job,
        cell: SimulatedCell[Any],
        policy: Policy,
        observation: Observation,
        subscribers: list[Subscriber],
    ) -> int:
        if isinstance(policy, RandomPolicy):  # a stream of its own per episode, whatever ran before
            policy.seed((self.spec.seed, job.episode))
        max_steps = round(MAX_EPISODE_S * cell.control_hz)
        return run_episode(
            cell, policy, observation, lambda step: cell.outcome.success or step >= max_steps, subscribers
        )

    def _record(
        self, job: Job, scene: SceneLayout, cell: SimulatedCell[Any], policy: Policy, redraw: int
    ) -> EpisodeRecord:
        outcome = cell.outcome
        item = scene.objects[outcome.held_object or 0]
        failure = outcome.failure
        if failure == "timed_out" and isinstance(policy, GraspPolicy) and policy.estimate is None:
            failure = "no_grasp_seen"
        grasps = [self.library.in_scene(scene, i) for i in range(len(scene.objects))]
        return EpisodeRecord(
            episode=job.episode,
            scene_seed="-".join(str(part) for part in scene.seed),
            object_name=item.asset.name,
            group=item.asset.group,
            size_class=size_class(np.ptp(item.asset.vertices_m, axis=0) * item.scale),
            success=outcome.success,
            failure=failure,
            num_attempts=outcome.num_attempts,
            duration_s=round(cell.time_s, 4),
            invalid_redraws=redraw,
            fits_gripper=any(fits_gripper(grasp_set) for grasp_set in grasps),
            arm=job.arm,
            target_name=job.object_name,
            world_sample=dict(scene.world.to_dict()),
        )

    def _make_policy(self, arm: str, cell: SimulatedCell[Any]) -> Policy:
        opening_m = self.robot.gripper.max_opening_m
        if arm == "random":
            return RandomPolicy(replace(self._scale(), max_opening_m=opening_m))
        privileged = PrivilegedGrasps(cell, self.library)
        if arm == "oracle":
            return GraspPolicy(privileged, ServoHead(), replace(self._scale(), max_opening_m=opening_m))
        bundle = self._need_bundle()
        assert self.spec.bundle is not None
        if is_exported(self.spec.bundle) and self.spec.grasps == "learned":
            return load_exported(self.spec.bundle, self.spec.head, opening_m)
        # A policy trained with one gripper drives another: only the unit of opening changes.
        bundle = replace(bundle, scale=replace(bundle.scale, max_opening_m=opening_m))
        source = privileged if self.spec.grasps == "privileged" else None
        return make_policy(bundle, self.spec.head, self.spec.device, source)

    def _scale(self) -> HeadScale:
        return self._bundle.scale if self._bundle is not None else HeadScale()

    def _need_bundle(self) -> Bundle:
        if self._bundle is None:
            raise ValueError("the policy arm needs a bundle")
        return self._bundle

    def _camera(self) -> CameraSetup:
        return self.spec.camera or camera_of(self._need_bundle())


def camera_of(bundle: Bundle, model: CameraModel | None = None) -> CameraSetup:
    """The camera a bundle was trained with; `model` replaces its lens and size."""
    setup = CameraSetup.of(bundle.camera)
    return setup if model is None else replace(setup, model=model)
