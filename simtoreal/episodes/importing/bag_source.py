"""MCAP, rosbag2 and ROS 1 bags as episodes: what the topics are says a mapping, when things happened say the stamps."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal.episodes.importing.bag_frames import BagFrames
from simtoreal.episodes.importing.bag_scan import BagScan, scan
from simtoreal.episodes.importing.bag_streams import BagPlan
from simtoreal.episodes.importing.bags import Bag, open_bag
from simtoreal.episodes.importing.row_frames import range_text
from simtoreal.episodes.importing.row_mapping import pose7, read_yaml
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError, described, source_id
from simtoreal.episodes.importing.topic_mapping import (
    CameraTopics,
    TopicMapping,
    check_complete,
    parse_topics,
)
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeInfo, FloatArray

_TOLD_GAPS = 3


class BagSource:
    """Episodes of one recording of topics, or of a folder of them.

    Raises:
        SourceError: there is no mapping, or no recording.
    """

    def __init__(self, path: Path, config: ImportConfig) -> None:
        self.path, self._config = path, config
        self._paths = find_bags(path)
        if config.mapping is None:
            bag = open_bag(self._paths[0])
            listed = ", ".join(f"{topic} ({kind})" for topic, kind in bag.topics.items())
            raise SourceError(
                f"nothing says which topic is what: give mapping=FILE.yaml (docs/importing.md). Topics: {listed}", path
            )
        self._mapping = self._read_mapping(config)
        self._scans: dict[Path, BagScan] = {}
        self._last_opened: tuple[Path, Bag] | None = None

    @property
    def assumptions(self) -> Sequence[str]:
        mapping, told = self._mapping, []
        told.append(f"topics are read as {mapping.origin} says")
        if mapping.topics.gripper is not None:
            told.append(f"gripper opening: {range_text(mapping.topics.gripper)}")
        tool = mapping.topics.tool
        if tool is not None:
            offset = [float(value) for value in tool.T_tool_tcp]
            told.append(f"tcp at {offset} (x y z qx qy qz qw) in the frame of the tool (+Z approach, +X closing)")
        told.append(f"frames are the pictures of {mapping.primary}; all else is interpolated to their capture time")
        if mapping.topics.command is not None:
            told.append("actions are what was commanded from one frame to the next; what was really sent is unknown")
        if any(camera.depth for camera in mapping.cameras.values()):
            told.append("integer depth images are millimetres (REP 118) unless depth_scale_m says otherwise")
        return told

    def names(self) -> Sequence[str]:
        return list(self._windows)

    def open(self, name: str) -> SourceEpisode:
        if name not in self._windows:
            raise SourceError("there is no such episode", self.path, name)
        path, number = self._windows[name]
        try:
            found = self._scan(path)
            if number >= len(found.windows):
                raise SourceError(
                    f"the recording breaks off, what comes behind is lost: {found.broken}"
                    if found.broken
                    else "no episode begins in it: is episodes.topic right?"
                )
            plan = self._plan(path, found, number)
            stream = BagFrames(plan)
        except SourceError as error:
            raise error.placed(path, name) from error
        info = EpisodeInfo(
            plan.fps,
            plan.cameras,
            task=found.task(plan.window),
            robot=self._mapping.topics.robot,
            source=source_id(self.path, name),
        )

        def frames() -> Any:
            try:
                yield from stream
                if not stream.num_frames:
                    raise SourceError(f"there is no picture of camera {self._mapping.primary} in it")
                if found.broken and plan.window.stop_ns is None:
                    raise SourceError(f"the recording breaks off within this episode: {found.broken}")
            except SourceError as error:
                raise error.placed(path, name) from error

        primary = self._mapping.cameras[self._mapping.primary]
        is_whole = plan.window.stop_ns is None and number == 0
        return SourceEpisode(
            described(info, self._config),
            frames(),
            lambda: self._end(stream, found),
            lambda: self._remarks(stream, found),
            found.num_messages(primary.rgb or primary.depth or "") if is_whole else None,
        )

    @cached_property
    def _windows(self) -> dict[str, tuple[Path, int]]:
        """Recording and number of each episode; only a topic of episode bounds makes it necessary to look inside."""
        found = {}
        for path in self._paths:
            prefix = "" if path == self.path else path.relative_to(self.path).as_posix()
            count = 1
            if self._mapping.topics.episodes.topic:
                try:
                    count = max(self._scan(path).num_episodes, 1)
                except SourceError:
                    count = 1  # opening it says what is wrong
            for number in range(count):
                found[f"{prefix or path.name}#{number}"] = (path, number)
        return found

    def _scan(self, path: Path) -> BagScan:
        if path not in self._scans:
            self._scans = {path: scan(self._bag(path), self._mapping, self._config.max_gap_s)}
        return self._scans[path]

    def _bag(self, path: Path) -> Bag:
        if self._last_opened is None or self._last_opened[0] != path:
            self._last_opened = (path, open_bag(path))
        return self._last_opened[1]

    def _read_mapping(self, config: ImportConfig) -> TopicMapping:
        mapping = parse_topics(*read_yaml(config.mapping or ""))
        mapping = mapping.with_gripper_range(config.gripper_open_m, config.gripper_closed_m)
        if config.depth_scale_m is not None:
            scaled = {
                name: dataclasses.replace(camera, depth_scale_m=config.depth_scale_m)
                for name, camera in mapping.cameras.items()
            }
            mapping = dataclasses.replace(mapping, cameras=scaled)
        check_complete(mapping)
        return mapping

    def _plan(self, path: Path, found: BagScan, number: int) -> BagPlan:
        cameras = {name: self._camera(name, camera, found) for name, camera in self._mapping.cameras.items()}
        primary = self._mapping.cameras[self._mapping.primary]
        measured = found.rate_hz(primary.rgb or primary.depth or "")
        fps = self._config.fps or self._mapping.topics.fps or _round_rate(measured)
        if not fps:
            raise SourceError(
                f"there are too few pictures of camera {self._mapping.primary} to tell a rate: give fps=N"
            )
        return BagPlan(
            self._bag(path), self._mapping, found, found.windows[number], cameras, fps, self._config.max_gap_s
        )

    def _camera(self, name: str, camera: CameraTopics, found: BagScan) -> CameraInfo:
        size = found.sizes.get(camera.rgb or camera.depth or "")
        if size is None:
            raise SourceError(f"there is no picture of camera {name} ({camera.rgb or camera.depth}) in it")
        calibration = found.calibrations.get(camera.camera_info or "")
        K = None if calibration is None else calibration.K
        distortion = None if calibration is None else calibration.distortion
        if calibration is not None and calibration.size != size:
            raise SourceError(f"camera {name}: CameraInfo is for {calibration.size}, its pictures are {size}")
        if camera.K is not None:
            if len(camera.K) != 4:
                raise SourceError(f"cameras.{name}.K must be fx, fy, cx, cy")
            fx, fy, cx, cy = camera.K
            K, distortion = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]), None
        if camera.distortion is not None:
            distortion = np.array(camera.distortion)
        return CameraInfo(
            size.width_px,
            size.height_px,
            has_rgb=camera.rgb is not None,
            has_depth=camera.depth is not None,
            mount=camera.mount.value,
            K=K,
            distortion=distortion,
            T_mount_cam=self._mount_pose(name, camera, found),
        )

    def _mount_pose(self, name: str, camera: CameraTopics, found: BagScan) -> FloatArray | None:
        if camera.T_mount_cam is not None:
            return pose7(camera.T_mount_cam, f"cameras.{name}.T_mount_cam")
        tool = self._mapping.topics.tool
        if camera.frame is None or tool is None:
            return None
        if camera.mount == "wrist" and tool.frame is not None:
            T_tool_cam = found.fixed.fixed(tool.frame, camera.frame)
            T_tcp_tool = np.linalg.inv(pose7(tool.T_tool_tcp, "tool.T_tool_tcp"))
            return None if T_tool_cam is None else T_tcp_tool @ T_tool_cam
        return found.fixed.fixed(tool.base or "", camera.frame) if camera.mount == "external" else None

    def _end(self, stream: BagFrames, found: BagScan) -> EpisodeEnd:
        timing = dataclasses.replace(found.timing, lags=stream.lags, remarks=self._remarks(stream, found))
        success = stream.success if self._config.success is None else self._config.success
        return EpisodeEnd(success=success, labels={"timing": timing.to_plain()})

    def _remarks(self, stream: BagFrames, found: BagScan) -> list[str]:
        told = [*found.remarks, *(f"{pair}: {lag.text}" for pair, lag in stream.lags.items())]
        if stream.num_repeated:
            told.append(f"{stream.num_repeated} pictures have the time of the one before and are left out")
        for what, times_s in stream.missing.items():
            first = ", ".join(f"{t_s:.2f}" for t_s in times_s[:_TOLD_GAPS])
            more = ", ..." if len(times_s) > _TOLD_GAPS else ""
            told.append(
                f"no {what} within {self._config.max_gap_s:g} s in {len(times_s)} of {stream.num_frames} frames, "
                f"at {first}{more} s: left out, not made up"
            )
        return told


def find_bags(path: Path) -> list[Path]:
    """Recordings at a path: the path itself, or what lies in the folder.

    Raises:
        SourceError: there is none.
    """
    if path.is_file() or (path / "metadata.yaml").is_file():
        return [path]
    found = sorted(path.glob("*.mcap")) + sorted(path.glob("*.bag"))
    found += sorted(inner.parent for inner in path.glob("*/metadata.yaml"))
    if not found:
        stray = sorted(path.glob("*.db3"))
        advice = ": `ros2 bag reindex` makes the metadata.yaml that is missing" if stray else ""
        raise SourceError(f"there is no .mcap or .bag file and no rosbag2 folder in it{advice}", path)
    return found


def _round_rate(rate_hz: float) -> float:
    """The nominal rate behind a measured one: whole where it is within 2 % of it."""
    whole = round(rate_hz)
    return float(whole) if whole and abs(rate_hz - whole) <= 0.02 * whole else round(rate_hz, 2)
