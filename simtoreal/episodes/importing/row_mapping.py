"""What the columns of a recording mean: data, read from a YAML file and checked against a schema.

A column is named as `observation/state`, part of one as `observation/state[0:3]`, `state[6]` or `state[0,2,4]`.
Recordings of rows (LeRobotDataset, robomimic, RLDS, CSV) share this mapping; `docs/importing.md` explains its keys.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.records import CameraInfo, Mount
from simtoreal.schema import ConfigError, closest, option, parse
from simtoreal.settings_files import find_settings, read_mapping, shipped_names

FloatArray = NDArray[np.float64]
Row = Mapping[str, Any]
_SHIPPED = "importing"  # folder of `simtoreal.configs`
_COLUMN = re.compile(r"(?P<key>[^\[\]]+?)(?:\[(?P<part>[0-9:, ]+)\])?")
IDENTITY_POSE = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


class Rotation(StrEnum):
    """How three to nine numbers spell a rotation."""

    QUAT_XYZW = "quat_xyzw"
    QUAT_WXYZ = "quat_wxyz"
    RPY = "rpy"  # roll, pitch, yaw about fixed axes: Rz(yaw) Ry(pitch) Rx(roll), as URDF has it
    VECTOR = "rotation_vector"
    MATRIX = "matrix"  # row by row


class ActionKind(StrEnum):
    """What the numbers of an action are."""

    DELTA = "delta"  # motion of the commanded pose in one control period
    TARGET = "target"  # the commanded pose itself
    VELOCITY = "velocity"  # per second


class CombineFingers(StrEnum):
    """How several finger positions make one opening."""

    SUM_ABS = "sum_abs"
    SUM = "sum"
    MEAN = "mean"


class CameraPlace(StrEnum):
    """Where a camera is mounted; the words of `simtoreal.episodes.records.Mount`."""

    WRIST = "wrist"
    EXTERNAL = "external"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class CameraColumns:
    """One camera of a recording."""

    rgb: str | None = option(None, "column of the colour image")
    depth: str | None = option(None, "column of the depth image")
    depth_scale_m: float | None = option(None, "metres of one step of an integer depth image", minimum=1e-9, maximum=1)
    mount: CameraPlace = option(CameraPlace.UNKNOWN, "where it sits")
    K: tuple[float, ...] | None = option(None, "intrinsics fx, fy, cx, cy", unit="px")
    distortion: tuple[float, float, float, float, float] | None = option(None, "OpenCV k1, k2, p1, p2, k3")
    T_mount_cam: tuple[float, ...] | None = option(None, "x y z qx qy qz qw of the optical frame in tool or base")
    time: str | None = option(None, "column of its capture time")


@dataclass(frozen=True)
class ToolColumns:
    """The measured tool pose."""

    position: str = option("", "column of x, y, z")
    rotation: str = option("", "column of the rotation")
    rotation_is: Rotation | None = option(None, "what the numbers of the rotation are")
    position_unit_m: float = option(1.0, "metres of one unit", minimum=1e-9, maximum=1e3)
    T_tool_tcp: tuple[float, ...] = option(
        IDENTITY_POSE, "x y z qx qy qz qw of the tcp (+Z approach, +X closing) in the tool frame of the recording"
    )


@dataclass(frozen=True)
class GripperColumns:
    """The opening of the gripper: either in metres times a unit, or between two known readings."""

    value: str = option("", "column of the reading")
    combine: CombineFingers = option(CombineFingers.SUM_ABS, "how several readings make one")
    unit_m: float | None = option(None, "metres of one unit of the reading", minimum=1e-9, maximum=1e3)
    closed_at: float = option(0.0, "reading when closed")
    open_at: float = option(1.0, "reading when open")
    closed_m: float = option(0.0, "opening when closed", unit="m", minimum=0.0, maximum=1.0)
    open_m: float | None = option(None, "opening when open", unit="m", minimum=0.0, maximum=1.0)


Gripper = TypeVar("Gripper", bound=GripperColumns)


@dataclass(frozen=True)
class ActionColumns:
    """What the robot was told."""

    kind: ActionKind | None = option(None, "what the numbers are")
    position: str = option("", "column of x, y, z")
    rotation: str = option("", "column of the rotation")
    rotation_is: Rotation | None = option(None, "what the numbers of the rotation are")
    position_unit_m: float = option(1.0, "metres of one unit", minimum=1e-9, maximum=1e3)
    rotation_unit_rad: float = option(1.0, "radians of one unit of rpy or rotation_vector", minimum=1e-9, maximum=1e3)
    gripper: GripperColumns | None = option(None, "the commanded opening")


@dataclass(frozen=True)
class JointColumns:
    """Joint positions."""

    value: str = option("", "column of the positions")
    unit_rad: float = option(1.0, "radians of one unit; 0.0174533 for degrees", minimum=1e-9, maximum=1e3)


@dataclass(frozen=True)
class Columns:
    """All of the above but the cameras, which have names of their own."""

    about: str = option("", "what this mapping is for, one sentence that is told to the user")
    fps: float | None = option(None, "frames per second", unit="Hz", minimum=1e-3, maximum=1e4)
    robot: str = option("", "name of the robot")
    task: str = option("", "column of the task in words")
    success: str = option("", "column that is true where the episode succeeded; the last row counts")
    time: str = option("", "column of the time of a row")
    time_unit_s: float = option(1.0, "seconds of one unit of time", minimum=1e-12, maximum=1e3)
    tool: ToolColumns | None = option(None, "measured tool pose")
    gripper: GripperColumns | None = option(None, "measured opening")
    joints: JointColumns | None = option(None, "measured joint positions")
    action: ActionColumns | None = option(None, "what the robot was told")


@dataclass(frozen=True)
class RowMapping:
    """A mapping with its cameras, and where it came from."""

    columns: Columns
    cameras: Mapping[str, CameraColumns] = field(default_factory=dict)
    origin: str = ""

    def with_gripper_range(self, open_m: float | None, closed_m: float | None) -> "RowMapping":
        """Puts a given range in the place of the mapping's, for what is measured and for what is commanded."""
        columns = dataclasses.replace(self.columns, gripper=with_range(self.columns.gripper, open_m, closed_m))
        if columns.action is not None:
            gripper = with_range(columns.action.gripper, open_m, closed_m)
            columns = dataclasses.replace(columns, action=dataclasses.replace(columns.action, gripper=gripper))
        return dataclasses.replace(self, columns=columns)


