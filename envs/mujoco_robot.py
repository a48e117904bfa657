"""An arm with its gripper as a MuJoCo model, from the same YAML and the same URDF or SDF as everywhere.

Joints are driven by springs and dampers, as position-controlled arms are; the weight of the arm is balanced as well as
the reality says. Boxes on the fingers are the pads: contact of flat against flat, which hulls of scans are not.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.arm_motion import solve_home
from simtoreal.envs.kinematics import SerialChain
from simtoreal.envs.part_meshes import link_hull, link_look
from simtoreal.envs.reality_sample import ArmSample
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.robot_links import Link, read_robot_links
from simtoreal.envs.solids import Mesh, mass_properties
from simtoreal.envs.urdf_files import Geometry

FloatArray = NDArray[np.float64]
ARM_GROUP, HAND_GROUP, COLLISION_GROUP = 1, 2, 3
ROBOT_CONTYPE = 1  # of three bits: robot, things that stand still, objects
PAD_PREFIX = "pad_"
_ARMATURE, _JOINT_DAMPING = 0.1, 1.0  # kg m2, N m s/rad: motors seen through their gears
_FINGER_GAIN_N_M, _FINGER_MASS_KG = (
    20_000.0,
    0.5,
)  # of the jaws' drive at the pads; the mass is mostly that of the motor
_COUPLING = (0.005, 1.0)  # time constant and damping of the linkage between the fingers
_PAD_THICKNESS_M, _PAD_PROUD_M = 0.004, 0.0003
_UNKNOWN_RADIUS_M = 0.04  # of gyration, of a link without shape
_TYPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
}


class Pad(NamedTuple):
    """The flat of one finger, in the frame of its link."""

    link: str
    T_link_pad: FloatArray  # (4, 4)
    half_m: tuple[float, float, float]


class MujocoRobot:
    """What does not change about a robot from scene to scene; `add_to` puts it into a model.

    Raises:
        ValueError: the description lacks a joint or link that the robot's YAML names.
    """

    def __init__(self, robot: RobotSpec) -> None:
        self.robot = robot
        self.links = read_robot_links(robot.urdf)
        self._check_names()
        bare = new_spec()
        self._add_bodies(bare, 0.0, (0.9, 0.9, 0.9))
        model = bare.compile()
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        self.chain = self._read_chain(model, data)
        self.home = solve_home(self.chain, robot)
        self._inertias = self._read_inertias(model, data)
        self._pads = self._place_pads(model, data)

    def add_to(self, spec: mujoco.MjSpec, arm: ArmSample, rgb: tuple[float, float, float]) -> None:
        """Adds bodies, pads, couplings and motors as a reality has them."""
        self._add_bodies(spec, arm.gravity_error_frac, rgb)
        for i, pad in enumerate(self._pads):
            geom = spec.body(pad.link).add_geom(name=f"{PAD_PREFIX}{i}", type=mujoco.mjtGeom.mjGEOM_BOX)
            place(geom, pad.T_link_pad)
            geom.size = pad.half_m
            _collide(geom)
        if self.robot.gripper.coupled:
            self._couple(spec)
        self._add_motors(spec, arm)

    # --- bodies

    def _check_names(self) -> None:
        joints = {link.joint.name for link in self.links}
        names = {link.name for link in self.links}
        robot, gripper = self.robot, self.robot.gripper
        missing = [name for name in (*robot.arm_joints, *gripper.joints) if name not in joints]
        missing += [name for name in (robot.tool_link, *gripper.finger_links, *gripper.hand_links) if name not in names]
        if missing:
            raise ValueError(
                f"{robot.urdf} has no joint or link {', '.join(missing)}; "
                f"joints: {sorted(joints - {''})}, links: {sorted(names)}"
            )

    def _add_bodies(self, spec: mujoco.MjSpec, gravity_error_frac: float, rgb: tuple[float, float, float]) -> None:
        bodies: dict[str | None, mujoco.MjsBody] = {None: spec.worldbody}
        for link in self.links:
            body = bodies[link.name] = bodies[link.parent].add_body(name=link.name)
            T = link.T_parent_link
            if link.parent is None:
                T = frames.transform(self.robot.base_position_m, T[:3, :3])
            place(body, T)
            body.gravcomp = 1.0 - gravity_error_frac
            self._add_joint(body, link)
            _add_mass(body, link)
            self._add_shapes(spec, body, link, rgb)

    def _add_joint(self, body: mujoco.MjsBody, link: Link) -> None:
        """Joints that nobody commands stay as they are."""
        gripper, name = self.robot.gripper, link.joint.name
        if name in self.robot.arm_joints:
            joint = body.add_joint(name=name, type=_joint_type(link), axis=link.joint.axis, armature=_ARMATURE)
            joint.damping[0] = _JOINT_DAMPING
            joint.range = (link.joint.lower, link.joint.upper)
            joint.limited = mujoco.mjtLimited.mjLIMITED_TRUE
        elif name in gripper.joints:
            i = gripper.joints.index(name)
            column = [row[i] for row in gripper.opening.joint_positions]
            armature = _FINGER_MASS_KG * max(self._levers[i], 0.02) ** 2
            joint = body.add_joint(name=name, type=_joint_type(link), axis=link.joint.axis, armature=armature)
            joint.range = (min(column) - 1e-3, max(column) + 1e-3)
            joint.limited = mujoco.mjtLimited.mjLIMITED_TRUE

    @property
    def _levers(self) -> tuple[float, ...]:
        return self.robot.gripper.effort_per_newton

    def _add_shapes(
        self, spec: mujoco.MjSpec, body: mujoco.MjsBody, link: Link, rgb: tuple[float, float, float]
    ) -> None:
        group = HAND_GROUP if link.name in self.robot.gripper.hand_links else ARM_GROUP
        for i, shape in enumerate(link.visual):
            geom = _add_shape(spec, body, shape, link_look, f"{link.name}_look_{i}")
            geom.contype, geom.conaffinity, geom.group = 0, 0, group
            geom.rgba = (*(_rgb(shape, rgb)), 1.0)
        if link.parent is None:
            return  # the foot is bolted down
        for i, shape in enumerate(link.collision):
            _collide(_add_shape(spec, body, shape, link_hull, f"{link.name}_hull_{i}"))

    # --- what is read from the bare robot

    def _read_chain(self, model: mujoco.MjModel, data: mujoco.MjData) -> SerialChain:
        joints = [model.joint(name).id for name in self.robot.arm_joints]
        return SerialChain(
            data.xaxis[joints].copy(),
            data.xanchor[joints].copy(),
            _frame(data, self.robot.tool_link) @ self.robot.T_link_tcp,
            model.jnt_range[joints, 0].copy(),
            model.jnt_range[joints, 1].copy(),
        )

    def _read_inertias(self, model: mujoco.MjModel, data: mujoco.MjData) -> FloatArray:
        """Inertia (J,) that each arm joint feels at home, the others held still."""
        addresses = [model.joint(name).qposadr[0] for name in self.robot.arm_joints]
        data.qpos[addresses] = self.home
        mujoco.mj_forward(model, data)
        inertia = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, inertia)
        freedoms = [model.joint(name).dofadr[0] for name in self.robot.arm_joints]
        return np.array(inertia[freedoms, freedoms])

    def _place_pads(self, model: mujoco.MjModel, data: mujoco.MjData) -> tuple[Pad, ...]:
        """A box behind the face of each finger, found with the jaws open, where the two are far apart."""
        gripper = self.robot.gripper
        geometry, width_m = gripper.geometry, gripper.max_opening_m
        addresses = [model.joint(name).qposadr[0] for name in gripper.joints]
        data.qpos[addresses] = gripper.opening.joints_at(width_m)
        mujoco.mj_kinematics(model, data)
        T_base_tcp = _frame(data, self.robot.tool_link) @ self.robot.T_link_tcp
        pads = []
        for name in gripper.finger_links:
            link = next(item for item in self.links if item.name == name)
            T_base_link = _frame(data, name)
            side = math.copysign(1.0, frames.apply(frames.invert(T_base_tcp) @ T_base_link, _middle(link))[0])
            x = side * (0.5 * width_m - _PAD_PROUD_M + 0.5 * _PAD_THICKNESS_M)
            z = gripper.opening.tip_offset_at(width_m) - 0.5 * geometry.pad_height_m
            T_base_pad = T_base_tcp @ frames.transform((x, 0.0, z))
            half = (0.5 * _PAD_THICKNESS_M, 0.5 * geometry.finger_width_m, 0.5 * geometry.pad_height_m)
            pads.append(Pad(name, frames.invert(T_base_link) @ T_base_pad, half))
        return tuple(pads)

    # --- motors

    def _couple(self, spec: mujoco.MjSpec) -> None:
        """Ties every finger joint to the one before it by the straight line that the opening map describes."""
        joints = self.robot.gripper.joints
        for i, line in enumerate(self.robot.gripper.opening.lines()):
            tie = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT)
            tie.name1, tie.name2 = joints[i + 1], joints[i]
            tie.data[:2] = line.intercept, line.slope
            tie.solref = _COUPLING

    def _add_motors(self, spec: mujoco.MjSpec, arm: ArmSample) -> None:
        efforts = {link.joint.name: link.joint.effort for link in self.links}
        for name, inertia in zip(self.robot.arm_joints, self._inertias, strict=True):
            gain = inertia * arm.stiffness_rad_s**2
            damping = 2.0 * arm.damping_ratio * inertia * arm.stiffness_rad_s
            _add_motor(spec, name, gain, damping - _JOINT_DAMPING, efforts[name] or 1000.0)
        force_n = min(arm.gripper_force_n, self.robot.gripper.max_force_n)
        for name, lever in zip(self.robot.gripper.joints, self._levers, strict=True):
            if lever > 0.0:
                gain = _FINGER_GAIN_N_M * lever**2
                damping = 2.0 * math.sqrt(_FINGER_GAIN_N_M * _FINGER_MASS_KG) * lever**2
                _add_motor(spec, name, gain, damping, force_n * lever)


def new_spec() -> mujoco.MjSpec:
    """An empty model in radians."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    return spec


