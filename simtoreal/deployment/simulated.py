"""The simulated cells as controllers of `deploy`: one drawn scene after the other, one for each reset."""

from collections.abc import Iterator
from typing import Any

from simtoreal.contracts import Action, Observation
from simtoreal.controllers.registry import ControllerSettings
from simtoreal.episodes.settings import RecordConfig, Teacher
from simtoreal.progress import Progress

_SIZE_PX = 64  # the default bundles' own camera
_MAX_SCENES = 100_000


class DrawnCell:
    """A `Controller` over a cell whose `reset` draws the next scene."""

    def __init__(self, settings: ControllerSettings, world: str) -> None:
        self._settings, self._world = settings, world
        self._scenes: Iterator[Any] | None = None
        self._cell: Any = None
        self._has_scene = False

    @property
    def control_hz(self) -> float:
        return float(self._cell.control_hz)

    @property
    def time_s(self) -> float:
        """Of the simulation; passes in `send_action`."""
        return float(self._cell.time_s)

    @property
    def success(self) -> bool:
        return bool(self._cell.outcome.success)

    def connect(self) -> None:
        """Opens the cell.

        Raises:
            ModuleNotFoundError: the simulator is not installed.
        """
        from simtoreal.episodes.simulated_session import arena_spec
        from simtoreal.evaluation.arena import Arena, Job
        from simtoreal.evaluation.runner import EvaluationPlan, plan_jobs, usable_objects

        given = self._settings
        config = RecordConfig(
            controller=self._world, policy=Teacher.ORACLE, objects=given.objects, robot=given.robot, seed=given.seed,
            image_width_px=_SIZE_PX, image_height_px=_SIZE_PX,
        )  # fmt: skip
        spec = arena_spec(config)
        plan = EvaluationPlan(_MAX_SCENES, ("oracle",), 1, config.out)
        names, _ = usable_objects(spec, plan, Progress())
        arena = Arena(spec)
        self._cell = arena.cell(with_camera=True)
        jobs = plan_jobs(names, given.seed, plan)
        self._scenes = (arena.scene(Job("oracle", job.episode, job.object_name), 0) for job in jobs)

    def reset(self) -> Observation:
        """Draws scenes until one comes to rest."""
        from simtoreal.envs.cell import InvalidScene

        assert self._scenes is not None, "connect() first"
        for scene in self._scenes:
            try:
                observation: Observation = self._cell.reset(scene)
            except InvalidScene:
                continue
            self._has_scene = True
            return observation
        raise RuntimeError("there are no more scenes")

    def get_observation(self) -> Observation:
        """What the camera sees; of the first scene where nobody has asked for one, as a real table is never nowhere."""
        if not self._has_scene:
            return self.reset()
        observation: Observation = self._cell.get_observation()
        return observation

    def send_action(self, action: Action) -> Action:
        sent: Action = self._cell.send_action(action)
        return sent

    def stop(self) -> None:
        if self._cell is not None:
            self._cell.stop()

    def disconnect(self) -> None:
        if self._cell is not None:
            self._cell.disconnect()


def open_pybullet(settings: ControllerSettings) -> DrawnCell:
    """The cell of controller=pybullet."""
    return DrawnCell(settings, "pybullet")


def open_mujoco(settings: ControllerSettings) -> DrawnCell:
    """The cell of controller=mujoco."""
    return DrawnCell(settings, "mujoco")
