"""Between the frames of an episode and the numbers of a row; what a frame does not have is NaN in the row."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.features import Schema
from simtoreal.episodes.records import EpisodeFrame, FloatArray, FrameImage

HAS_RGB, HAS_DEPTH = 1, 2  # bits of the column present.CAMERA
_RIGID_TOLERANCE = 1e-3
Row = dict[str, NDArray[Any] | float | int]


class RowChecker:
    """Refuses what cannot be true of the next frame of an episode: times that go backwards, poses that are none."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._t_s = -math.inf
        self._captured_s: dict[str, float] = dict.fromkeys(schema.cameras, -math.inf)

    def check(self, frame: EpisodeFrame) -> None:
        """Looks at everything of a frame but its pixels.

        Raises:
            DatasetError: the message says which value and which values would be right.
        """
        if not math.isfinite(frame.t_s) or frame.t_s <= self._t_s:
            raise DatasetError(f"t_s must grow from frame to frame, got {frame.t_s} after {self._t_s}")
        if frame.T_base_tcp is not None:
            check_pose("T_base_tcp", frame.T_base_tcp)
        _check_finite("gripper_width_m", frame.gripper_width_m)
        _check_finite("state_t_s", frame.state_t_s)
        if frame.joint_positions_rad is not None:
            self._check_joints(frame.joint_positions_rad)
        for name, action in (("commanded", frame.commanded), ("sent", frame.sent)):
            if action is not None and not np.isfinite([*action.delta_m, *action.delta_rotation_rad]).all():
                raise DatasetError(f"{name} must be finite, or None where it is not known, got {action}")
        for name, image in frame.images.items():
            self._check_image(name, image)
        self._t_s = frame.t_s

    def _check_joints(self, joints: FloatArray) -> None:
        if np.shape(joints) != (self._schema.num_joints,) or not np.isfinite(joints).all():
            raise DatasetError(
                f"joint_positions_rad must be {self._schema.num_joints} finite numbers as in the first frame of the "
                f"dataset, or None, got {joints}"
            )

    def _check_image(self, name: str, image: FrameImage) -> None:
        if name not in self._schema.cameras:
            raise DatasetError(f"camera {name!r} is not one of the dataset's: {', '.join(self._schema.cameras)}")
        before_s = self._captured_s[name]
        if not math.isfinite(image.t_s) or image.t_s < before_s:
            raise DatasetError(
                f"capture times of camera {name!r} must not go backwards, got {image.t_s} after {before_s}"
            )
        if image.T_base_cam is not None:
            check_pose(f"T_base_cam of camera {name!r}", image.T_base_cam)
        self._captured_s[name] = image.t_s


def check_pose(name: str, T: ArrayLike) -> None:
    """Raises `DatasetError` unless `T` (4, 4) is a rotation and a translation."""
    matrix = np.asarray(T, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise DatasetError(f"{name} must be a finite (4, 4) matrix, or None where it is not known, got {matrix}")
    R = matrix[:3, :3]
    is_rotation = np.abs(R.T @ R - np.eye(3)).max() < _RIGID_TOLERANCE and np.linalg.det(R) > 0
    if not is_rotation or np.abs(matrix[3] - (0.0, 0.0, 0.0, 1.0)).max() > _RIGID_TOLERANCE:
        raise DatasetError(f"{name} must be a rotation and a translation, got {matrix}")


def _check_finite(name: str, value: float | None) -> None:
    if value is not None and not math.isfinite(value):
        raise DatasetError(f"{name} must be finite, or None where it is not known, got {value}")


def to_row(frame: EpisodeFrame, schema: Schema) -> Row:
    """The numbers of a frame, without those that say where it lies in the dataset."""
    row: Row = {
        "observation.state": _state(frame),
        "action": _action_vector(frame.sent),
        "action.commanded": _action_vector(frame.commanded),
        "control_timestamp": frame.t_s,
        "capture_timestamp.state": _or_nan(frame.state_t_s),
    }
    if schema.num_joints:
        joints = frame.joint_positions_rad
        row["observation.joint_positions"] = (
            _nans(schema.num_joints) if joints is None else np.asarray(joints, dtype=np.float32)
        )
    for name in schema.cameras:
        row |= _image_values(name, frame.images.get(name))
    return row


def _image_values(name: str, image: FrameImage | None) -> Row:
    present = 0 if image is None else HAS_RGB * (image.rgb is not None) + HAS_DEPTH * (image.depth_m is not None)
    pose = None if image is None else image.T_base_cam
    return {
        f"capture_timestamp.{name}": math.nan if image is None else image.t_s,
        f"camera_extrinsics.{name}": _nans(16) if pose is None else np.asarray(pose, dtype=np.float32).reshape(16),
        f"present.{name}": present,
    }


def to_frame(row: Mapping[str, Any], images: Mapping[str, FrameImage]) -> EpisodeFrame:
    """The frame that `to_row` was given, with its images decoded."""
    state = np.asarray(row["observation.state"], dtype=np.float64)
    joints = np.atleast_1d(np.asarray(row.get("observation.joint_positions", math.nan), dtype=np.float64))
    return EpisodeFrame(
        t_s=float(row["control_timestamp"]),
        images=images,
        T_base_tcp=frames.from_quat(state[:3], state[3:7]) if np.isfinite(state[:7]).all() else None,
        gripper_width_m=_or_none(state[7]),
        joint_positions_rad=joints if np.isfinite(joints).all() else None,
        state_t_s=_or_none(row["capture_timestamp.state"]),
        commanded=_action(row["action.commanded"]),
        sent=_action(row["action"]),
    )


def camera_pose(row: Mapping[str, Any], name: str) -> FloatArray | None:
    """Where the camera was, (4, 4), or None where nobody said."""
    values = np.asarray(row[f"camera_extrinsics.{name}"], dtype=np.float64)
    return values.reshape(4, 4) if np.isfinite(values).all() else None


def _state(frame: EpisodeFrame) -> NDArray[np.float32]:
    state = _nans(8)
    if frame.T_base_tcp is not None:
        T = np.asarray(frame.T_base_tcp, dtype=np.float64)
        state[:3], state[3:7] = T[:3, 3], frames.rotation_to_quat(T[:3, :3])
    state[7] = _or_nan(frame.gripper_width_m)
    return state


def _action_vector(action: Action | None) -> NDArray[np.float32]:
    if action is None:
        return _nans(7)
    return np.array([*action.delta_m, *action.delta_rotation_rad, action.gripper_width_m], dtype=np.float32)


def _action(values: ArrayLike) -> Action | None:
    vector = np.asarray(values, dtype=np.float64)
    return Action(vector[:3], vector[3:6], float(vector[6])) if np.isfinite(vector[:6]).all() else None


def _nans(size: int) -> NDArray[np.float32]:
    return np.full(size, np.nan, dtype=np.float32)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