def motor_name(joint: str) -> str:
    """Name of the motor of a joint."""
    return f"motor_{joint}"


def _add_motor(spec: mujoco.MjSpec, joint: str, gain: float, damping: float, effort: float) -> None:
    motor = spec.add_actuator(name=motor_name(joint), target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    motor.set_to_position(kp=gain, kv=max(damping, 0.0))
    motor.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
    motor.forcerange = (-effort, effort)


def _joint_type(link: Link) -> mujoco.mjtJoint:
    return mujoco.mjtJoint.mjJNT_HINGE if link.joint.kind == "hinge" else mujoco.mjtJoint.mjJNT_SLIDE


def _add_mass(body: mujoco.MjsBody, link: Link) -> None:
    """Mass and centre as the file says; inertia from the shape, since many files hold placeholders."""
    if link.mass_kg <= 0.0:
        return
    inertia = link.mass_kg * _UNKNOWN_RADIUS_M**2 * np.eye(3)
    hull = next((link_hull(shape) for shape in link.collision if shape.kind == "mesh"), None)
    if hull is not None:
        solid = mass_properties(hull)
        inertia = solid.inertia_m5 * (link.mass_kg / solid.volume_m3)
    I = inertia  # noqa: E741, N806 - the tensor
    body.mass, body.ipos, body.explicitinertial = link.mass_kg, link.T_link_com[:3, 3], True
    body.fullinertia = (I[0, 0], I[1, 1], I[2, 2], I[0, 1], I[0, 2], I[1, 2])


def _add_shape(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, shape: Geometry, build: Callable[[Geometry], Mesh], name: str
) -> mujoco.MjsGeom:
    geom = body.add_geom(name=name, density=0.0)
    place(geom, shape.T_link_shape)
    if shape.kind == "mesh":
        add_mesh(spec, name, build(shape))
        geom.type, geom.meshname = mujoco.mjtGeom.mjGEOM_MESH, name
        return geom
    geom.type = _TYPES[shape.kind]
    sizes = (
        [0.5 * value for value in shape.size]
        if shape.kind == "box"
        else [shape.size[0], *(0.5 * v for v in shape.size[1:])]
    )
    geom.size[: len(sizes)] = sizes
    return geom


def add_mesh(spec: mujoco.MjSpec, name: str, mesh: Mesh) -> mujoco.MjsMesh:
    """A mesh of vertices and triangles under a name; it may be open."""
    added = spec.add_mesh(name=name, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
    added.uservert, added.userface = mesh.vertices_m.ravel(), mesh.faces.ravel()
    return added


def place(item: mujoco.MjsBody | mujoco.MjsGeom, T: FloatArray) -> None:
    """Sets position and orientation of a body or geom in its parent."""
    x, y, z, w = frames.rotation_to_quat(T[:3, :3])
    item.pos, item.quat = T[:3, 3], (w, x, y, z)


def _collide(geom: mujoco.MjsGeom) -> None:
    geom.contype, geom.conaffinity, geom.group = ROBOT_CONTYPE, 0, COLLISION_GROUP


def _rgb(shape: Geometry, otherwise: tuple[float, float, float]) -> tuple[float, float, float]:
    """The file's own colour, unless it is the white or red that unfinished files have."""
    if shape.rgb is None or max(shape.rgb) - min(shape.rgb) > 100:
        return otherwise
    scale = 1.0 / 255.0
    return shape.rgb[0] * scale, shape.rgb[1] * scale, shape.rgb[2] * scale


def _frame(data: mujoco.MjData, body: str) -> FloatArray:
    placed = data.body(body)
    return frames.transform(placed.xpos, placed.xmat.reshape(3, 3))


def _middle(link: Link) -> FloatArray:
    """Centre (3,) of the box around a link's shapes, in its frame."""
    points = [
        frames.apply(shape.T_link_shape, link_hull(shape).vertices_m if shape.kind == "mesh" else np.zeros((1, 3)))
        for shape in link.collision
    ]
    corners = np.concatenate(points) if points else np.zeros((1, 3))
    return np.asarray(0.5 * (corners.min(axis=0) + corners.max(axis=0)))
