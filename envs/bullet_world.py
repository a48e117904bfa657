"""PyBullet behind one typed door: the only file that imports it, so that `Any` stops here.

Bodies are placed and read by the frame that PyBullet reports, the inertial one, which is the `obj` frame of an asset.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.assets import ObjectAsset
from simtoreal.envs.kinematics import SerialChain
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.robot_geometry import link_mesh
from simtoreal.envs.silence import silenced

with silenced():
    import pybullet as pb
    from pybullet_utils.bullet_client import BulletClient

FloatArray = NDArray[np.float64]
PHYSICS_HZ = 240
TABLE_CENTRE_M = (0.5, 0.0)
# Of the solver. What is squeezed needs more: in each, the jaws push with little more than the momentum of the object at
# their speed, so with few of them they go through a card of ten grams with a tenth of their force.
FREE_ITERATIONS, PRESSING_ITERATIONS = 15, 100
_TABLE_HALF_M = (0.6, 0.6, 0.1)
_ARM_EFFORT = 300.0
_HOLDING_EFFORT = 1000.0  # of joints that nobody commands
_COUPLING_EFFORT, _COUPLING_ERP = 100.0, 0.8
_FINGER_FRICTION = 1.0  # Bullet multiplies the two frictions of a contact: the object's is then the contact's
_STILL_M_S, _STILL_RAD_S = 0.02, 0.2
_PAD_SPINNING_FRICTION = 0.01  # a soft pad resists turning about its normal; a point contact would not


class _Client(BulletClient):  # type: ignore[misc]
    """PyBullet's client, which looks every function up anew at each call; this one remembers them."""

    def __getattr__(self, name: str) -> Any:
        function = super().__getattr__(name)
        if name not in ("disconnect", "isConnected"):
            self.__dict__[name] = function
        return function


class LinkGeometry(NamedTuple):
    """Collision mesh of one robot link."""

    link: int  # PyBullet index, -1 is the base
    vertices_m: FloatArray  # (V, 3) in the inertial frame of the link
    faces: NDArray[np.int32]  # (F, 3)


class Contact(NamedTuple):
    """One contact point of the robot with another body."""

    body_a: int
    body_b: int
    link_a: int
    normal_force_n: float


