"""A printed board in either world, photographed with the tool anywhere: pictures whose truth is known to the last bit.

The board lies still in the base frame for a camera on the wrist, and is held by the tool for one beside the cell.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.bullet_world import BulletWorld
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.kinematics import SerialChain
from simtoreal.envs.reality_sample import RealitySample
from simtoreal.envs.reality_scene import RealityScene
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import PlacedObject, Scene
from simtoreal.envs.sensors import corrupt_rgb
from simtoreal.envs.sheet_asset import Sheet
from simtoreal.envs.simulated_camera import SimulatedCamera, ViewState
from simtoreal.envs.world_sample import WorldSample
from simtoreal.envs.worlds import check_world

FloatArray = NDArray[np.float64]
_IK_ITERATIONS = 200
_REACHED_M, _REACHED_RAD = 0.002, 0.01


class SheetLook(NamedTuple):
    """One picture with the truth about it."""

    rgb: NDArray[np.uint8]
    T_base_tcp: FloatArray  # (4, 4)
    T_base_board: FloatArray  # (4, 4), frame of the print
    T_base_cam: FloatArray  # (4, 4), where the camera really is
    K: FloatArray
    distortion: FloatArray | None


class SheetStage(Protocol):
    """A world with a robot, a camera and a board."""

    def look(self, T_base_tcp: FloatArray, T_far_board: FloatArray, rng: np.random.Generator) -> SheetLook | None:
        """A picture with the tool there; None where the arm does not reach.

        `T_far_board` is the pose of the print in the base (camera on the wrist) or tool frame (camera beside the cell).
        """
        ...

    def close(self) -> None: ...


class BulletStage:
    """The first world's arm and renderer.

    The board is drawn where it is put; nothing falls.
    """

    def __init__(self, robot: RobotSpec, setup: CameraSetup, sheet: Sheet, sample: WorldSample) -> None:
        self._robot, self._setup, self._sheet, self._sensor = robot, setup, sheet, sample.sensor
        self._world = BulletWorld(robot)
        self._camera = SimulatedCamera(setup, robot, self._world.link_geometry())
        self._camera.begin(Scene((0,), sample, (_placed(sheet),), ()))

    def look(self, T_base_tcp: FloatArray, T_far_board: FloatArray, rng: np.random.Generator) -> SheetLook | None:
        q = _joints(self._world.chain, self._robot, T_base_tcp)
        if q is None:
            return None
        self._world.place_robot(q, self._robot.gripper.opening.joints_at(0.0))
        T_tool = _tool(self._world.chain, self._robot, q)
        T_board = _board_pose(self._setup, T_tool, T_far_board)
        state = ViewState(T_tool, [T_board @ self._sheet.T_print_obj], self._world.link_poses(self._camera.links))
        T_true, model = self._camera.poses(T_tool)[1], self._camera.model
        # A pixel gathers light over its whole area; one ray each would leave steps along the edges of the squares.
        rgb = corrupt_rgb(self._camera.clean(state, model, T_true), self._sensor, rng)
        return SheetLook(rgb, T_tool, T_board, T_true, model.K, self._camera.distortion)

    def close(self) -> None:
        self._world.close()


class MujocoStage:
    """The second world's arm and renderer.

    Raises:
        ModuleNotFoundError: MuJoCo or OpenGL is missing; says what to install.
    """

    def __init__(self, robot: RobotSpec, setup: CameraSetup, sheet: Sheet, sample: RealitySample) -> None:
        check_world("mujoco", with_camera=True)
        from simtoreal.envs.mujoco_camera import MujocoCamera
        from simtoreal.envs.mujoco_robot import MujocoRobot
        from simtoreal.envs.mujoco_world import MujocoWorld

        self._robot, self._setup, self._sheet = robot, setup, sheet
        self._arm = MujocoRobot(robot)
        scene = RealityScene((0,), sample, (_placed(sheet),), ())
        self._world = MujocoWorld(self._arm, scene)
        self._camera = MujocoCamera(setup, robot)
        self._camera.begin(scene, self._world)

    def look(self, T_base_tcp: FloatArray, T_far_board: FloatArray, rng: np.random.Generator) -> SheetLook | None:
        q = _joints(self._arm.chain, self._robot, T_base_tcp)
        if q is None:
            return None
        self._world.place_robot(q, self._robot.gripper.opening.joints_at(0.0))
        T_tool = _tool(self._arm.chain, self._robot, q)
        T_board = _board_pose(self._setup, T_tool, T_far_board)
        self._world.place(0, T_board @ self._sheet.T_print_obj)
        image = self._camera.capture(T_tool, rng)
        assert image.rgb is not None
        T_true = self._camera.poses(T_tool)[1]
        return SheetLook(image.rgb, T_tool, T_board, T_true, image.K, self._camera.distortion)

    def close(self) -> None:
        self._camera.close()


def _placed(sheet: Sheet) -> PlacedObject:
    return PlacedObject(sheet.asset, np.eye(4), 1.0, 0, np.eye(4))


def _board_pose(setup: CameraSetup, T_base_tcp: FloatArray, T_far_board: FloatArray) -> FloatArray:
    return T_far_board if setup.placement == "wrist" else T_base_tcp @ T_far_board


def _joints(chain: SerialChain, robot: RobotSpec, T_base_tcp: FloatArray) -> FloatArray | None:
    """Joints with the tool there, the jaws shut; None where the arm does not reach."""
    T = T_base_tcp.copy()
    T[:3, 3] -= robot.gripper.opening.tip_offset_at(0.0) * T[:3, 2]
    home = np.array(robot.home_joint_positions_rad)
    q = chain.inverse(T, home, home, _IK_ITERATIONS)
    off = frames.invert(T) @ chain.forward(q)
    turn = float(np.linalg.norm(frames.rotation_to_vector(off[:3, :3])))
    return q if float(np.abs(off[:3, 3]).max()) < _REACHED_M and turn < _REACHED_RAD else None


def _tool(chain: SerialChain, robot: RobotSpec, q: FloatArray) -> FloatArray:
    T = chain.forward(q)
    T[:3, 3] += robot.gripper.opening.tip_offset_at(0.0) * T[:3, 2]
    return T
