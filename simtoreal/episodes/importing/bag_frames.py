"""Frames of one episode of a recording of topics: one per picture of a camera, all else brought to its capture time.

A frame leaves as soon as everything around its time has arrived, so only what was received within about a second is
held, whatever the length of the episode.
"""

from collections import deque
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.importing.bag_streams import BagPlan, BagStreams, Picture
from simtoreal.episodes.importing.ros_values import depth_of, rgb_of
from simtoreal.episodes.importing.row_mapping import FloatArray
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.importing.topic_mapping import CommandKind
from simtoreal.episodes.lag import ImageMotion, Lag, measure_lag
from simtoreal.episodes.records import EpisodeFrame, FrameImage

_VELOCITY_STEPS = 8


class BagFrames:
    """Iterates over the frames; `missing`, `success` and the lags are known when they have run out."""

    def __init__(self, plan: BagPlan) -> None:
        self._plan, self._topics = plan, plan.mapping.topics
        self._streams = BagStreams(plan)
        self._motion = {name: ImageMotion() for name, camera in plan.cameras.items() if camera.mount == "wrist"}
        self._due_s = float("-inf")
        self.missing: dict[str, list[float]] = {}
        self.num_frames = 0

    def __iter__(self) -> Iterator[EpisodeFrame]:
        held: Picture | None = None  # waits for the next one, up to which its action lasts
        start_s: float | None = None
        try:
            for picture in self._due_pictures():
                start_s = picture.t_s if start_s is None else start_s
                if held is not None:
                    yield self._frame(held, picture.t_s, start_s)
                held = picture
            if held is not None and start_s is not None:
                yield self._frame(held, held.t_s + 1.0 / self._plan.fps, start_s)
        except SourceError as error:
            raise error.placed(frame=self.num_frames) from error

    @property
    def success(self) -> bool | None:
        """What the recording says of the outcome."""
        return self._streams.success

    @property
    def num_repeated(self) -> int:
        """Pictures that were left out because they have the time of the one before."""
        return self._streams.num_repeated

    @cached_property
    def lags(self) -> dict[str, Lag]:
        """How late the tool follows its command, and pictures follow the tool; positive is later."""
        tool, command = self._streams.tool_motion.speed, self._streams.command_motion.speed
        found = {}
        if len(tool[0]) and len(command[0]):
            found["tool after command"] = measure_lag(command, tool)
        for name, motion in self._motion.items():
            if len(tool[0]):
                found[f"camera {name} after tool"] = measure_lag(tool, motion.speed)
        return found

    def _due_pictures(self) -> Iterator[Picture]:
        """Lets through one picture per frame where fewer frames than pictures are asked for."""
        period_s = 1.0 / self._plan.fps
        for picture in self._streams.pictures():
            half_s = 0.5 / max(self._plan.scan.rate_hz(picture.message.topic), 1e-3)
            if picture.t_s < self._due_s - half_s:
                self._streams.forget_before(picture.t_s)
                continue
            # the grid goes on where it was, and begins anew after a gap
            self._due_s = period_s + (self._due_s if picture.t_s < self._due_s + period_s else picture.t_s)
            yield picture

    def _frame(self, picture: Picture, next_s: float, start_s: float) -> EpisodeFrame:
        t_s, streams = picture.t_s, self._streams
        T_base_tcp, width, joints = streams.tcp_at(t_s), streams.width.at(t_s), streams.joints.at(t_s)
        self._note_missing(t_s, T_base_tcp, width, joints)
        frame = EpisodeFrame(
            t_s - start_s,
            self._images(picture, start_s),
            T_base_tcp=T_base_tcp,
            gripper_width_m=None if width is None else float(width[0]),
            joint_positions_rad=joints,
            state_t_s=t_s - start_s,
            commanded=self._action(t_s, next_s),
        )
        self._note_motion(frame, start_s)
        self.num_frames += 1
        streams.forget_before(t_s)
        return frame

    def _images(self, picture: Picture, start_s: float) -> dict[str, FrameImage]:
        images, streams = {}, self._streams
        for name, camera in self._plan.mapping.cameras.items():
            rgb = self._picture(streams.rgb[name], picture, picture.t_s, self._plan.max_gap_s)
            at_s = picture.t_s if rgb is None else rgb.t_s
            depth = self._picture(streams.depth[name], picture, at_s, 0.5 / self._plan.fps)
            if (camera.rgb is not None and rgb is None) or (camera.depth is not None and depth is None):
                self._miss(f"picture of camera {name}", picture.t_s)
            if rgb is None and depth is None:
                continue
            try:
                images[name] = FrameImage(
                    at_s - start_s,
                    None if rgb is None else rgb_of(rgb.message.decoded()),
                    None if depth is None else depth_of(depth.message.decoded(), camera.depth_scale_m),
                    streams.camera_pose_at(name, at_s),
                )
            except SourceError as error:
                raise SourceError(f"camera {name}: {error}") from error
        return images

    def _picture(self, held: deque[Picture], primary: Picture, t_s: float, within_s: float) -> Picture | None:
        """The picture of a stream that belongs to a time: the frame's own, or the one taken nearest to it."""
        if held is self._streams.primary:
            return primary
        best = min(held, key=lambda picture: abs(picture.t_s - t_s), default=None)
        return best if best is not None and abs(best.t_s - t_s) <= within_s else None

    def _action(self, t_s: float, next_s: float) -> Action | None:
        """What was commanded from one frame to the next."""
        streams = self._streams
        before, after = streams.command.held_at(t_s), streams.command.held_at(next_s)
        if self._topics.command is None or before is None or after is None:
            return None
        width = streams.command_width.held_at(next_s)
        width_m = float("nan") if width is None else float(width[0])
        if self._topics.command.kind is CommandKind.VELOCITY:
            motion = self._integrated(t_s, next_s)
            return Action(motion[:3], motion[3:], width_m)
        T_from, T_to = before @ streams.T_tool_tcp, after @ streams.T_tool_tcp
        turn_rad = frames.rotation_to_vector(T_to[:3, :3] @ T_from[:3, :3].T)
        return Action(T_to[:3, 3] - T_from[:3, 3], turn_rad, width_m)

    def _integrated(self, t_s: float, next_s: float) -> FloatArray:
        """Motion (6,) of a commanded velocity that holds until the next one, or stops after the longest gap."""
        step_s = (next_s - t_s) / _VELOCITY_STEPS
        total = np.zeros(6)
        for index in range(_VELOCITY_STEPS):
            twist = self._streams.command.held_at(t_s + (index + 0.5) * step_s, self._plan.max_gap_s)
            total += 0.0 if twist is None else step_s * twist
        return total

    def _note_missing(
        self, t_s: float, T_base_tcp: FloatArray | None, width: FloatArray | None, joints: FloatArray | None
    ) -> None:
        for what, mapped, value in (
            ("tool pose", self._topics.tool, T_base_tcp),
            ("gripper opening", self._topics.gripper, width),
            ("joint positions", self._topics.joints, joints),
        ):
            if mapped is not None and value is None:
                self._miss(what, t_s)

    def _miss(self, what: str, t_s: float) -> None:
        self.missing.setdefault(what, []).append(t_s)

    def _note_motion(self, frame: EpisodeFrame, start_s: float) -> None:
        tool = self._topics.tool
        if tool is not None and tool.topic is None and frame.T_base_tcp is not None:
            self._streams.tool_motion.add(start_s + frame.t_s, frame.T_base_tcp[:3, 3])
        for name, motion in self._motion.items():
            image = frame.images.get(name)
            if image is not None and image.rgb is not None:
                motion.add(start_s + image.t_s, image.rgb)
