"""A simulated cell that can be served: a new scene at every reset."""

from simtoreal.contracts import Action, Observation
from simtoreal.envs.assets import AssetError
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.worlds import check_world
from simtoreal.episodes.settings import RecordConfig
from simtoreal.episodes.simulated_session import arena_spec
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job

_MAX_REDRAWS = 20


class SimulatedRobot:
    """A cell with its camera, as a `Controller` whose reset needs no scene."""

    def __init__(self, spec: ArenaSpec) -> None:
        check_world(spec.world, with_camera=True)
        self._arena = Arena(spec)
        self._cell = self._arena.cell(with_camera=True)
        self._num_resets = 0

    @property
    def control_hz(self) -> float:
        return self._cell.control_hz

    def connect(self) -> None:
        self._cell.connect()

    def reset(self) -> Observation:
        """Puts the next scene on the table.

        Raises:
            InvalidScene: too many draws in a row were invalid.
        """
        names = self._arena.objects.names
        for redraw in range(_MAX_REDRAWS):
            number, self._num_resets = self._num_resets, self._num_resets + 1
            try:
                job = Job("policy", number, names[number % len(names)])
                return self._cell.reset(self._arena.scene(job, redraw))
            except (InvalidScene, AssetError):
                continue
        raise InvalidScene(f"{_MAX_REDRAWS} invalid scenes in a row")

    def get_observation(self) -> Observation:
        return self._cell.get_observation()

    def send_action(self, action: Action) -> Action:
        return self._cell.send_action(action)

    def stop(self) -> None:
        self._cell.stop()

    def disconnect(self) -> None:
        self._arena.close()


def open_simulated(name: str) -> SimulatedRobot:
    """The cell of controller=pybullet or mujoco.

    Raises:
        ModuleNotFoundError: controller=mujoco without MuJoCo or OpenGL; says what to install.
    """
    return SimulatedRobot(arena_spec(RecordConfig(controller=name)))