def with_range(gripper: Gripper | None, open_m: float | None, closed_m: float | None) -> Gripper | None:
    """A gripper with a range that was given, instead of its own."""
    if gripper is None or (open_m is None and closed_m is None):
        return gripper
    return dataclasses.replace(
        gripper,
        unit_m=None,
        open_m=gripper.open_m if open_m is None else open_m,
        closed_m=gripper.closed_m if closed_m is None else closed_m,
    )


def read_yaml(name: str) -> tuple[dict[str, Any], str]:
    """Content of a mapping, and where it lies: a YAML file, or the name of a shipped one.

    Raises:
        ConfigError: there is no such mapping, or it is not YAML with keys.
    """
    path = find_settings("mapping", name, _SHIPPED)
    return read_mapping(path), f"the shipped mapping {name}" if name in shipped_mappings() else str(path)


def shipped_mappings() -> list[str]:
    """Names of the mappings that come along."""
    return shipped_names(_SHIPPED)


def parse_rows(values: Mapping[str, Any], origin: str) -> RowMapping:
    """Checks a mapping of rows.

    Raises:
        ConfigError: an unknown key, a value of another type or out of range, or a camera without any image.
    """
    values = dict(values)
    cameras = values.pop("cameras", None) or {}
    if not isinstance(cameras, Mapping):
        raise ConfigError(f"cameras={cameras!r} of {origin} must hold one key per camera")
    parsed = {str(name): parse(camera, CameraColumns, prefix=f"cameras.{name}.") for name, camera in cameras.items()}
    for name, camera in parsed.items():
        if camera.rgb is None and camera.depth is None:
            raise ConfigError(f"cameras.{name} of {origin} names neither rgb nor depth")
    return RowMapping(parse(values, Columns), parsed, origin)


