"""One arm and parallel gripper as data: everything the simulated cells and the planner know about a robot."""

import hashlib
import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.opening_map import OpeningMap
from simtoreal.envs.planner import GripperGeometry
from simtoreal.envs.robot_file import GripperFile, RobotFile
from simtoreal.schema import parse
from simtoreal.settings_files import find_settings, read_mapping, shipped_names

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Gripper:
    """The jaws: what moves them, how, and how large they are."""

    joints: tuple[str, ...]
    finger_links: tuple[str, ...]
    hand_links: tuple[str, ...]
    coupled: bool
    opening: OpeningMap
    effort_per_newton: tuple[float, ...]
    max_force_n: float
    max_speed_m_s: float
    geometry: GripperGeometry

    @property
    def max_opening_m(self) -> float:
        return self.geometry.max_opening_m


@dataclass(frozen=True)
class RobotSpec:
    """An arm, its gripper, its limits and where its wrist camera sits."""

    name: str
    urdf: Path
    base_position_m: tuple[float, ...]
    arm_joints: tuple[str, ...]
    home_joint_positions_rad: tuple[float, ...]
    home_position_m: tuple[float, ...]
    position_gain: float
    tool_link: str
    T_link_tcp: FloatArray  # (4, 4)
    gripper: Gripper
    workspace_low_m: tuple[float, ...]
    workspace_high_m: tuple[float, ...]
    max_delta_m: float
    max_delta_rotation_rad: float
    T_tcp_cam: FloatArray  # (4, 4), wrist camera, optical frame


def load_robot(name_or_path: str) -> RobotSpec:
    """Reads a shipped robot by name (`panda`, `kuka`) or a YAML file of your own.

    Raises:
        ConfigError: there is no such robot or file.
        ValueError: the file lacks a field, has one too many, or a value is out of range; names file and field.
    """
    file = find_settings("robot", name_or_path, "robot")
    values = read_mapping(file)
    try:
        return _spec(parse(values, RobotFile), file.parent if isinstance(file, Path) else Path())
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def own_files_digest(name_or_path: str) -> str:
    """Hash of the YAML and the URDF of a robot of your own; empty for one that ships, whose name stands for its files.

    Raises:
        ValueError: as `load_robot`.
    """
    if name_or_path in shipped_names("robot"):
        return ""
    urdf = load_robot(name_or_path).urdf.read_bytes()
    return hashlib.sha256(Path(name_or_path).expanduser().read_bytes() + urdf).hexdigest()[:16]


def resolve_asset_path(text: str, folder: Path) -> Path:
    """A path from a robot YAML: absolute, relative to that file, or `pybullet_data://...`.

    Raises:
        ValueError: there is no such file.
    """
    scheme = "pybullet_data://"
    if text.startswith(scheme):
        spec = importlib.util.find_spec("pybullet_data")
        if spec is None or spec.origin is None:
            raise ValueError("pybullet_data is not installed; pip install pybullet")
        path = Path(spec.origin).parent / text[len(scheme) :]
    else:
        path = folder / text
    if not path.is_file():
        raise ValueError(f"urdf: {path} does not exist")
    return path


def _spec(file: RobotFile, folder: Path) -> RobotSpec:
    tool, limits, mount = file.tool, file.limits, file.wrist_camera
    if len(file.arm_joints) != len(file.home_joint_positions_rad):
        raise ValueError(f"home_joint_positions_rad needs one value for each of {len(file.arm_joints)} arm_joints")
    if any(low >= high for low, high in zip(limits.workspace_low_m, limits.workspace_high_m, strict=True)):
        raise ValueError(
            f"limits.workspace_low_m {limits.workspace_low_m} must lie below workspace_high_m "
            f"{limits.workspace_high_m} on every axis"
        )
    corners = zip(limits.workspace_low_m, file.home_position_m, limits.workspace_high_m, strict=True)
    if any(not low <= home <= high for low, home, high in corners):
        raise ValueError(f"home_position_m {file.home_position_m} must lie inside the workspace of limits")
    return RobotSpec(
        name=file.name,
        urdf=resolve_asset_path(file.urdf, folder),
        base_position_m=file.base_position_m,
        arm_joints=file.arm_joints,
        home_joint_positions_rad=file.home_joint_positions_rad,
        home_position_m=file.home_position_m,
        position_gain=file.position_gain,
        tool_link=tool.link,
        T_link_tcp=frames.from_quat(tool.position_m, tool.quat_xyzw),
        gripper=_gripper(file.gripper),
        workspace_low_m=limits.workspace_low_m,
        workspace_high_m=limits.workspace_high_m,
        max_delta_m=limits.max_delta_m,
        max_delta_rotation_rad=limits.max_delta_rotation_rad,
        T_tcp_cam=frames.look_at(mount.position_m, mount.look_at_m, up=(0.0, 1.0, 0.0)),
    )


def _gripper(file: GripperFile) -> Gripper:
    rows = file.opening_map
    opening = OpeningMap(
        tuple(row.width_m for row in rows),
        tuple(row.joint_positions for row in rows),
        tuple(row.tip_offset_m for row in rows),
    )
    if not len(file.joints) == len(file.effort_per_newton) == opening.num_joints:
        raise ValueError(
            f"gripper: {len(file.joints)} joints need as many effort_per_newton, not {len(file.effort_per_newton)}, "
            f"and as many joint_positions in every row of opening_map, not {opening.num_joints}"
        )
    if len(file.finger_links) != 2:
        raise ValueError(f"gripper.finger_links must name the two links that touch an object, got {file.finger_links}")
    if file.coupled:
        opening.lines()
    sizes = {f.name: getattr(file, f.name) for f in fields(GripperGeometry) if f.name != "max_opening_m"}
    return Gripper(
        joints=file.joints,
        finger_links=file.finger_links,
        hand_links=file.hand_links,
        coupled=file.coupled,
        opening=opening,
        effort_per_newton=file.effort_per_newton,
        max_force_n=file.max_force_n,
        max_speed_m_s=file.max_speed_m_s,
        geometry=GripperGeometry(max_opening_m=rows[-1].width_m, **sizes),
    )
