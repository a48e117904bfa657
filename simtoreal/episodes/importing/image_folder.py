"""A plain folder of images with `frames.csv`: one line per frame, columns by the names in its first line.

Without a mapping the names say what the columns are: `image` or `rgb`, `depth`, `t_s`, `episode`, `x y z` with
`qx qy qz qw` or `roll pitch yaw`, `gripper_width_m`, joints as `joint_1_rad ...`, `success`, `task`; other images as
`CAMERA.rgb` and `CAMERA.depth`. A second file `poses.csv` may hold `t_s` and the arm's columns at a rate of their own:
they are then interpolated to the capture time of each image. A third, `episodes.csv`, may hold `episode`,
`success` and `failure`. Mappings find columns `action_x y z` and `action_rx ry rz` as `action.position` and
`action.rotation`.
"""

import csv
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simtoreal import frames
from simtoreal.episodes.importing.row_frames import EpisodeFacts, RowReader
from simtoreal.episodes.importing.row_mapping import (
    CameraColumns,
    Columns,
    GripperColumns,
    JointColumns,
    Rotation,
    RowMapping,
    ToolColumns,
    parse_rows,
    read_yaml,
    rotation_matrix,
)
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError
from simtoreal.episodes.timeline import Track, between_arrays, pose_track

FRAMES, POSES, EPISODES = "frames.csv", "poses.csv", "episodes.csv"
ACTION = ("action_x", "action_y", "action_z"), ("action_rx", "action_ry", "action_rz")
POSITION, QUATERNION, ANGLES = ("x", "y", "z"), ("qx", "qy", "qz", "qw"), ("roll", "pitch", "yaw")
WIDTH, TIME, EPISODE = "gripper_width_m", "t_s", "episode"
_JOINT = re.compile(r"joint_\w+_rad")
_TEXT = {"task", EPISODE}


