"""Rows of a recording as frames of an episode, by what a mapping says about their columns."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.importing.row_images import read_images
from simtoreal.episodes.importing.row_mapping import (
    ActionColumns,
    ActionKind,
    CameraColumns,
    CombineFingers,
    FloatArray,
    GripperColumns,
    Rotation,
    Row,
    RowMapping,
    ToolColumns,
    camera_info,
    pose7,
    read_column,
    rotation_matrix,
)
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError, described, source_id
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame, EpisodeInfo


@dataclass(frozen=True)
class EpisodeFacts:
    """What a source knows about an episode beside its rows."""

    name: str
    fps: float | None = None
    task: str = ""
    success: bool | None = None
    note: str = ""
    domain: str = "real"
    num_frames: int | None = None


class RowReader:
    """Makes episodes of rows. What the user gave goes before the mapping, the mapping before the source.

    Raises:
        SourceError: nothing says how far the gripper opens, or what the numbers of a pose are.
    """

    def __init__(self, path: Path, mapping: RowMapping, config: ImportConfig) -> None:
        self._path, self._config = path, config
        self.mapping = mapping.with_gripper_range(config.gripper_open_m, config.gripper_closed_m)
        self._columns = self.mapping.columns
        self._cameras = {name: _with_scale(camera, config) for name, camera in mapping.cameras.items()}
        _check_complete(self.mapping, path)

    @property
    def assumptions(self) -> list[str]:
        """What was taken from the mapping or from convention."""
        columns, told = self._columns, []
        if self.mapping.origin:
            told.append(f"columns are read as {self.mapping.origin} says" + _sentence(columns.about))
        if columns.tool is not None:
            told.append(f"tool pose: rotation as {columns.tool.rotation_is}, {_tool_frame(columns.tool)}")
        if columns.gripper is not None:
            told.append(f"gripper opening: {range_text(columns.gripper)}")
        if columns.action is not None:
            told.append(f"action: {columns.action.kind} in the base frame, commanded; what was really sent is unknown")
        if not columns.time:
            told.append("the recording has no time of its own: frame i is taken to be at i / fps")
        return told

    def episode(self, rows: Iterator[Row], facts: EpisodeFacts) -> SourceEpisode:
        """Starts an episode; only the first row is read now.

        Raises:
            SourceError: there is no row, or nobody says how many frames there are a second.
        """
        first = next(rows, None)
        if first is None:
            raise SourceError("the episode has no frames", self._path, facts.name)
        stream = _Stream(self, facts, self._fps(facts))
        info = stream.info(first)
        return SourceEpisode(info, stream.frames(first, rows), stream.end, num_frames=facts.num_frames)

    def _fps(self, facts: EpisodeFacts) -> float:
        fps = self._config.fps or self._columns.fps or facts.fps
        if fps is None:
            raise SourceError(
                "nothing says how many frames there are a second: give fps=N, or fps in the mapping", self._path
            )
        return fps


class _Stream:
    """One episode on its way."""

    def __init__(self, reader: RowReader, facts: EpisodeFacts, fps: float) -> None:
        self._reader, self._facts, self._fps = reader, facts, fps
        self._config, self._columns = reader._config, reader._columns
        self._cameras, self._path = reader._cameras, reader._path
        self._start_s: float | None = None
        self._setpoint: FloatArray | None = None
        self._success = facts.success

    def info(self, first: Row) -> EpisodeInfo:
        try:
            images = read_images(first, self._cameras, 0.0)
            task = _text(first, self._columns.task) or self._facts.task
        except SourceError as error:
            raise error.placed(self._path, self._facts.name, 0) from error
        cameras = {}
        for name, image in images.items():
            shape = image.rgb.shape if image.rgb is not None else image.depth_m.shape  # type: ignore[union-attr]
            cameras[name] = camera_info(name, self._cameras[name], shape[1], shape[0])
        info = EpisodeInfo(
            self._fps,
            cameras,
            task=task,
            domain=self._facts.domain,
            robot=self._columns.robot,
            source=source_id(self._path, self._facts.name),
        )
        return described(info, self._config)

    def frames(self, first: Row, rows: Iterator[Row]) -> Iterator[EpisodeFrame]:
        index = 0
        try:
            for row in itertools.chain([first], rows):
                yield self._frame(index, row)
                index += 1
        except SourceError as error:
            raise error.placed(self._path, self._facts.name, index) from error

    def end(self) -> EpisodeEnd:
        given = self._config.success
        return EpisodeEnd(success=self._success if given is None else given, note=self._facts.note)

    def _frame(self, index: int, row: Row) -> EpisodeFrame:
        columns = self._columns
        t_s = self._time_s(index, row)
        T_base_tool = None if columns.tool is None else _tool_pose(row, columns.tool)
        T_tool_tcp = np.eye(4) if columns.tool is None else pose7(columns.tool.T_tool_tcp, "tool.T_tool_tcp")
        if columns.success:
            self._success = bool(_scalar(row, columns.success) > 0.5)
        return EpisodeFrame(
            t_s,
            read_images(row, self._cameras, t_s),
            T_base_tcp=None if T_base_tool is None else T_base_tool @ T_tool_tcp,
            gripper_width_m=None
            if columns.gripper is None
            else width_m(read_column(row, columns.gripper.value), columns.gripper),
            joint_positions_rad=(
                None if columns.joints is None else read_column(row, columns.joints.value) * columns.joints.unit_rad
            ),
            state_t_s=t_s,
            commanded=None if columns.action is None else self._action(row, T_base_tool, T_tool_tcp),
        )

    def _time_s(self, index: int, row: Row) -> float:
        if not self._columns.time:
            return index / self._fps
        t_s = _scalar(row, self._columns.time) * self._columns.time_unit_s
        if self._start_s is None:
            self._start_s = t_s
        return t_s - self._start_s

    def _action(self, row: Row, T_base_tool: FloatArray | None, T_tool_tcp: FloatArray) -> Action:
        """The step of the commanded tcp: where the action moves the tool from, and where to."""
        columns = self._columns.action
        assert columns is not None
        before = np.eye(4) if T_base_tool is None else T_base_tool
        if columns.kind is ActionKind.TARGET:
            before = before if self._setpoint is None else self._setpoint
            after = self._setpoint = _target(row, columns)
        else:
            after = _moved(row, columns, before, 1.0 / self._fps if columns.kind is ActionKind.VELOCITY else 1.0)
        T_from, T_to = before @ T_tool_tcp, after @ T_tool_tcp
        return Action(
            T_to[:3, 3] - T_from[:3, 3],
            frames.rotation_to_vector(T_to[:3, :3] @ T_from[:3, :3].T),
            float("nan")
            if columns.gripper is None
            else width_m(read_column(row, columns.gripper.value), columns.gripper),
        )


def _tool_pose(row: Row, tool: ToolColumns) -> FloatArray:
    assert tool.rotation_is is not None
    R = rotation_matrix(read_column(row, tool.rotation), tool.rotation_is)
    return frames.transform(_position(row, tool.position) * tool.position_unit_m, R)


def _target(row: Row, action: ActionColumns) -> FloatArray:
    assert action.rotation_is is not None
    R = rotation_matrix(read_column(row, action.rotation), action.rotation_is)
    return frames.transform(_position(row, action.position) * action.position_unit_m, R)


def _moved(row: Row, action: ActionColumns, T_base_tool: FloatArray, factor: float) -> FloatArray:
    """The tool pose after one control period of a motion in the base frame."""
    delta_m = _position(row, action.position) * action.position_unit_m * factor
    R_delta = np.eye(3)
    if action.rotation and action.rotation_is is not None:
        values = read_column(row, action.rotation)
        if action.rotation_is in (Rotation.RPY, Rotation.VECTOR):
            values = values * action.rotation_unit_rad * factor
        R_delta = rotation_matrix(values, action.rotation_is)
    return frames.transform(T_base_tool[:3, 3] + delta_m, R_delta @ T_base_tool[:3, :3])


def _position(row: Row, column: str) -> FloatArray:
    values = read_column(row, column)
    if values.size != 3:
        raise SourceError(f"{column} must be x, y, z, it has {values.size} numbers")
    if not np.isfinite(values).all():
        raise SourceError(f"the position {column} is not finite: {values}")
    return values


def width_m(readings: FloatArray, gripper: GripperColumns) -> float:
    """Opening in metres of what a gripper says, one number or one per finger.

    Raises:
        SourceError: there is no reading, or one is not finite.
    """
    if readings.size == 0 or not np.isfinite(readings).all():
        raise SourceError(f"the gripper reading {gripper.value} is {readings}")
    # a single reading keeps its sign: -1 may well mean open
    reading = float(readings[0]) if readings.size == 1 else _combined(readings, gripper.combine)
    if gripper.unit_m is not None:
        return reading * gripper.unit_m
    assert gripper.open_m is not None
    share = (reading - gripper.closed_at) / (gripper.open_at - gripper.closed_at)
    # encoders overshoot their range by a little; an opening below nothing is none
    return max(gripper.closed_m + share * (gripper.open_m - gripper.closed_m), 0.0)


def _combined(readings: FloatArray, combine: CombineFingers) -> float:
    if combine is CombineFingers.MEAN:
        return float(readings.mean())
    return float(np.abs(readings).sum() if combine is CombineFingers.SUM_ABS else readings.sum())


def missing_ranges(key: str, gripper: GripperColumns | None) -> Sequence[str]:
    """What must still be said about the range of a gripper, by name."""
    if gripper is None or gripper.unit_m is not None:
        return ()
    if gripper.open_m is None:
        return (f"{key}.open_m, how far the gripper opens in metres (or gripper_open_m=0.08), or {key}.unit_m",)
    if gripper.open_at == gripper.closed_at:
        return (f"{key}.open_at and {key}.closed_at, two different readings",)
    return ()


def range_text(gripper: GripperColumns) -> str:
    """How readings become an opening, in words."""
    if gripper.unit_m is not None:
        return f"reading x {gripper.unit_m:g} m"
    return (
        f"{gripper.closed_m:g} m where the reading is {gripper.closed_at:g}, "
        f"{gripper.open_m:g} m where it is {gripper.open_at:g}"
    )


def _scalar(row: Row, column: str) -> float:
    values = read_column(row, column)
    if values.size != 1:
        raise SourceError(f"{column} must be one number, it has {values.size}")
    return float(values[0])


def _text(row: Row, column: str) -> str:
    value = row.get(column, "") if column else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _with_scale(camera: CameraColumns, config: ImportConfig) -> CameraColumns:
    if config.depth_scale_m is None or camera.depth is None:
        return camera
    return dataclasses.replace(camera, depth_scale_m=config.depth_scale_m)


def _check_complete(mapping: RowMapping, path: Path) -> None:
    """Asks for what cannot be guessed, by name."""
    columns = mapping.columns
    missing = []
    for key, pose in (("tool", columns.tool), ("action", columns.action)):
        if pose is None:
            continue
        if not pose.position:
            missing.append(f"{key}.position (the column of x, y, z)")
        if pose.rotation and pose.rotation_is is None:
            missing.append(f"{key}.rotation_is ({', '.join(Rotation)})")
    if columns.tool is not None and not columns.tool.rotation:
        missing.append("tool.rotation (the column of the rotation)")
    if columns.action is not None and columns.action.kind is None:
        missing.append(f"action.kind ({', '.join(ActionKind)})")
    missing += missing_ranges("gripper", columns.gripper)
    missing += missing_ranges("action.gripper", columns.action.gripper if columns.action is not None else None)
    if missing:
        raise SourceError(f"{mapping.origin or 'the mapping'} does not say: {'; '.join(missing)}", path)


def _tool_frame(tool: ToolColumns) -> str:
    offset = [float(value) for value in tool.T_tool_tcp]
    if offset == [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]:
        return "its frame taken to be the tcp (+Z approach, +X closing)"
    return f"tcp at {offset} (x y z qx qy qz qw) in its frame"


def _sentence(text: str) -> str:
    return f": {text}" if text else ""