class BulletWorld:
    """A table and a robot in one private PyBullet client; objects come and go."""

    def __init__(self, robot: RobotSpec) -> None:
        self.robot = robot
        with silenced():
            self._client = _Client(pb.DIRECT)
        self._joint: dict[str, int] = {}
        self._link: dict[str, int] = {}
        self.body = -1
        self.table = -1
        self.rebuild()
        self.chain = self._read_chain()

    def close(self) -> None:
        if self._client.isConnected():
            self._client.disconnect()

    def rebuild(self, table_height_m: float = 0.0) -> None:
        """Empties the client and loads table and robot anew: no trace of an earlier episode, sane or not, survives."""
        client = self._client
        client.resetSimulation()
        client.setGravity(0.0, 0.0, -9.81)
        client.setPhysicsEngineParameter(
            fixedTimeStep=1.0 / PHYSICS_HZ,
            numSolverIterations=PRESSING_ITERATIONS,
            solverResidualThreshold=0.0,  # the changes are small for what is light, and far from over
            deterministicOverlappingPairs=1,
        )
        shape = client.createCollisionShape(pb.GEOM_BOX, halfExtents=_TABLE_HALF_M)
        self.table = client.createMultiBody(
            0.0, shape, basePosition=(*TABLE_CENTRE_M, table_height_m - _TABLE_HALF_M[2])
        )
        client.changeDynamics(self.table, -1, lateralFriction=1.0)
        self.body = self._load_robot()
        self._num_iterations = PRESSING_ITERATIONS
        infos = [client.getJointInfo(self.body, i) for i in range(client.getNumJoints(self.body))]
        self._joint = {info[1].decode(): i for i, info in enumerate(infos)}
        self._link = {info[12].decode(): i for i, info in enumerate(infos)}
        self._index_robot()

    def _load_robot(self) -> int:
        """Loads the robot with the link frame of its base at `base_position_m`.

        Raises:
            ValueError: an SDF whose base would fall.
        """
        client, robot = self._client, self.robot
        if robot.urdf.suffix != ".sdf":
            flags = pb.URDF_IGNORE_VISUAL_SHAPES
            return int(client.loadURDF(str(robot.urdf), robot.base_position_m, useFixedBase=True, flags=flags))
        body = int(client.loadSDF(str(robot.urdf))[0])
        base = client.getDynamicsInfo(body, -1)
        if base[0] > 0.0:
            raise ValueError(f"{robot.urdf}: the base link weighs {base[0]} kg and would fall; give it mass 0")
        # PyBullet places the inertial frame of the base.
        position = np.asarray(robot.base_position_m) + base[3]
        client.resetBasePositionAndOrientation(body, position, base[4])
        return body

    def _index_robot(self) -> None:
        robot = self.robot
        try:
            self._arm = [self._joint[name] for name in robot.arm_joints]
            self._fingers = [self._joint[name] for name in robot.gripper.joints]
            self.finger_links = tuple(self._link[name] for name in robot.gripper.finger_links)
            self.hand_links = tuple(self._link[name] for name in robot.gripper.hand_links)
            self._tool = self._link[robot.tool_link]
        except KeyError as error:
            raise ValueError(
                f"{robot.urdf} has no joint or link {error}; joints: {sorted(self._joint)}, links: {sorted(self._link)}"
            ) from error
        for link in self.finger_links:
            self._client.changeDynamics(
                self.body, link, lateralFriction=_FINGER_FRICTION, spinningFriction=_PAD_SPINNING_FRICTION
            )
        for joint in range(self._client.getNumJoints(self.body)):
            self._set_default_motor(joint)
        if robot.gripper.coupled:
            self._couple_fingers()

    def _set_default_motor(self, joint: int) -> None:
        """Lets go of the joints that are commanded and holds the others: the default velocity motors would brake."""
        client = self._client
        if joint in self._arm or joint in self._fingers:
            client.setJointMotorControl2(self.body, joint, pb.VELOCITY_CONTROL, force=0.0)
        elif client.getJointInfo(self.body, joint)[2] != pb.JOINT_FIXED:
            client.setJointMotorControl2(self.body, joint, pb.POSITION_CONTROL, force=_HOLDING_EFFORT)

    def _couple_fingers(self) -> None:
        """Ties every finger joint to the one before it by the straight line that the opening map describes."""
        for i, line in enumerate(self.robot.gripper.opening.lines()):
            first, second = self._fingers[i : i + 2]
            gear = self._client.createConstraint(
                self.body, first, self.body, second, pb.JOINT_GEAR, (1, 0, 0), (0, 0, 0), (0, 0, 0)
            )
            # Bullet keeps q_first + gearRatio * q_second at the target.
            self._client.changeConstraint(
                gear,
                gearRatio=-1.0 / line.slope,
                relativePositionTarget=-line.intercept / line.slope,
                erp=_COUPLING_ERP,
                maxForce=_COUPLING_EFFORT,
            )

    def _read_chain(self) -> SerialChain:
        """Screw axes at zero angles, from the link frames PyBullet computes there."""
        client, body = self._client, self.body
        for joint in self._arm:
            client.resetJointState(body, joint, 0.0)
        axes, points, lower, upper = [], [], [], []
        for joint in self._arm:
            info = client.getJointInfo(body, joint)
            T = self._frame(joint)
            axes.append(T[:3, :3] @ np.asarray(info[13]))
            points.append(T[:3, 3])
            lower.append(info[8])
            upper.append(info[9])
        T_zero = self._frame(self._tool) @ self.robot.T_link_tcp
        return SerialChain(np.array(axes), np.array(points), T_zero, np.array(lower), np.array(upper))

    def link_frame(self, name: str) -> FloatArray:
        """Frame (4, 4) of a robot link, as its URDF defines it."""
        return self._frame(self._link[name])

    def _frame(self, link: int) -> FloatArray:
        state = self._client.getLinkState(self.body, link, computeForwardKinematics=True)
        return frames.from_quat(state[4], state[5])  # of the chain, for good: exact

    # --- the robot

    def place_robot(self, q_rad: FloatArray, finger_joints: FloatArray) -> None:
        """Puts the robot at joint positions, at rest, without simulating."""
        for joint, value in zip(self._arm + self._fingers, [*q_rad, *finger_joints], strict=True):
            self._client.resetJointState(self.body, joint, value)

    def command_arm(self, q_rad: FloatArray, gain: float) -> None:
        self._client.setJointMotorControlArray(
            self.body,
            self._arm,
            pb.POSITION_CONTROL,
            targetPositions=q_rad.tolist(),
            positionGains=[gain] * len(self._arm),
            forces=[_ARM_EFFORT] * len(self._arm),
        )

    def command_fingers(self, targets: FloatArray, efforts: FloatArray, speeds: FloatArray) -> None:
        commands = zip(self._fingers, targets.tolist(), efforts.tolist(), speeds.tolist(), strict=True)
        for joint, target, effort, speed in commands:
            self._client.setJointMotorControl2(
                self.body, joint, pb.POSITION_CONTROL, targetPosition=target, force=effort, maxVelocity=speed
            )

    def read_joints(self) -> tuple[FloatArray, list[float]]:
        """Measured arm joints (J,) and finger joints (G)."""
        values = [state[0] for state in self._client.getJointStates(self.body, self._arm + self._fingers)]
        return np.array(values[: len(self._arm)]), values[len(self._arm) :]

    def read_fingers(self) -> list[float]:
        """Measured finger joints (G)."""
        return [state[0] for state in self._client.getJointStates(self.body, self._fingers)]

    def link_poses(self, links: Sequence[int]) -> list[FloatArray]:
        """Inertial frames (4, 4) of robot links; -1 is the base."""
        inner = [link for link in links if link >= 0]
        states = self._client.getLinkStates(self.body, inner, computeForwardKinematics=True) if inner else []
        poses = {link: _matrix(state[0], state[1]) for link, state in zip(inner, states, strict=True)}
        if -1 in links:
            poses[-1] = self.pose(self.body)
        return [poses[link] for link in links]

    def link_geometry(self) -> list[LinkGeometry]:
        """Convex hulls of the collision shapes of all links, for drawing the robot."""
        geometry = []
        for link in range(-1, self._client.getNumJoints(self.body)):
            shapes = self._client.getCollisionShapeData(self.body, link)
            mesh = link_mesh([(s[2], s[3], s[4].decode(), s[5], s[6]) for s in shapes])
            if mesh is not None:
                geometry.append(LinkGeometry(link, *mesh))
        return geometry

    # --- objects

    def add_object(self, asset: ObjectAsset, T_base_obj: FloatArray, scale: float) -> int:
        """Loads an asset at a pose.

        Raises:
            ValueError: PyBullet cannot load the file.
        """
        try:
            body = self._client.loadURDF(
                str(asset.urdf_path),
                T_base_obj[:3, 3],
                frames.rotation_to_quat(T_base_obj[:3, :3]),
                globalScaling=scale,
                flags=pb.URDF_IGNORE_VISUAL_SHAPES | pb.URDF_USE_INERTIA_FROM_FILE * (asset.group != "random"),
            )
        except pb.error as error:
            raise ValueError(f"{asset.urdf_path}: PyBullet cannot load it ({error}); check URDF and meshes") from error
        # loadURDF places the link frame; the asset's pose is that of the inertial frame.
        self.set_pose(int(body), T_base_obj)
        return int(body)

    def set_object_dynamics(self, body: int, mass_kg: float, friction: float, restitution: float) -> None:
        self._client.changeDynamics(
            body,
            -1,
            mass=mass_kg,
            lateralFriction=friction,
            restitution=restitution,
            rollingFriction=0.0005,
            spinningFriction=0.002,
        )

    def set_object_damping(self, body: int, linear: float, angular: float) -> None:
        self._client.changeDynamics(body, -1, linearDamping=linear, angularDamping=angular)

    def rest(self, body: int) -> None:
        """Lets a body that lies still sleep until something touches it: awake it costs as much as the whole arm."""
        linear, angular = self.speed(body)
        if linear > _STILL_M_S or angular > _STILL_RAD_S:
            return
        sleep = pb.ACTIVATION_STATE_ENABLE_SLEEPING | pb.ACTIVATION_STATE_ENABLE_WAKEUP | pb.ACTIVATION_STATE_SLEEP
        self._client.changeDynamics(body, -1, activationState=sleep)

    def add_static_box(self, extents_m: FloatArray, T_base_box: FloatArray) -> int:
        shape = self._client.createCollisionShape(pb.GEOM_BOX, halfExtents=np.asarray(extents_m) / 2)
        return int(
            self._client.createMultiBody(
                0.0, shape, basePosition=T_base_box[:3, 3], baseOrientation=frames.rotation_to_quat(T_base_box[:3, :3])
            )
        )

    def remove(self, body: int) -> None:
        self._client.removeBody(body)

    def set_pose(self, body: int, T_base_obj: FloatArray) -> None:
        self._client.resetBasePositionAndOrientation(
            body, T_base_obj[:3, 3], frames.rotation_to_quat(T_base_obj[:3, :3])
        )
        self._client.resetBaseVelocity(body, (0, 0, 0), (0, 0, 0))

    def pose(self, body: int) -> FloatArray:
        """Inertial frame (4, 4) of a body; all nan where the simulation has lost it."""
        position, quat = self._client.getBasePositionAndOrientation(body)
        if not math.isfinite(sum(position) + sum(quat)):
            return np.full((4, 4), np.nan)
        return _matrix(position, quat)

    def position(self, body: int) -> tuple[float, float, float]:
        """Position (3,) only: the cheap reading for success checks."""
        x, y, z = self._client.getBasePositionAndOrientation(body)[0]
        return float(x), float(y), float(z)

    def speed(self, body: int) -> tuple[float, float]:
        """Linear speed in m/s and angular speed in rad/s."""
        linear, angular = self._client.getBaseVelocity(body)
        return float(np.linalg.norm(linear)), float(np.linalg.norm(angular))

    # --- time and contact

    def set_iterations(self, num_iterations: int) -> None:
        """How hard the solver tries: `FREE_ITERATIONS`, or `PRESSING_ITERATIONS` while the jaws close on something."""
        if num_iterations != self._num_iterations:
            self._client.setPhysicsEngineParameter(numSolverIterations=num_iterations)
            self._num_iterations = num_iterations

    def step(self, num_steps: int) -> None:
        for _ in range(num_steps):
            self._client.stepSimulation()

    def touches(self, other: int) -> bool:
        """Whether any part of the robot is at one other body."""
        return len(self._client.getContactPoints(bodyA=self.body, bodyB=other)) > 0

    def robot_contacts(self, other: int) -> list[Contact]:
        """Contacts of the robot with one other body."""
        return [
            Contact(int(c[1]), int(c[2]), int(c[3]), float(c[9]))
            for c in self._client.getContactPoints(bodyA=self.body, bodyB=other)
        ]


def _matrix(position_m: Sequence[float], quat_xyzw: Sequence[float]) -> FloatArray:
    """`frames.from_quat` for the unit quaternions of PyBullet, several times per control period."""
    px, py, pz = position_m
    x, y, z, w = quat_xyzw
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), px],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), py],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), pz],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
