"""What every simulated cell owes beyond `Controller`: scenes, the privileged state, and who held what.

The oracle and evaluations know a world only by these protocols, so that they run in any of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from simtoreal.contracts import Controller, FloatArray, Observation
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import PlacedObject


class InvalidScene(RuntimeError):
    """The simulation lost the scene before or while it was used; draw another and count it, it is no failure."""


class Obstacle(Protocol):
    """Something in the way that is not to be grasped, as the box around it."""

    @property
    def extents_m(self) -> tuple[float, float, float]: ...
    @property
    def T_base_box(self) -> FloatArray: ...
    @property
    def collides(self) -> bool: ...


class DrawnWorld(Protocol):
    """Everything that was drawn beside the scene's content."""

    def to_dict(self) -> Mapping[str, Any]:
        """Flat and plain for JSON."""
        ...


class SceneLayout(Protocol):
    """What stands on the table of a world, whichever it is."""

    @property
    def seed(self) -> tuple[int, ...]: ...
    @property
    def world(self) -> DrawnWorld: ...
    @property
    def objects(self) -> Sequence[PlacedObject]: ...
    @property
    def scenery(self) -> Sequence[Obstacle]: ...
    @property
    def table_height_m(self) -> float: ...


class CellOutcome(Protocol):
    """How an episode goes, by the world's own judgement."""

    @property
    def success(self) -> bool: ...
    @property
    def held_object(self) -> int | None: ...
    @property
    def num_attempts(self) -> int: ...
    @property
    def failure(self) -> str: ...


AnyScene = TypeVar("AnyScene", bound=SceneLayout)
DrawnScene = TypeVar("DrawnScene", bound=SceneLayout, covariant=True)


class SimulatedCell(Controller, Protocol[AnyScene]):
    """A world with an arm over a table, as a `Controller` that can also be asked for the truth."""

    robot: RobotSpec
    num_rebuilds: int  # times the physics went bad and was built anew

    @property
    def outcome(self) -> CellOutcome: ...
    @property
    def scene(self) -> AnyScene: ...
    @property
    def time_s(self) -> float: ...
    @property
    def rises_m(self) -> tuple[float, ...]:
        """Privileged: how far each free object is above where it lay."""
        ...

    @property
    def T_base_tcp_commanded(self) -> FloatArray: ...
    def reset(self, scene: AnyScene | None = None) -> Observation:
        """Puts a scene on the table, the last one if none is given.

        Raises:
            InvalidScene: an object does not come to rest inside the cell.
            ValueError: no scene was ever given.
        """
        ...

    def object_poses(self) -> list[FloatArray]:
        """Privileged: pose (4, 4) of each free object."""
        ...


class SceneSource(Protocol[DrawnScene]):
    """Draws scenes: the same seed gives the same scene, whoever asks and in whatever order."""

    def sample(self, seed: tuple[int, ...], target: str, num_objects: int = 1) -> DrawnScene:
        """A scene with `target` and at least `num_objects - 1` other objects.

        Raises:
            AssetError: the file of an object turned out to be broken.
        """
        ...