def camera_info(name: str, camera: CameraColumns, width_px: int, height_px: int) -> CameraInfo:
    """A camera as the records have it.

    Raises:
        ConfigError: its intrinsics or its pose have the wrong number of values.
    """
    K = None
    if camera.K is not None:
        if len(camera.K) != 4:
            raise ConfigError(f"cameras.{name}.K must be fx, fy, cx, cy, it has {len(camera.K)} values")
        fx, fy, cx, cy = camera.K
        K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    mount: Mount = camera.mount.value
    return CameraInfo(
        width_px,
        height_px,
        has_rgb=camera.rgb is not None,
        has_depth=camera.depth is not None,
        mount=mount,
        K=K,
        distortion=None if camera.distortion is None else np.array(camera.distortion),
        T_mount_cam=None if camera.T_mount_cam is None else pose7(camera.T_mount_cam, f"cameras.{name}.T_mount_cam"),
    )


def pose7(values: tuple[float, ...], key: str) -> FloatArray:
    """A transform (4, 4) from x y z qx qy qz qw."""
    if len(values) != 7:
        raise ConfigError(f"{key} must be x y z qx qy qz qw, it has {len(values)} values")
    try:
        return frames.from_quat(values[:3], values[3:])
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def rotation_matrix(values: FloatArray, kind: Rotation) -> FloatArray:
    """A rotation (3, 3) from its numbers.

    Raises:
        SourceError: the wrong number of values, a quaternion that is not of length 1, a matrix that is no rotation.
    """
    size = {Rotation.QUAT_XYZW: 4, Rotation.QUAT_WXYZ: 4, Rotation.MATRIX: 9}.get(kind, 3)
    if values.size != size:
        raise SourceError(f"a rotation as {kind} has {size} numbers, this one has {values.size}")
    if not np.isfinite(values).all():
        raise SourceError(f"the rotation is not finite: {values}")
    if kind in (Rotation.QUAT_XYZW, Rotation.QUAT_WXYZ):
        if abs(float(np.linalg.norm(values)) - 1.0) > 0.02:
            raise SourceError(f"the quaternion {values} is not of length 1: is rotation_is right?")
        return frames.quat_to_rotation(values if kind is Rotation.QUAT_XYZW else np.roll(values, -1))
    if kind is Rotation.MATRIX:
        R = values.reshape(3, 3)
        if np.abs(R @ R.T - np.eye(3)).max() > 0.02 or np.linalg.det(R) < 0:
            raise SourceError(f"the matrix {values} is not a rotation")
        return R
    if kind is Rotation.VECTOR:
        return frames.rotation_from_vector(values)
    return frames.rotation_from_rpy(values)


def read_column(row: Row, column: str) -> FloatArray:
    """Numbers of a column of a row, as a flat array.

    Raises:
        SourceError: there is no such column, or it has no such part.
    """
    match = _COLUMN.fullmatch(column.strip())
    if match is None:
        raise ConfigError(f"{column!r} does not name a column: write key, key[i], key[a:b] or key[i,j,k]")
    if match["key"] not in row:
        raise SourceError(f"there is no column {match['key']!r}{closest(match['key'], list(row))} Columns: {list(row)}")
    try:
        values = np.asarray(row[match["key"]], dtype=np.float64).reshape(-1)
        return values if match["part"] is None else values[_part(match["part"])]
    except (IndexError, TypeError, ValueError) as error:
        raise SourceError(f"column {column!r} cannot be read ({error})") from error


def _part(text: str) -> Any:
    if ":" not in text:
        return [int(index) for index in text.split(",")]
    start, _, stop = text.partition(":")
    return slice(int(start) if start.strip() else None, int(stop) if stop.strip() else None)
