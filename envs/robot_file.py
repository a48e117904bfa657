"""What a robot YAML holds; docs/robots.md says it with more words."""

from dataclasses import dataclass

from simtoreal.schema import option, required

Vector3 = tuple[float, float, float]


@dataclass(frozen=True)
class ToolFrame:
    """Where the tool frame sits on its link."""

    link: str = required("link that the tool frame is fixed to")
    position_m: Vector3 = required("of the tool in that link, between the ends of the finger tips", unit="m")
    quat_xyzw: tuple[float, float, float, float] = required("of the tool in that link; +X is where the jaws close")


@dataclass(frozen=True)
class OpeningRow:
    """The gripper at one opening."""

    width_m: float = required("opening between the pads", unit="m", minimum=0.0, maximum=0.5)
    joint_positions: tuple[float, ...] = required("of the finger joints, in the order of gripper.joints")
    tip_offset_m: float = required(
        "how far the tips have moved along the approach", unit="m", minimum=-0.2, maximum=0.2
    )


@dataclass(frozen=True)
class GripperFile:
    """The jaws."""

    joints: tuple[str, ...] = required("joints that move the fingers")
    finger_links: tuple[str, ...] = required("the two links that touch an object")
    hand_links: tuple[str, ...] = required("everything that moves with the hand")
    coupled: bool = required("one motor drives the fingers: each joint follows the one before it")
    opening_map: tuple[OpeningRow, ...] = required("rows from closed to open")
    effort_per_newton: tuple[float, ...] = required("effort at each joint that presses with a newton", minimum=0.0)
    max_force_n: float = required("of the gripper at its pads", unit="N", minimum=1.0, maximum=1000.0)
    max_speed_m_s: float = required("of the opening", unit="m/s", minimum=0.005, maximum=2.0)
    finger_thickness_m: float = required("along the closing direction", unit="m", minimum=0.001, maximum=0.2)
    finger_width_m: float = required("across", unit="m", minimum=0.001, maximum=0.2)
    finger_length_m: float = required("free length, palm to tip", unit="m", minimum=0.005, maximum=0.5)
    palm_size_m: tuple[float, float] = required("along the closing direction, across", unit="m", minimum=0.005)
    pad_height_m: float = option(0.018, "of the flat that grips, from the tip", unit="m", minimum=0.001, maximum=0.5)


@dataclass(frozen=True)
class Limits:
    """What a controller allows."""

    workspace_low_m: Vector3 = required("lower corner of the box the tool stays in; z is above the table", unit="m")
    workspace_high_m: Vector3 = required("upper corner, likewise", unit="m")
    max_delta_m: float = required("motion per control period", unit="m", minimum=0.001, maximum=0.2)
    max_delta_rotation_rad: float = required("turn per control period", unit="rad", minimum=0.01, maximum=3.0)


@dataclass(frozen=True)
class CameraMount:
    """The wrist camera, in the tool frame."""

    position_m: Vector3 = required("of the camera", unit="m")
    look_at_m: Vector3 = required("what it looks at", unit="m")


@dataclass(frozen=True)
class RobotFile:
    """One arm with a parallel gripper."""

    name: str = required("what reports call it")
    urdf: str = required("description that PyBullet loads: a path, or pybullet_data://...")
    base_position_m: Vector3 = required("where the foot of the arm stands, base frame", unit="m")
    arm_joints: tuple[str, ...] = required("joints of the arm, from the foot to the hand")
    home_joint_positions_rad: tuple[float, ...] = required("posture that the solver starts from", unit="rad")
    home_position_m: Vector3 = required("of the tool at the start, pointing down, base frame", unit="m")
    position_gain: float = required("of the joint motors, per physics step", minimum=0.001, maximum=1.0)
    tool: ToolFrame = required("the tool frame")
    gripper: GripperFile = required("the jaws")
    limits: Limits = required("what a controller allows")
    wrist_camera: CameraMount = required("where the wrist camera sits")
