"""The second pass over a recording of topics: pictures of one camera are the frames, all else is brought to their time.

A frame leaves as soon as everything around its capture time has arrived, so only what was received within about a
second is held, whatever the length of the episode.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.importing.bag_scan import TF, TF_STATIC, BagScan, Window, topics_of
from simtoreal.episodes.importing.bags import Bag, BagMessage
from simtoreal.episodes.importing.message_types import read_field
from simtoreal.episodes.importing.ros_values import depth_of, joints_of, pose_of, rgb_of, stamp_ns, twist_of
from simtoreal.episodes.importing.row_frames import width_m
from simtoreal.episodes.importing.row_mapping import FloatArray, pose7
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.importing.topic_mapping import CommandKind, GripperTopic, TopicMapping, split_topic
from simtoreal.episodes.importing.transform_tree import TransformTree
from simtoreal.episodes.lag import ImageMotion, Lag, measure_lag, pose_speed
from simtoreal.episodes.records import CameraInfo, EpisodeFrame, FrameImage
from simtoreal.episodes.timeline import Track, between_arrays, latest, pose_track

WAIT_S = 0.5  # how much longer than the largest gap to wait for a stream that has fallen silent
MAX_HELD = 2000  # messages with pictures; more are a stream that floods
_VELOCITY_STEPS = 8
_MOTION_SAMPLES = 100_000


class _Picture(NamedTuple):
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


class BagFrames:
    """Frames of one episode; `missing`, `success`, `task` and the lags are known when they have run out."""

    def __init__(self, plan: BagPlan) -> None:
        self._plan, self._topics = plan, plan.mapping.topics
        self.success: bool | None = None
        self.missing: dict[str, list[float]] = {}
        self.num_frames = 0
        self._received_s = float("-inf")
        self._tf = TransformTree(plan.max_gap_s)
        self._pose = pose_track(plan.max_gap_s)
        self._width: Track[FloatArray] = Track(between_arrays, plan.max_gap_s)
        self._joints: Track[FloatArray] = Track(between_arrays, plan.max_gap_s)
        self._target: Track[FloatArray] = Track(latest, plan.max_gap_s)
        self._target_width: Track[FloatArray] = Track(latest, plan.max_gap_s)
        self._rgb: dict[str, deque[_Picture]] = {name: deque() for name in plan.cameras}
        self._depth: dict[str, deque[_Picture]] = {name: deque() for name in plan.cameras}
        self._takers = self._make_takers()
        self._motion = {name: ImageMotion() for name, camera in plan.cameras.items() if camera.mount == "wrist"}
        self._moved: tuple[list[float], list[FloatArray]] = ([], [])
        self._commanded: tuple[list[float], list[FloatArray]] = ([], [])
        self._T_tool_tcp = (
            np.eye(4) if self._topics.tool is None else pose7(self._topics.tool.T_tool_tcp, "tool.T_tool_tcp")
        )
        self._due_s = float("-inf")

    def __iter__(self) -> Iterator[EpisodeFrame]:
        held: list[_Picture] = []  # the picture of the next frame waits for the one behind it
        start_s: float | None = None
        for picture in self._settled_pictures():
            held.append(picture)
            if len(held) < 2:
                continue
            start_s = held[0].t_s if start_s is None else start_s
            yield self._frame(held.pop(0), picture.t_s, start_s)
        if held:
            start_s = held[0].t_s if start_s is None else start_s
            yield self._frame(held[0], held[0].t_s + 1.0 / self._plan.fps, start_s)

    def lags(self) -> dict[str, Lag]:
        """How late the tool follows its command, and pictures follow the tool; positive is later."""
        found = {}
        tool = pose_speed(self._moved[0], np.reshape(self._moved[1], (-1, 3)))
        if len(self._commanded[0]) > 1 and len(tool[0]):
            command = pose_speed(self._commanded[0], np.reshape(self._commanded[1], (-1, 3)))
            found["tool after command"] = measure_lag(command, tool)
        for name, motion in self._motion.items():
            if len(tool[0]):
                found[f"camera {name} after tool"] = measure_lag(tool, motion.speed)
        return found

    # What comes in -----------------------------------------------------------------------------------------------

    def _make_takers(self) -> dict[str, list[Callable[[BagMessage], None]]]:
        """What to do with the messages of each topic."""
        topics, takers = self._topics, list[tuple[str | None, Callable[[BagMessage], None]]]()
        for name, camera in self._plan.mapping.cameras.items():
            takers += [
                (camera.rgb, self._picture_taker(self._rgb[name], camera.latency_s)),
                (camera.depth, self._picture_taker(self._depth[name], camera.latency_s)),
            ]
        if topics.tool is not None:
            takers.append((topics.tool.topic, self._take_pose))
        if self._plan.mapping.needs_tf:
            takers += [(TF, self._take_tf), (TF_STATIC, self._take_tf)]
        if topics.gripper is not None:
            takers.append((topics.gripper.value, self._width_taker(topics.gripper, self._width)))
        if topics.joints is not None:
            takers.append((topics.joints.topic, self._take_joints))
        if topics.command is not None:
            takers.append((topics.command.topic, self._take_command))
            if topics.command.gripper is not None:
                gripper = topics.command.gripper
                takers.append((gripper.value, self._width_taker(gripper, self._target_width)))
        takers.append((topics.success, self._take_success))
        found: dict[str, list[Callable[[BagMessage], None]]] = {}
        for value, taker in takers:
            if value:
                found.setdefault(split_topic(value)[0], []).append(taker)
        return found

    def _settled_pictures(self) -> Iterator[_Picture]:
        """Pictures of the primary camera in order, each when everything around its time is there."""
        plan, primary = self._plan, self._primary()
        before_ns = int((plan.max_gap_s + WAIT_S) * 1e9)
        wanted = topics_of(plan.mapping, plan.bag)
        for message in plan.bag.messages(wanted, max(plan.window.start_ns - before_ns, 0)):
            if plan.window.stop_ns is not None and message.received_ns > plan.window.stop_ns + before_ns:
                break
            self._received_s = self._since_start_s(message.received_ns)
            for taker in self._takers.get(message.topic, ()):
                self._named(message, taker)
            while primary and self._is_settled(primary[0].t_s):
                yield from self._due(primary.popleft())
        while primary:
            yield from self._due(primary.popleft())

    def _due(self, picture: _Picture) -> Iterator[_Picture]:
        """Lets through one picture per frame where fewer frames than pictures are asked for."""
        half_s = 0.5 / max(self._plan.scan.rate_hz(picture.message.topic), 1e-3)
        if picture.t_s < self._due_s - half_s:
            return
        period_s = 1.0 / self._plan.fps
        # the grid goes on where it was, and begins anew after a gap
        self._due_s = self._due_s + period_s if picture.t_s < self._due_s + period_s else picture.t_s + period_s
        yield picture

    def _named(self, message: BagMessage, taker: Callable[[BagMessage], None]) -> None:
        try:
            taker(message)
        except (SourceError, ValueError) as error:
            raise SourceError(f"topic {message.topic}: {error}", frame=self.num_frames) from error

    def _is_settled(self, t_s: float) -> bool:
        """Whether everything up to a time is there, or was waited for long enough."""
        if self._received_s > t_s + self._plan.max_gap_s + WAIT_S:
            return True
        ends = [track.end_s for track in self._followed()]
        if self._plan.mapping.needs_tf and self._topics.tool is not None and self._topics.tool.topic is None:
            ends.append(self._tf.end_s(self._topics.tool.base or "", self._topics.tool.frame or ""))
        others = [*self._rgb.values(), *self._depth.values()]
        ends += [pictures[-1].t_s if pictures else float("-inf") for pictures in others if self._is_used(pictures)]
        return all(end_s > t_s for end_s in ends)

    def _followed(self) -> list[Track[FloatArray]]:
        topics, tracks = self._topics, []
        if topics.tool is not None and topics.tool.topic is not None:
            tracks.append(self._pose)
        if topics.gripper is not None:
            tracks.append(self._width)
        if topics.joints is not None:
            tracks.append(self._joints)
        return tracks

    def _is_used(self, pictures: deque[_Picture]) -> bool:
        cameras = self._plan.mapping.cameras
        named = [(self._rgb[name], camera.rgb) for name, camera in cameras.items()]
        named += [(self._depth[name], camera.depth) for name, camera in cameras.items()]
        primary = self._primary()
        return any(held is pictures and topic is not None and held is not primary for held, topic in named)

    def _primary(self) -> deque[_Picture]:
        """Pictures that are the frames: colour of the primary camera, or depth if it has no colour."""
        name = self._plan.mapping.primary
        return (self._rgb if self._plan.mapping.cameras[name].rgb is not None else self._depth)[name]

    def _picture_taker(self, pictures: deque[_Picture], latency_s: float) -> Callable[[BagMessage], None]:
        last_s = [float("-inf")]

        def take(message: BagMessage) -> None:
            plan = self._plan
            is_before = message.received_ns < plan.window.start_ns
            if is_before or (plan.window.stop_ns is not None and message.received_ns > plan.window.stop_ns):
                return
            t_s = self._time_s(message, message.decoded()) - latency_s
            if t_s < last_s[0]:
                raise SourceError(f"the time of a picture goes back from {last_s[0]:.6f} s to {t_s:.6f} s")
            if t_s == last_s[0]:
                self._miss("picture with the time of the one before", t_s)
                return
            last_s[0] = t_s
            pictures.append(_Picture(t_s, message))
            if len(pictures) > MAX_HELD:
                raise SourceError(f"more than {MAX_HELD} pictures arrive within a second: is the clock right?")

        return take

    def _take_pose(self, message: BagMessage) -> None:
        assert self._topics.tool is not None
        decoded, path = message.decoded(), split_topic(self._topics.tool.topic or "")[1]
        t_s = self._time_s(message, decoded) - self._topics.tool.latency_s
        self._pose.add(t_s, pose_of(read_field(decoded, path) if path else decoded))

    def _take_tf(self, message: BagMessage) -> None:
        for transform in message.decoded().transforms:
            t_s = None if message.topic == TF_STATIC else self._time_s(message, transform)
            if t_s is not None and self._topics.tool is not None:
                t_s -= self._topics.tool.latency_s
            self._tf.add(transform.header.frame_id, transform.child_frame_id, pose_of(transform), t_s)

    def _width_taker(self, gripper: GripperTopic, track: Track[FloatArray]) -> Callable[[BagMessage], None]:
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
        self._joints.add(self._time_s(message, decoded), positions)

    def _take_command(self, message: BagMessage) -> None:
        assert self._topics.command is not None
        decoded, path = message.decoded(), split_topic(self._topics.command.topic)[1]
        value = read_field(decoded, path) if path else decoded
        is_target = self._topics.command.kind is CommandKind.TARGET
        t_s = self._time_s(message, decoded)
        self._target.add(t_s, pose_of(value) if is_target else twist_of(value))
        if is_target and len(self._commanded[0]) < _MOTION_SAMPLES:
            self._commanded[0].append(t_s)
            self._commanded[1].append(pose_of(value)[:3, 3])

    def _take_success(self, message: BagMessage) -> None:
        window = self._plan.window
        if message.received_ns < window.start_ns:
            return
        if window.stop_ns is None or message.received_ns <= window.stop_ns + int(WAIT_S * 1e9):
            path = split_topic(self._topics.success or "")[1]
            self.success = bool(read_field(message.decoded(), path or "data"))

    # What goes out -----------------------------------------------------------------------------------------------

    def _frame(self, picture: _Picture, next_s: float, start_s: float) -> EpisodeFrame:
        t_s = picture.t_s
        T_base_tcp = self._tcp_at(t_s)
        width = self._width.at(t_s) if self._topics.gripper is not None else None
        joints = self._joints.at(t_s) if self._topics.joints is not None else None
        for what, mapped, value in (
            ("tool pose", self._topics.tool, T_base_tcp),
            ("gripper opening", self._topics.gripper, width),
            ("joint positions", self._topics.joints, joints),
        ):
            if mapped is not None and value is None:
                self._miss(what, t_s)
        frame = EpisodeFrame(
            t_s - start_s,
            self._images(picture, start_s),
            T_base_tcp=T_base_tcp,
            gripper_width_m=None if width is None else float(width[0]),
            joint_positions_rad=joints,
            state_t_s=t_s - start_s,
            commanded=self._action(t_s, next_s),
        )
        self._note_motion(t_s, frame)
        self.num_frames += 1
        self._forget(t_s)
        return frame

    def _images(self, picture: _Picture, start_s: float) -> dict[str, FrameImage]:
        images, primary = {}, self._primary()
        for name in self._plan.cameras:
            camera = self._plan.mapping.cameras[name]
            rgb = (
                picture if self._rgb[name] is primary else _nearest(self._rgb[name], picture.t_s, self._plan.max_gap_s)
            )
            at_s = picture.t_s if rgb is None else rgb.t_s
            depth = picture if self._depth[name] is primary else _nearest(self._depth[name], at_s, 0.5 / self._plan.fps)
            if (camera.rgb is not None and rgb is None) or (camera.depth is not None and depth is None):
                self._miss(f"picture of camera {name}", picture.t_s)
            if rgb is None and depth is None:
                continue
            try:
                images[name] = FrameImage(
                    at_s - start_s,
                    None if rgb is None else rgb_of(rgb.message.decoded()),
                    None if depth is None else depth_of(depth.message.decoded(), camera.depth_scale_m),
                    self._camera_pose(name, at_s),
                )
            except SourceError as error:
                raise SourceError(f"camera {name}: {error}", frame=self.num_frames) from error
        return images

    def _tcp_at(self, t_s: float) -> FloatArray | None:
        tool = self._topics.tool
        if tool is None:
            return None
        T = self._tf.at(tool.base or "", tool.frame or "", t_s) if tool.topic is None else self._pose.at(t_s)
        return None if T is None else T @ self._T_tool_tcp

    def _camera_pose(self, name: str, t_s: float) -> FloatArray | None:
        """Pose at the capture time of the picture, not at that of the frame."""
        frame, info = self._plan.mapping.cameras[name].frame, self._plan.cameras[name]
        if frame is not None and self._topics.tool is not None:
            return self._tf.at(self._topics.tool.base or "", frame, t_s)
        if info.T_mount_cam is None or info.mount == "unknown":
            return None
        T_base_tcp = np.eye(4) if info.mount == "external" else self._tcp_at(t_s)
        return None if T_base_tcp is None else T_base_tcp @ info.T_mount_cam

    def _action(self, t_s: float, next_s: float) -> Action | None:
        """What was commanded from one frame to the next."""
        if self._topics.command is None or (target := self._target.held_at(t_s)) is None:
            return None
        width = self._target_width.held_at(next_s)
        width_to = float("nan") if width is None else float(width[0])
        if self._topics.command.kind is CommandKind.VELOCITY:
            delta = self._integrated(t_s, next_s)
            return Action(delta[:3], delta[3:], width_to)
        following = self._target.held_at(next_s)
        assert following is not None
        T_from, T_to = target @ self._T_tool_tcp, following @ self._T_tool_tcp
        turn = frames.rotation_to_vector(T_to[:3, :3] @ T_from[:3, :3].T)
        return Action(T_to[:3, 3] - T_from[:3, 3], turn, width_to)

    def _integrated(self, t_s: float, next_s: float) -> FloatArray:
        """Motion (6,) of a commanded velocity that holds until the next one, or stops after the longest gap."""
        step_s = (next_s - t_s) / _VELOCITY_STEPS
        total = np.zeros(6)
        for index in range(_VELOCITY_STEPS):
            twist = self._target.held_at(t_s + (index + 0.5) * step_s, self._plan.max_gap_s)
            total += 0.0 if twist is None else step_s * twist
        return total

    # What is kept in mind ----------------------------------------------------------------------------------------

    def _note_motion(self, t_s: float, frame: EpisodeFrame) -> None:
        if frame.T_base_tcp is not None and len(self._moved[0]) < _MOTION_SAMPLES:
            self._moved[0].append(t_s)
            self._moved[1].append(frame.T_base_tcp[:3, 3])
        for name, motion in self._motion.items():
            image = frame.images.get(name)
            if image is not None and image.rgb is not None and len(motion.times_s) < _MOTION_SAMPLES:
                motion.add(image.t_s + t_s - frame.t_s, image.rgb)

    def _miss(self, what: str, t_s: float) -> None:
        self.missing.setdefault(what, []).append(t_s)

    def _forget(self, t_s: float) -> None:
        keep_s = t_s - self._plan.max_gap_s - WAIT_S
        for track in (self._pose, self._width, self._joints, self._target, self._target_width):
            track.forget_before(keep_s)
        self._tf.forget_before(keep_s)
        primary = self._primary()
        for pictures in (*self._rgb.values(), *self._depth.values()):
            while pictures is not primary and len(pictures) > 1 and pictures[1].t_s <= keep_s:
                pictures.popleft()

    def _time_s(self, message: BagMessage, stamped: Any) -> float:
        """Time of a message on the clock of the recording, from its beginning."""
        stamp = stamp_ns(stamped)
        return self._plan.scan.clocks[message.topic].time_s(
            None if stamp is None else self._since_start_s(stamp), self._since_start_s(message.received_ns)
        )

    def _since_start_s(self, time_ns: int) -> float:
        return (time_ns - self._plan.scan.start_ns) * 1e-9


def _nearest(pictures: deque[_Picture], t_s: float, within_s: float) -> _Picture | None:
    """The picture taken nearest to a time, if any was taken within a time of it."""
    best = min(pictures, key=lambda picture: abs(picture.t_s - t_s), default=None)
    return best if best is not None and abs(best.t_s - t_s) <= within_s else None