class ImageFolderSource:
    """Episodes of a folder with `frames.csv`; lines with the same `episode` belong together.

    Raises:
        SourceError: there is no `frames.csv`, or no image is named in it.
    """

    def __init__(self, path: Path, config: ImportConfig) -> None:
        self.path, self._config = path, config
        self._table = path / FRAMES
        self._header = _header(self._table)
        self._arm = _Arm(path / POSES, config.max_gap_s) if (path / POSES).is_file() else None
        mapping = parse_rows(*read_yaml(config.mapping)) if config.mapping else self._mapping_by_names()
        self._reader = RowReader(path, mapping, config)
        self._images = {column for camera in mapping.cameras.values() for column in (camera.rgb, camera.depth)}

    @property
    def assumptions(self) -> Sequence[str]:
        matched = [f"{POSES} is interpolated to {TIME} of {FRAMES}, both on one clock"] if self._arm is not None else []
        return [*matched, *self._reader.assumptions]

    def names(self) -> Sequence[str]:
        return list(self._lengths)

    def open(self, name: str) -> SourceEpisode:
        if name not in self._lengths:
            raise SourceError("there is no such episode", self._table, name)
        success, note = self._outcomes.get(name, (None, ""))
        span = self._lengths[name]
        facts = EpisodeFacts(name, fps=span.fps, success=success, note=note, num_frames=span.num)
        return self._reader.episode(self._rows(name), facts)

    @cached_property
    def _outcomes(self) -> dict[str, tuple[bool | None, str]]:
        """Success and kind of failure by episode, where there is an `episodes.csv`."""
        path = self.path / EPISODES
        if not path.is_file():
            return {}
        told = {"true": True, "1": True, "false": False, "0": False}
        return {
            row.get(EPISODE, ""): (told.get(row.get("success", "").lower()), row.get("failure", ""))
            for _, row in _lines(path)
        }

    @cached_property
    def _lengths(self) -> "dict[str, _Span]":
        """Episodes in the order of their first line, with their spans of time."""
        spans: dict[str, _Span] = {}
        for number, row in _lines(self._table):
            name = row.get(EPISODE) or "0"
            t_s = _number(row[TIME], TIME, self._table, number) if row.get(TIME) else None
            spans[name] = spans.get(name, _Span(0, None, None)).with_line(t_s)
        return spans

    def _mapping_by_names(self) -> RowMapping:
        header = self._header
        arm = (*header, *(self._arm.names if self._arm is not None else ()))
        cameras = _cameras(header)
        if not cameras:
            raise SourceError(f"no column names an image: call one image or CAMERA.rgb. Columns: {header}", self._table)
        rotation = next(
            (
                (kind, names)
                for kind, names in ((Rotation.QUAT_XYZW, QUATERNION), (Rotation.RPY, ANGLES))
                if set(names) <= set(arm)
            ),
            None,
        )
        tool = None
        if set(POSITION) <= set(arm):
            if rotation is None:
                raise SourceError(f"there are x, y, z but neither {QUATERNION} nor {ANGLES}", self._table)
            interpolated = self._arm is not None and self._arm.has_pose
            tool = ToolColumns("tool.position", "tool.rotation", Rotation.QUAT_XYZW if interpolated else rotation[0])
        return RowMapping(
            Columns(
                task="task" if "task" in header else "",
                success="success" if "success" in header else "",
                time=TIME if TIME in header else "",
                tool=tool,
                gripper=GripperColumns(WIDTH, unit_m=1.0) if WIDTH in arm else None,
                joints=JointColumns("joints") if any(_JOINT.fullmatch(name) for name in arm) else None,
            ),
            cameras,
            f"the names in {FRAMES} say",
        )

    def _rows(self, name: str) -> Iterator[Mapping[str, Any]]:
        index = 0
        for number, row in _lines(self._table):
            if (row.get(EPISODE) or "0") != name:
                continue
            try:
                values: dict[str, Any] = {key: self._value(key, text, number) for key, text in row.items() if text}
                values |= _grouped(values)
                if self._arm is not None:
                    values |= self._arm.at(values.get(TIME))
            except SourceError as error:
                raise error.placed(self._table, name, index) from error
            yield values
            index += 1

    def _value(self, key: str, text: str, number: int) -> Any:
        if key in self._images:
            path = (self.path / text).resolve()
            if not path.is_relative_to(self.path.resolve()):
                raise SourceError(f"line {number}: the image {text!r} lies outside the folder")
            return path
        if key in _TEXT:
            return text
        if key == "success" and text.lower() in ("true", "false"):
            return float(text.lower() == "true")
        return _number(text, key, self._table, number)


class _Span(NamedTuple):
    """Lines of an episode and the times of the first and the last."""

    num: int
    first_s: float | None
    last_s: float | None

    def with_line(self, t_s: float | None) -> "_Span":
        return _Span(self.num + 1, t_s if self.first_s is None else self.first_s, t_s)

    @property
    def fps(self) -> float | None:
        """The mean rate, where there are times."""
        if self.num < 2 or self.first_s is None or self.last_s is None or self.last_s <= self.first_s:
            return None
        return round((self.num - 1) / (self.last_s - self.first_s), 2)


