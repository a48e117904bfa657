"""LeRobotDataset folders of strangers, v2.0, v2.1 and v3.0: parquet rows, videos or PNG images beside them.

Poses are recognised by the names of `observation.state`; what has no name that says what it is needs a mapping.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

from simtoreal.episodes.importing.lerobot_layout import EpisodePlace, find_episodes, read_info, rows_of
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
)
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError
from simtoreal.episodes.importing.video_frames import VideoFrames

STATE, SUCCESS = "observation.state", "next.success"
IMAGES = "observation.images."
_ROTATIONS = {Rotation.QUAT_XYZW: ("qx", "qy", "qz", "qw"), Rotation.RPY: ("roll", "pitch", "yaw")}


class LeRobotSource:
    """Episodes of a LeRobotDataset folder.

    Raises:
        SourceError: the folder is not one, mixes versions, or is damaged where all episodes need it.
    """

    def __init__(self, path: Path, config: ImportConfig) -> None:
        self.path = path
        self._info = read_info(path)
        self._told: list[str] = []
        mapping = parse_rows(*read_yaml(config.mapping)) if config.mapping else self._mapping_by_names(config)
        if not mapping.cameras:
            mapping = dataclasses.replace(mapping, cameras=self._cameras())
        self._reader = RowReader(path, mapping, config)

    @property
    def assumptions(self) -> Sequence[str]:
        return [f"LeRobotDataset {self._info.version}", *self._told, *self._reader.assumptions]

    def names(self) -> Sequence[str]:
        return list(self._places)

    def open(self, name: str) -> SourceEpisode:
        if name not in self._places:
            raise SourceError("there is no such episode", self.path, name)
        place = self._places[name]
        facts = EpisodeFacts(name, fps=self._info.fps, task="; ".join(place.tasks), num_frames=place.length)
        return self._reader.episode(self._rows(place), facts)

    @cached_property
    def _places(self) -> dict[str, EpisodePlace]:
        return {str(place.number): place for place in find_episodes(self.path, self._info)}

    def _cameras(self) -> dict[str, CameraColumns]:
        keys = self._info.keys_of("video") + self._info.keys_of("image")
        names = [re.sub(r"[^A-Za-z0-9_-]", "_", key.removeprefix(IMAGES)) for key in keys]
        if len({name.casefold() for name in names}) < len(names):
            raise SourceError(f"two cameras have one name: {names}. Name them apart in a mapping", self.path)
        return {name: CameraColumns(rgb=key) for name, key in zip(names, keys, strict=True)}

    def _mapping_by_names(self, config: ImportConfig) -> RowMapping:
        """What the names of the state say, and nothing beyond."""
        state = _names(self._info.features.get(STATE, {}))
        places = {name: index for index, name in reversed(list(enumerate(map(_plain_name, state))))}
        tool = _tool(places)
        joints = [index for index, name in enumerate(state) if re.fullmatch(r".*joint.*_rad", name)]
        gripper = self._gripper(state, places, config)
        used = {*joints, *([0] if tool is not None else [])}
        if state and not used:
            self._told.append(f"{STATE} is not imported, its names {state} do not say what they are: give mapping=FILE")
        if "action" in self._info.features:
            self._told.append("action is not imported, nothing says what its numbers are: give mapping=FILE")
        return RowMapping(
            Columns(
                robot=self._info.robot,
                success=SUCCESS if SUCCESS in self._info.features else "",
                time="timestamp",
                tool=tool,
                gripper=gripper,
                joints=JointColumns(_part(joints)) if joints else None,
            ),
            origin=f"the names of {STATE} say" if used else "",
        )

    def _gripper(self, state: Sequence[str], places: Mapping[str, int], config: ImportConfig) -> GripperColumns | None:
        index = next((places[name] for name in ("gripper_width", "gripper") if name in places), None)
        if index is None:
            return None
        if state[index].endswith("_m"):
            return GripperColumns(f"{STATE}[{index}]", unit_m=1.0)
        if config.gripper_open_m is not None:
            return GripperColumns(f"{STATE}[{index}]")  # closed at 0 and open at 1, as is said under assumptions
        self._told.append(f"{state[index]} is not imported, nothing says how wide open is: give gripper_open_m=0.08")
        return None

    def _rows(self, place: EpisodePlace) -> Iterator[dict[str, Any]]:
        tolerance_s = 0.5 / self._info.fps
        images = {camera.rgb for camera in self._reader.mapping.cameras.values()}
        videos = [key for key in place.videos if key in images]
        columns = [key for key in self._info.features if key not in place.videos]
        with ExitStack() as opened:
            frames = {
                key: opened.enter_context(VideoFrames(*place.videos[key], tolerance_s=tolerance_s)) for key in videos
            }
            for index, row in enumerate(rows_of(place, columns)):
                try:
                    for key in videos:
                        row[key] = frames[key].at(place.videos[key][1] + _time_s(row, index, self._info.fps))
                    row = {key: _image_bytes(value) for key, value in row.items()}
                except SourceError as error:
                    raise error.placed(None, str(place.number), index) from error
                yield row


def _names(feature: Mapping[str, Any]) -> list[str]:
    """Names of the numbers of a feature: a list, or lists under keys such as `motors`."""
    names = feature.get("names") or []
    if isinstance(names, Mapping):
        names = [name for group in names.values() for name in (group if isinstance(group, list) else [])]
    return [str(name) for name in names] if isinstance(names, list) else []


def _plain_name(name: str) -> str:
    """`ee.x_m`, `tcp/x` and `X` are all `x`."""
    return re.sub(r"(_m|_rad|\.pos)$", "", name.lower().strip()).replace("/", ".").rpartition(".")[2]


def _tool(places: Mapping[str, int]) -> ToolColumns | None:
    if not all(name in places for name in "xyz"):
        return None
    for kind, names in _ROTATIONS.items():
        if all(name in places for name in names):
            return ToolColumns(_part([places[name] for name in "xyz"]), _part([places[name] for name in names]), kind)
    return None


def _part(indices: Sequence[int]) -> str:
    return f"{STATE}[{','.join(str(index) for index in indices)}]"


def _time_s(row: Mapping[str, Any], index: int, fps: float) -> float:
    """Videos are written at a constant rate: the place of a picture follows from the number of its frame."""
    frame = row.get("frame_index", index)
    return (frame if isinstance(frame, int) and frame >= 0 else index) / fps


def _image_bytes(value: Any) -> Any:
    """Images in parquet are structures of bytes and a path, of which only the bytes are looked at."""
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        if value["bytes"] is None:
            raise SourceError(f"the image lies outside the data file, at {value['path']!r}: it is not followed")
        return value["bytes"]
    return value
