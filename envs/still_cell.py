"""Single frames without physics: objects in their resting poses, the tool anywhere, one look through the camera."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Observation
from simtoreal.envs.bullet_world import BulletWorld
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import Scene
from simtoreal.envs.simulated_camera import CameraVariant, SimulatedCamera, ViewState

FloatArray = NDArray[np.float64]
_IK_ITERATIONS = 40
_REACHED_M = 0.01


class ToolPose(NamedTuple):
    """Where the tool is in a frame, and how far the jaws are open."""

    T_base_tcp: FloatArray  # (4, 4)
    width_m: float


class StillCell:
    """Renders observations of a scene for tool poses of your choice: hundreds per second, no simulation.

    Without `arm` the pictures show the table alone, as a picture does that was taken before the robot moved in.
    """

    def __init__(self, robot: RobotSpec, camera: CameraSetup, arm: bool = True) -> None:
        self.robot = robot
        self._world = BulletWorld(robot)
        self._camera = SimulatedCamera(camera, robot, self._world.link_geometry() if arm else [])
        self._q = np.array(robot.home_joint_positions_rad)

    def close(self) -> None:
        self._world.close()

    def begin(self, scene: Scene, camera: CameraVariant | None = None) -> None:
        """Fixes scene, looks and camera for the frames that follow; `camera` replaces the nominal one."""
        self._scene = scene
        self._camera.begin(scene, camera)

    def look(self, tool: ToolPose, rng: np.random.Generator) -> Observation | None:
        """What the camera delivers with the tool there; None where the arm does not reach."""
        home = np.array(self.robot.home_joint_positions_rad)
        q = self._world.chain.inverse(tool.T_base_tcp, home, home, _IK_ITERATIONS)
        T_base_tcp = self._world.chain.forward(q)
        if float(np.abs(T_base_tcp[:3, 3] - tool.T_base_tcp[:3, 3]).max()) > _REACHED_M:
            return None
        opening = self.robot.gripper.opening
        self._world.place_robot(q, opening.joints_at(tool.width_m))
        T_base_tcp[:3, 3] += opening.tip_offset_at(tool.width_m) * T_base_tcp[:3, 2]
        poses = [item.T_base_obj for item in self._scene.objects]
        image = self._camera.capture(ViewState(T_base_tcp, poses, self._world.link_poses(self._camera.links)), rng)
        return Observation(0.0, *image, T_base_tcp=T_base_tcp, gripper_width_m=tool.width_m, joint_positions_rad=q,
                           distortion=self._camera.distortion)  # fmt: skip


def draw_tool_pose(scene: Scene, robot: RobotSpec, rng: np.random.Generator) -> ToolPose:
    """A tool pose as an approach meets them: near home, or somewhere above an object, down to just over it."""
    item = scene.objects[int(rng.integers(len(scene.objects)))]
    top_m = item.T_base_obj[2, 3] + float((item.asset.vertices_m @ item.T_base_obj[2, :3]).max()) * item.scale
    if rng.random() < 0.45:
        position = np.array(robot.home_position_m) + rng.uniform(-1, 1, 3) * (0.04, 0.04, 0.06)
        yaw = rng.uniform(-0.5, 0.5)
    else:
        height = top_m + rng.uniform(0.02, 0.30) ** 1.0
        spread = 0.25 * min(height - top_m + 0.04, 0.2)
        position = np.array([*(item.T_base_obj[:2, 3] + rng.normal(0.0, spread, 2)), min(height, 0.48)])
        yaw = rng.uniform(-np.pi / 2, np.pi / 2)
    position[2] = max(position[2], top_m + 0.01)
    return ToolPose(frames.top_down(position, yaw), robot.gripper.max_opening_m)
