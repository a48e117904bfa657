"""One arm and parallel gripper as data: everything the simulated cells and the planner know about a robot."""

import importlib.util
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.planner import GripperGeometry

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class OpeningMap:
    """How the opening between the pads maps to the finger joints; linear between rows."""

    widths_m: tuple[float, ...]
    joint_positions: tuple[tuple[float, ...], ...]
    tip_offsets_m: tuple[float, ...]  # along the approach, relative to the tool frame

    def joints_at(self, width_m: float) -> FloatArray:
        """Finger joint positions (J,) at an opening, clipped to the ends of the map."""
        table = np.asarray(self.joint_positions)
        return np.array([np.interp(width_m, self.widths_m, table[:, j]) for j in range(table.shape[1])])

    def width_at(self, first_joint_positions: FloatArray) -> float:
        """Opening from measured finger joints (J,): the mean over the joints that move with it."""
        table = np.asarray(self.joint_positions)
        widths = []
        for j in range(table.shape[1]):
            column = table[:, j]
            if np.ptp(column) > 1e-9:
                order = np.argsort(column)
                widths.append(np.interp(first_joint_positions[j], column[order], np.asarray(self.widths_m)[order]))
        return float(np.mean(widths))

    def tip_offset_at(self, width_m: float) -> float:
        return float(np.interp(width_m, self.widths_m, self.tip_offsets_m))


@dataclass(frozen=True)
class Gripper:
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
        ValueError: the file lacks a field, has one too many, or a value is out of range; names file and field.
        FileNotFoundError: there is no such robot or file.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise FileNotFoundError(f"robot file {path} does not exist")
        text, origin = path.read_text(), str(path)
    else:
        shipped = resources.files("simtoreal.configs").joinpath("robot", f"{name_or_path}.yaml")
        if not shipped.is_file():
            known = sorted(p.name[:-5] for p in resources.files("simtoreal.configs").joinpath("robot").iterdir())
            raise FileNotFoundError(f"no robot named {name_or_path!r}; shipped: {known}; or give the path of a .yaml")
        text, origin = shipped.read_text(), f"robot/{name_or_path}.yaml"
    try:
        return _parse(yaml.safe_load(text), path.parent)
    except KeyError as error:
        raise ValueError(f"{origin}: field {error} is missing; compare with the shipped robot/panda.yaml") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: {error}") from error


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


def _parse(data: dict[str, Any], folder: Path) -> RobotSpec:
    tool, limits, mount = data["tool"], data["limits"], data["wrist_camera"]
    extra = set(data) - _TOP_LEVEL
    if extra:
        raise ValueError(f"unknown fields {sorted(extra)}; known: {sorted(_TOP_LEVEL)}")
    spec = RobotSpec(
        name=str(data["name"]),
        urdf=resolve_asset_path(data["urdf"], folder),
        base_position_m=_numbers(data["base_position_m"]),
        arm_joints=tuple(data["arm_joints"]),
        home_joint_positions_rad=_numbers(data["home_joint_positions_rad"]),
        home_position_m=_numbers(data["home_position_m"]),
        position_gain=float(data["position_gain"]),
        tool_link=tool["link"],
        T_link_tcp=frames.from_quat(tool["position_m"], tool["quat_xyzw"]),
        gripper=_parse_gripper(data["gripper"]),
        workspace_low_m=_numbers(limits["workspace_low_m"]),
        workspace_high_m=_numbers(limits["workspace_high_m"]),
        max_delta_m=float(limits["max_delta_m"]),
        max_delta_rotation_rad=float(limits["max_delta_rotation_rad"]),
        T_tcp_cam=frames.look_at(mount["position_m"], mount["look_at_m"], up=(0.0, 1.0, 0.0)),
    )
    _check(spec)
    return spec


def _parse_gripper(data: dict[str, Any]) -> Gripper:
    rows = data["opening_map"]
    geometry = GripperGeometry(
        max_opening_m=float(rows[-1]["width_m"]),
        **{f.name: data[f.name] for f in fields(GripperGeometry) if f.name in data and f.name != "palm_size_m"},
        palm_size_m=tuple(data["palm_size_m"]),
    )
    return Gripper(
        joints=tuple(data["joints"]),
        finger_links=tuple(data["finger_links"]),
        hand_links=tuple(data["hand_links"]),
        coupled=bool(data["coupled"]),
        opening=OpeningMap(
            tuple(float(row["width_m"]) for row in rows),
            tuple(_numbers(row["joint_positions"]) for row in rows),
            tuple(float(row["tip_offset_m"]) for row in rows),
        ),
        effort_per_newton=_numbers(data["effort_per_newton"]),
        max_force_n=float(data["max_force_n"]),
        max_speed_m_s=float(data["max_speed_m_s"]),
        geometry=geometry,
    )


def _numbers(values: list[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _check(spec: RobotSpec) -> None:
    if len(spec.arm_joints) != len(spec.home_joint_positions_rad):
        raise ValueError(f"home_joint_positions_rad needs one value for each of {len(spec.arm_joints)} arm_joints")
    widths = spec.gripper.opening.widths_m
    if len(widths) < 2 or any(b <= a for a, b in zip(widths, widths[1:], strict=False)):
        raise ValueError(f"gripper.opening_map needs two or more rows of growing width_m, got {widths}")
    for row in spec.gripper.opening.joint_positions:
        if len(row) != len(spec.gripper.joints):
            raise ValueError(f"gripper.opening_map: joint_positions {row} need one value per finger joint")
    if any(low >= high for low, high in zip(spec.workspace_low_m, spec.workspace_high_m, strict=True)):
        raise ValueError("limits: workspace_low_m must lie below workspace_high_m on every axis")
    if min(spec.max_delta_m, spec.max_delta_rotation_rad, spec.position_gain) <= 0:
        raise ValueError("max_delta_m, max_delta_rotation_rad and position_gain must be positive")


_TOP_LEVEL = {
    "name",
    "urdf",
    "base_position_m",
    "arm_joints",
    "home_joint_positions_rad",
    "home_position_m",
    "position_gain",
    "tool",
    "gripper",
    "limits",
    "wrist_camera",
}
