"""Messages of a recording, sorted into what they are of, as far as they are still needed.

Poses, openings, joints and commands become tracks over time; pictures stay encoded until their frame is made.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from simtoreal.episodes.importing.bag_scan import TF, TF_STATIC, BagScan, Window, topics_of
from simtoreal.episodes.importing.bags import Bag, BagMessage
from simtoreal.episodes.importing.message_types import read_field
from simtoreal.episodes.importing.ros_values import joints_of, pose_of, stamp_ns, twist_of
from simtoreal.episodes.importing.row_frames import width_m
from simtoreal.episodes.importing.row_mapping import FloatArray, pose7
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.importing.topic_mapping import CommandKind, GripperTopic, TopicMapping, split_topic
from simtoreal.episodes.importing.transform_tree import TransformTree
from simtoreal.episodes.lag import PathSpeed
from simtoreal.episodes.records import CameraInfo
from simtoreal.episodes.timeline import Track, between_arrays, latest, pose_track

WAIT_S = 0.5  # how much longer than the largest gap to wait for a stream that has fallen silent
MAX_HELD = 2000  # pictures; more are a stream that floods, or a clock that is wrong
Taker = Callable[[BagMessage], None]


class Picture(NamedTuple):
    """A picture on the clock of the recording, not decoded yet."""

    t_s: float
    message: BagMessage


class BagPlan(NamedTuple):
    """What of a recording to read, and how."""

    bag: Bag
    mapping: TopicMapping
    scan: BagScan
    window: Window
    cameras: dict[str, CameraInfo]
    fps: float
    max_gap_s: float


class BagStreams:
    """The streams of one episode while it is read.

    `pictures` gives those of the primary camera, each when everything around its time is there: that is what the
    tracks and `rgb` and `depth` are good for at that moment.
    """

    def __init__(self, plan: BagPlan) -> None:
        self._plan, self._topics, self._cameras = plan, plan.mapping.topics, plan.mapping.cameras
        gap_s = plan.max_gap_s
        self.width: Track[FloatArray] = Track(between_arrays, gap_s)
        self.joints: Track[FloatArray] = Track(between_arrays, gap_s)
        self.command: Track[FloatArray] = Track(latest, gap_s)
        self.command_width: Track[FloatArray] = Track(latest, gap_s)
        self.rgb: dict[str, deque[Picture]] = {name: deque() for name in self._cameras}
        self.depth: dict[str, deque[Picture]] = {name: deque() for name in self._cameras}
        self.tool_motion, self.command_motion = PathSpeed(), PathSpeed()
        self.success: bool | None = None
        self.num_repeated = 0
        tool = self._topics.tool
        self.T_tool_tcp = np.eye(4) if tool is None else pose7(tool.T_tool_tcp, "tool.T_tool_tcp")
        self._pose, self._tf = pose_track(gap_s), TransformTree(gap_s)
        self._received_s = float("-inf")
        self._takers = self._make_takers()

    @property
    def primary(self) -> deque[Picture]:
        """Pictures that are the frames: colour of the primary camera, or depth if it has no colour."""
        name = self._plan.mapping.primary
        return (self.rgb if self._cameras[name].rgb is not None else self.depth)[name]

    def pictures(self) -> Iterator[Picture]:
        """Pictures of the primary camera in order.

        Raises:
            SourceError: a message cannot be used; the error names its topic.
        """
        for message in self._messages():
            self._take(message)
            while self.primary and self._is_settled(self.primary[0].t_s):
                yield self.primary.popleft()
        while self.primary:
            yield self.primary.popleft()

    def _messages(self) -> Iterator[BagMessage]:
        """Messages from a little before the episode to a little behind it, for what is interpolated at its ends."""
        plan, margin_ns = self._plan, int((self._plan.max_gap_s + WAIT_S) * 1e9)
        start_ns, stop_ns = plan.window
        try:
            for message in plan.bag.messages(topics_of(plan.mapping, plan.bag), max(start_ns - margin_ns, 0)):
                if stop_ns is not None and message.received_ns > stop_ns + margin_ns:
                    return
                self._received_s = self._since_start_s(message.received_ns)
                yield message
        except SourceError:
            if stop_ns is None or self._received_s < self._since_start_s(stop_ns):
                raise  # else it is damaged behind the episode only

    def tcp_at(self, t_s: float) -> FloatArray | None:
        """`T_base_tcp` (4, 4) at a time, None in a gap."""
        tool = self._topics.tool
        if tool is None:
            return None
        T = self._tf.at(tool.base or "", tool.frame or "", t_s) if tool.topic is None else self._pose.at(t_s)
        return None if T is None else T @ self.T_tool_tcp

    def camera_pose_at(self, name: str, t_s: float) -> FloatArray | None:
        """`T_base_cam` (4, 4) at the capture time of a picture, None in a gap or without calibration."""
        frame, info, tool = self._cameras[name].frame, self._plan.cameras[name], self._topics.tool
        if frame is not None and tool is not None:
            return self._tf.at(tool.base or "", frame, t_s)
        if info.T_mount_cam is None or info.mount == "unknown":
            return None
        T_base_tcp = np.eye(4) if info.mount == "external" else self.tcp_at(t_s)
        return None if T_base_tcp is None else T_base_tcp @ info.T_mount_cam

    def forget_before(self, t_s: float) -> None:
        """Drops what is not needed for pictures from `t_s` on."""
        keep_s = t_s - self._plan.max_gap_s - WAIT_S
        for track in (self._pose, self.width, self.joints, self.command, self.command_width):
            track.forget_before(keep_s)
        self._tf.forget_before(keep_s)
        for pictures in (*self.rgb.values(), *self.depth.values()):
            while pictures is not self.primary and len(pictures) > 1 and pictures[1].t_s <= keep_s:
                pictures.popleft()

    # When a picture can leave ------------------------------------------------------------------------------------

    def _is_settled(self, t_s: float) -> bool:
        """Whether everything up to a time is there, or was waited for long enough."""
        if self._received_s > t_s + self._plan.max_gap_s + WAIT_S:
            return True
        return all(end_s > t_s for end_s in self._ends_s())

    def _ends_s(self) -> Iterator[float]:
        """Up to when each stream is there that frames are made of."""
        tool = self._topics.tool
        if tool is not None:
            yield self._pose.end_s if tool.topic else self._tf.end_s(tool.base or "", tool.frame or "")
        if self._topics.gripper is not None:
            yield self.width.end_s
        if self._topics.joints is not None:
            yield self.joints.end_s
        for name, camera in self._cameras.items():
            for topic, pictures in ((camera.rgb, self.rgb[name]), (camera.depth, self.depth[name])):
                if topic is not None and pictures is not self.primary:
                    yield pictures[-1].t_s if pictures else float("-inf")

    # What to do with messages ------------------------------------------------------------------------------------

    def _take(self, message: BagMessage) -> None:
        try:
            for taker in self._takers.get(message.topic, ()):
                taker(message)
        except (SourceError, ValueError) as error:
            raise SourceError(f"topic {message.topic}: {error}") from error

    def _make_takers(self) -> dict[str, list[Taker]]:
        found: dict[str, list[Taker]] = {}
        for value, taker in (*self._picture_takers(), *self._arm_takers()):
            if value:
                found.setdefault(split_topic(value)[0], []).append(taker)
        return found

    def _picture_takers(self) -> Iterator[tuple[str | None, Taker]]:
        for name, camera in self._cameras.items():
            yield camera.rgb, self._picture_taker(self.rgb[name], camera.latency_s)
            yield camera.depth, self._picture_taker(self.depth[name], camera.latency_s)

    def _arm_takers(self) -> Iterator[tuple[str | None, Taker]]:
        topics = self._topics
        yield from ((topic, self._take_tf) for topic in (TF, TF_STATIC) if self._plan.mapping.needs_tf)
        yield topics.success, self._take_success
        if topics.tool is not None:
            yield topics.tool.topic, self._take_pose
        if topics.joints is not None:
            yield topics.joints.topic, self._take_joints
        if topics.gripper is not None:
            yield topics.gripper.value, self._width_taker(topics.gripper, self.width)
        if topics.command is not None:
            yield topics.command.topic, self._take_command
            if topics.command.gripper is not None:
                gripper = topics.command.gripper
                yield gripper.value, self._width_taker(gripper, self.command_width)

    def _picture_taker(self, pictures: deque[Picture], latency_s: float) -> Taker:
        window, last_s = self._plan.window, [float("-inf")]

        def take(message: BagMessage) -> None:
            is_after = window.stop_ns is not None and message.received_ns > window.stop_ns
            if message.received_ns < window.start_ns or is_after:
                return
            t_s = self._time_s(message, message.decoded()) - latency_s
            if t_s < last_s[0]:
                raise SourceError(f"the time of a picture goes back from {last_s[0]:.6f} s to {t_s:.6f} s")
            if t_s == last_s[0]:
                self.num_repeated += 1
                return
            last_s[0] = t_s
            pictures.append(Picture(t_s, message))
            if len(pictures) > MAX_HELD:
                raise SourceError(f"more than {MAX_HELD} pictures arrive within a second: is the clock right?")

        return take

    def _take_pose(self, message: BagMessage) -> None:
        assert self._topics.tool is not None
        decoded, path = message.decoded(), split_topic(self._topics.tool.topic or "")[1]
        t_s = self._time_s(message, decoded) - self._topics.tool.latency_s
        T = pose_of(read_field(decoded, path) if path else decoded)
        self._pose.add(t_s, T)
        self.tool_motion.add(t_s, T[:3, 3])

    def _take_tf(self, message: BagMessage) -> None:
        latency_s = 0.0 if self._topics.tool is None else self._topics.tool.latency_s
        for transform in message.decoded().transforms:
            t_s = None if message.topic == TF_STATIC else self._time_s(message, transform) - latency_s
            self._tf.add(transform.header.frame_id, transform.child_frame_id, pose_of(transform), t_s)

    def _width_taker(self, gripper: GripperTopic, track: Track[FloatArray]) -> Taker:
        path = split_topic(gripper.value)[1]

        def take(message: BagMessage) -> None:
            decoded = message.decoded()
            values = np.atleast_1d(np.asarray(read_field(decoded, path), dtype=np.float64))
            if gripper.names:
                values = joints_of(decoded, gripper.names, values)
            track.add(self._time_s(message, decoded), np.array([width_m(values, gripper)]))

        return take

    def _take_joints(self, message: BagMessage) -> None:
        assert self._topics.joints is not None
        decoded = message.decoded()
        positions = joints_of(decoded, self._topics.joints.names)
        if not np.isfinite(positions).all():
            raise SourceError(f"joint positions are not finite: {positions}")
        self.joints.add(self._time_s(message, decoded), positions)

    def _take_command(self, message: BagMessage) -> None:
        assert self._topics.command is not None
        decoded, path = message.decoded(), split_topic(self._topics.command.topic)[1]
        value, t_s = read_field(decoded, path) if path else decoded, self._time_s(message, decoded)
        if self._topics.command.kind is CommandKind.VELOCITY:
            self.command.add(t_s, twist_of(value))
            return
        T = pose_of(value)
        self.command.add(t_s, T)
        self.command_motion.add(t_s, T[:3, 3])

    def _take_success(self, message: BagMessage) -> None:
        window = self._plan.window
        is_after = window.stop_ns is not None and message.received_ns > window.stop_ns + int(WAIT_S * 1e9)
        if message.received_ns >= window.start_ns and not is_after:
            path = split_topic(self._topics.success or "")[1]
            self.success = bool(read_field(message.decoded(), path or "data"))

    def _time_s(self, message: BagMessage, stamped: Any) -> float:
        """Time of a message on the clock of the recording, from its beginning."""
        stamp = stamp_ns(stamped)
        return self._plan.scan.clocks[message.topic].time_s(
            None if stamp is None else self._since_start_s(stamp), self._since_start_s(message.received_ns)
        )

    def _since_start_s(self, time_ns: int) -> float:
        return (time_ns - self._plan.scan.start_ns) * 1e-9