class _Arm:
    """What `poses.csv` says of the arm, at any time."""

    def __init__(self, path: Path, max_gap_s: float) -> None:
        self._path, self.names = path, _header(path)
        if TIME not in self.names:
            raise SourceError(f"there is no column {TIME}: {self.names}", path)
        self._kind = Rotation.QUAT_XYZW if set(QUATERNION) <= set(self.names) else Rotation.RPY
        self._rotation = QUATERNION if self._kind is Rotation.QUAT_XYZW else ANGLES
        self.has_pose = {*POSITION, *self._rotation} <= set(self.names)
        self._others = [name for name in self.names if name == WIDTH or _JOINT.fullmatch(name)]
        self._pose, self._values = pose_track(max_gap_s), Track[Any](between_arrays, max_gap_s)
        for number, row in _lines(path):
            try:
                self._add({name: _number(row.get(name) or "", name, path, number) for name in self._used()})
            except (SourceError, ValueError) as error:
                raise SourceError(f"line {number}: {error}", path) from error

    def at(self, t_s: float | None) -> dict[str, Any]:
        """Columns at a time.

        Raises:
            SourceError: there is none, or a gap.
        """
        if t_s is None:
            raise SourceError(f"{POSES} needs a time {TIME} in every line of {FRAMES}")
        T, values = self._pose.at(t_s), self._values.at(t_s)
        if (self.has_pose and T is None) or values is None:
            raise SourceError(f"{POSES} has nothing within {self._values.max_gap_s:g} s on both sides of {t_s:.4f} s")
        found: dict[str, Any] = dict(zip(self._others, values, strict=True))
        if T is not None:
            found |= {"tool.position": T[:3, 3], "tool.rotation": frames.rotation_to_quat(T[:3, :3])}
        return found | _grouped(found)

    def _used(self) -> list[str]:
        return [TIME, *((*POSITION, *self._rotation) if self.has_pose else ()), *self._others]

    def _add(self, row: Mapping[str, float]) -> None:
        if self.has_pose:
            R = rotation_matrix(np.array([row[name] for name in self._rotation]), self._kind)
            self._pose.add(row[TIME], frames.transform([row[name] for name in POSITION], R))
        self._values.add(row[TIME], np.array([row[name] for name in self._others]))


def _grouped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that belong together as one array."""
    found: dict[str, Any] = {}
    if set(POSITION) <= set(values):
        found["tool.position"] = np.array([values[name] for name in POSITION])
    for names in (QUATERNION, ANGLES):
        if set(names) <= set(values):
            found.setdefault("tool.rotation", np.array([values[name] for name in names]))
    for key, names in (("action.position", ACTION[0]), ("action.rotation", ACTION[1])):
        if set(names) <= set(values):
            found[key] = np.array([values[name] for name in names])
    joints = [value for name, value in values.items() if _JOINT.fullmatch(name)]
    return found | ({"joints": np.array(joints)} if joints else {})


def _cameras(header: Sequence[str]) -> dict[str, CameraColumns]:
    """Cameras by the names of columns: `image`, `rgb` and `depth` are one that is called camera."""
    found: dict[str, CameraColumns] = {}
    for column in header:
        name, _, kind = column.rpartition(".")
        kind = "rgb" if column == "image" else kind
        if kind not in ("rgb", "depth"):
            continue
        camera = found.get(name or "camera", CameraColumns())
        if getattr(camera, kind) is not None:
            raise SourceError(f"camera {name or 'camera'} has two columns of {kind}: {getattr(camera, kind)}, {column}")
        changed = (
            dataclasses.replace(camera, rgb=column) if kind == "rgb" else dataclasses.replace(camera, depth=column)
        )
        found[name or "camera"] = changed
    return found


def _header(path: Path) -> list[str]:
    if not path.is_file():
        raise SourceError(f"there is no {path.name}", path.parent)
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        try:
            header = [name.strip() for name in next(csv.reader(stream), [])]
        except csv.Error as error:
            raise SourceError(f"not a CSV file ({error})", path) from error
    if len(set(header)) < len(header):
        raise SourceError(f"two columns have one name: {header}", path)
    return header


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines of a table with their numbers in the file."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            for row in reader:
                if None in row or None in row.values():
                    raise SourceError(f"line {reader.line_num} has another number of columns than the first one", path)
                yield reader.line_num, {key.strip(): value.strip() for key, value in row.items()}
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"not a CSV file ({error})", path) from error


def _number(text: str, column: str, path: Path, number: int) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SourceError(f"line {number}: {column}={text!r} is not a number", path) from error
