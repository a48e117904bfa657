"""One compiled scene in motion: what is told to the motors, what is read, what touches what."""

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.mujoco_robot import MujocoRobot, motor_name
from simtoreal.envs.mujoco_stage import BLOCK_PREFIX, OBJECT_PREFIX, TABLE, build_model
from simtoreal.envs.reality_scene import RealityScene

FloatArray = NDArray[np.float64]
# By itself MuJoCo writes its warnings to a file in whatever folder one stands in; what they are about is counted in
# `MjData.warning`, and looked at by `MujocoWorld.is_finite`.
mujoco.set_mju_user_warning(lambda _: None)


class Touch(NamedTuple):
    """Who touches whom right now."""

    by_both_fingers: tuple[bool, ...]  # of each object
    by_table: tuple[bool, ...]  # of each object: table or a block
    hand_force_n: float  # of the robot on table and blocks, the largest of all contacts


class MujocoWorld:
    """A scene with the robot in it. Poses are those of the obj frame, which is that of the body."""

    def __init__(self, robot: MujocoRobot, scene: RealityScene) -> None:
        self.model = build_model(robot, scene)
        self.data = mujoco.MjData(self.model)
        spec, model = robot.robot, self.model
        self._arm = np.array([model.joint(name).qposadr[0] for name in spec.arm_joints])
        self._fingers = np.array([model.joint(name).qposadr[0] for name in spec.gripper.joints])
        self._arm_motors = [model.actuator(motor_name(name)).id for name in spec.arm_joints]
        self._driven = [i for i, lever in enumerate(spec.gripper.effort_per_newton) if lever > 0.0]
        self._finger_motors = [model.actuator(motor_name(spec.gripper.joints[i])).id for i in self._driven]
        self._bodies = [model.body(f"{OBJECT_PREFIX}{i}").id for i in range(len(scene.objects))]
        self._index_contacts(robot, scene)

    def _index_contacts(self, robot: MujocoRobot, scene: RealityScene) -> None:
        """For each geom: what it belongs to, so that a contact is looked up and not searched."""
        model = self.model
        self._object_of = np.full(model.ngeom, -1)
        for i, body in enumerate(self._bodies):
            self._object_of[model.geom_bodyid == body] = i
        self._finger_of = np.full(model.ngeom, -1)
        for i, name in enumerate(robot.robot.gripper.finger_links):
            self._finger_of[model.geom_bodyid == model.body(name).id] = i
        names = {robot_link.name for robot_link in robot.links}
        self._is_robot = np.array([model.body(body).name in names for body in model.geom_bodyid])
        still = [TABLE, *(f"{BLOCK_PREFIX}{i}" for i, prop in enumerate(scene.scenery) if prop.collides)]
        self._is_still = np.zeros(model.ngeom, dtype=bool)
        self._is_still[[model.geom(name).id for name in still]] = True

    # --- the robot

    def place_robot(self, q_rad: FloatArray, finger_joints: FloatArray) -> None:
        """Puts the robot at joint positions, at rest."""
        self.data.qpos[self._arm], self.data.qpos[self._fingers] = q_rad, finger_joints
        self.data.qvel[:] = 0.0

    def command_arm(self, q_rad: FloatArray) -> None:
        self.data.ctrl[self._arm_motors] = q_rad

    def command_fingers(self, finger_joints: FloatArray) -> None:
        self.data.ctrl[self._finger_motors] = finger_joints[self._driven]

    @property
    def arm_joints_rad(self) -> FloatArray:
        """Measured arm joints (J,)."""
        return np.array(self.data.qpos[self._arm])

    @property
    def finger_joints(self) -> FloatArray:
        """Measured finger joints (G,)."""
        return np.array(self.data.qpos[self._fingers])

    # --- objects

    def pose(self, index: int) -> FloatArray:
        """Pose (4, 4) of an object; all nan where the simulation has lost it."""
        body = self._bodies[index]
        T = frames.transform(self.data.xpos[body], self.data.xmat[body].reshape(3, 3))
        return T if np.isfinite(T).all() else np.full((4, 4), np.nan)

    def place(self, index: int, T_base_obj: FloatArray) -> None:
        """Puts an object somewhere else, at rest."""
        joint = self.model.body_jntadr[self._bodies[index]]
        at, moves = self.model.jnt_qposadr[joint], self.model.jnt_dofadr[joint]
        x, y, z, w = frames.rotation_to_quat(T_base_obj[:3, :3])
        self.data.qpos[at : at + 7] = (*T_base_obj[:3, 3], w, x, y, z)
        self.data.qvel[moves : moves + 6] = 0.0
        mujoco.mj_kinematics(self.model, self.data)

    @property
    def positions_m(self) -> FloatArray:
        """Positions (N, 3) of the objects."""
        return np.array(self.data.xpos[self._bodies]).reshape(-1, 3)

    @property
    def is_finite(self) -> bool:
        """Whether the state is one; MuJoCo resets it by itself where it is not, and says so in a warning."""
        warned = sum(
            self.data.warning[kind].number
            for kind in (
                mujoco.mjtWarning.mjWARN_BADQPOS,
                mujoco.mjtWarning.mjWARN_BADQVEL,
                mujoco.mjtWarning.mjWARN_BADQACC,
            )
        )
        return warned == 0 and bool(np.isfinite(self.data.qpos).all())

    # --- time and contact

    def step(self, num_steps: int) -> None:
        """Lets physics steps pass; what is read afterwards is of the end of the last."""
        mujoco.mj_step(self.model, self.data, num_steps)
        mujoco.mj_kinematics(self.model, self.data)

    def touch(self) -> Touch:
        """Contacts of the last physics step."""
        fingers: list[set[int]] = [set() for _ in self._bodies]
        supported, hand_n = [False] * len(self._bodies), 0.0
        for i in range(self.data.ncon):
            contact = self.data.contact[i]
            if contact.efc_address < 0:
                continue  # near, but apart
            a, b = int(contact.geom1), int(contact.geom2)
            for one, other in ((a, b), (b, a)):
                index = self._object_of[one]
                if index >= 0 and self._finger_of[other] >= 0:
                    fingers[index].add(int(self._finger_of[other]))
                elif index >= 0 and self._is_still[other]:
                    supported[index] = True
            if (self._is_robot[a] and self._is_still[b]) or (self._is_robot[b] and self._is_still[a]):
                hand_n = max(hand_n, self._normal_force_n(i))
        return Touch(tuple(len(touching) == 2 for touching in fingers), tuple(supported), hand_n)

    def _normal_force_n(self, contact: int) -> float:
        wrench = np.zeros(6)
        mujoco.mj_contactForce(self.model, self.data, contact, wrench)
        return abs(float(wrench[0]))
