"""The worlds that there are, by name: where scenes come from, and the cell that they are put into.

MuJoCo is an extra: it is imported when its world is asked for, and not before.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import SceneSource, SimulatedCell
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import RobotSpec

WorldName = Literal["pybullet", "mujoco"]


@dataclass(frozen=True)
class WorldChoice:
    """One world and what is drawn in it; plain values, so that it can be handed to a worker process."""

    name: WorldName = "pybullet"
    randomization: Mapping[str, Any] = field(default_factory=dict)  # of PyBullet, as `Randomization.updated` reads it
    reality: Mapping[str, Any] = field(default_factory=dict)  # of MuJoCo, as `Reality.updated` reads it


def check_world(name: WorldName, with_camera: bool) -> None:
    """Makes sure that a world can be opened here, before anything long is started.

    Raises:
        ModuleNotFoundError: MuJoCo or, for its camera, OpenGL is missing; says what to install.
    """
    if name != "mujoco":
        return
    if importlib.util.find_spec("mujoco") is None:
        raise ModuleNotFoundError("world=mujoco needs MuJoCo: pip install 'simtoreal[mujoco]'")
    if with_camera:
        from simtoreal.envs.mujoco_camera import check_gl

        check_gl()


def open_scenes(world: WorldChoice, objects: ObjectSet, resting: RestingPoses) -> SceneSource[Any]:
    """Draws the scenes of a world.

    Raises:
        ValueError: a randomized value is unknown or out of range.
    """
    if world.name == "mujoco":
        from simtoreal.envs.reality import Reality
        from simtoreal.envs.reality_scene import RealitySampler

        return RealitySampler(objects, resting, Reality().updated(world.reality))
    from simtoreal.envs.randomization import Randomization
    from simtoreal.envs.scene import SceneSampler

    return SceneSampler(objects, resting, Randomization().updated(world.randomization))


def open_cell(world: WorldChoice, robot: RobotSpec, camera: CameraSetup | None) -> SimulatedCell[Any]:
    """A cell of a world; without a camera it renders nothing.

    Raises:
        ModuleNotFoundError: something is not installed; says what to do.
    """
    check_world(world.name, camera is not None)
    if world.name == "mujoco":
        from simtoreal.envs.mujoco_cell import MujocoCell

        return MujocoCell(robot, camera)
    from simtoreal.envs.bullet_cell import BulletCell

    return BulletCell(robot, camera)
