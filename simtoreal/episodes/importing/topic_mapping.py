"""Which topic of a recording is what: data, read from a YAML file and checked against a schema.

A value in a message is named `TOPIC:FIELD`, such as `/gripper/state:position[0]`. The keys are explained in
`docs/importing.md`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from simtoreal.episodes.importing.row_frames import missing_ranges
from simtoreal.episodes.importing.row_mapping import IDENTITY_POSE, CameraPlace, GripperColumns, with_range
from simtoreal.schema import ConfigError, option, parse


class ClockChoice(StrEnum):
    """Whose time counts for a message."""

    AUTO = "auto"  # its stamp, put on the clock of the recorder if it is another one
    HEADER = "header"  # its stamp as it is
    RECEIVED = "received"  # when it was recorded


class CommandKind(StrEnum):
    """What a commanded message holds."""

    TARGET = "target"  # a pose
    VELOCITY = "velocity"  # a twist in the base frame


@dataclass(frozen=True)
class CameraTopics:
    """One camera."""

    rgb: str | None = option(None, "topic of Image or CompressedImage")
    depth: str | None = option(None, "topic of the depth image, aligned with the colour image")
    camera_info: str | None = option(None, "topic of CameraInfo")
    depth_scale_m: float | None = option(None, "metres of one step of integer depth", minimum=1e-9, maximum=1.0)
    mount: CameraPlace = option(CameraPlace.UNKNOWN, "where it sits")
    K: tuple[float, ...] | None = option(None, "intrinsics fx, fy, cx, cy, instead of CameraInfo", unit="px")
    distortion: tuple[float, float, float, float, float] | None = option(None, "OpenCV k1, k2, p1, p2, k3")
    T_mount_cam: tuple[float, ...] | None = option(None, "x y z qx qy qz qw of the optical frame in tcp or base")
    frame: str | None = option(None, "tf frame of the optics, instead of T_mount_cam")
    latency_s: float = option(0.0, "how much earlier than its time a picture was taken", minimum=-1.0, maximum=1.0)


@dataclass(frozen=True)
class ToolTopic:
    """The measured tool pose: a topic of poses, or two frames of tf."""

    topic: str | None = option(None, "TOPIC or TOPIC:FIELD of a pose or transform")
    base: str | None = option(None, "tf frame of the robot's base")
    frame: str | None = option(None, "tf frame of the tool")
    T_tool_tcp: tuple[float, ...] = option(IDENTITY_POSE, "x y z qx qy qz qw of the tcp in the tool frame")
    latency_s: float = option(0.0, "how much earlier than its time a pose was measured", minimum=-1.0, maximum=1.0)


@dataclass(frozen=True)
class GripperTopic(GripperColumns):
    """The opening, measured or commanded; `value` is TOPIC:FIELD."""

    names: tuple[str, ...] = option((), "joints of a JointState to take")


@dataclass(frozen=True)
class JointTopic:
    """Joint positions."""

    topic: str = option("", "topic of JointState")
    names: tuple[str, ...] = option((), "joints to take, in this order; empty takes all in the order of the message")


@dataclass(frozen=True)
class CommandTopic:
    """What the robot was told."""

    topic: str = option("", "TOPIC or TOPIC:FIELD of a pose or twist")
    kind: CommandKind = option(CommandKind.TARGET, "what it holds")
    gripper: GripperTopic | None = option(None, "the commanded opening")


@dataclass(frozen=True)
class EpisodeBounds:
    """Where episodes begin and end; without a topic a recording is one episode."""

    topic: str | None = option(None, "TOPIC:FIELD; true or START begins an episode, false or STOP ends it")
    start: str = option("start", "text that begins an episode")
    stop: str = option("stop", "text that ends it")


@dataclass(frozen=True)
class Topics:
    """All of the above but the cameras, which have names of their own."""

    about: str = option("", "what this mapping is for, one sentence that is told to the user")
    fps: float | None = option(
        None, "frames per second; null takes every picture", unit="Hz", minimum=0.01, maximum=1e3
    )
    robot: str = option("", "name of the robot")
    clock: ClockChoice = option(ClockChoice.AUTO, "whose time counts")
    primary: str | None = option(None, "camera whose pictures are the frames; null is the first one")
    tool: ToolTopic | None = option(None, "measured tool pose")
    gripper: GripperTopic | None = option(None, "measured opening")
    joints: JointTopic | None = option(None, "measured joint positions")
    command: CommandTopic | None = option(None, "what the robot was told")
    episodes: EpisodeBounds = option(lambda: EpisodeBounds(), "where episodes begin and end")
    success: str | None = option(None, "TOPIC:FIELD that is true where the episode succeeded; the last message counts")
    task: str | None = option(None, "TOPIC:FIELD of the task in words")


@dataclass(frozen=True)
class TopicMapping:
    """A mapping with its cameras, and where it came from."""

    topics: Topics
    cameras: Mapping[str, CameraTopics] = field(default_factory=dict)
    origin: str = ""

    @property
    def primary(self) -> str:
        """Name of the camera whose pictures are the frames."""
        return self.topics.primary or next(iter(self.cameras))

    @property
    def needs_tf(self) -> bool:
        framed = any(camera.frame is not None for camera in self.cameras.values())
        return framed or (self.topics.tool is not None and self.topics.tool.topic is None)

    def with_gripper_range(self, open_m: float | None, closed_m: float | None) -> "TopicMapping":
        """Puts a given range in the place of the mapping's, for what is measured and for what is commanded."""
        topics = dataclasses.replace(self.topics, gripper=with_range(self.topics.gripper, open_m, closed_m))
        if topics.command is not None:
            gripper = with_range(topics.command.gripper, open_m, closed_m)
            topics = dataclasses.replace(topics, command=dataclasses.replace(topics.command, gripper=gripper))
        return dataclasses.replace(self, topics=topics)

    def used(self) -> Iterator[tuple[str, str]]:
        """Every key that names a topic, and the topic."""
        for name, camera in self.cameras.items():
            for part in ("rgb", "depth", "camera_info"):
                if topic := getattr(camera, part):
                    yield f"cameras.{name}.{part}", topic
        topics = self.topics
        values = {
            "tool.topic": topics.tool and topics.tool.topic,
            "gripper.value": topics.gripper and topics.gripper.value,
            "joints.topic": topics.joints and topics.joints.topic,
            "command.topic": topics.command and topics.command.topic,
            "command.gripper.value": topics.command and topics.command.gripper and topics.command.gripper.value,
            "episodes.topic": topics.episodes.topic,
            "success": topics.success,
            "task": topics.task,
        }
        yield from ((key, split_topic(value)[0]) for key, value in values.items() if value)


def split_topic(value: str) -> tuple[str, str]:
    """Topic and field of `TOPIC:FIELD`; the field is empty where none is named."""
    topic, _, path = value.partition(":")
    return topic, path


def parse_topics(values: Mapping[str, Any], origin: str) -> TopicMapping:
    """Checks a mapping of topics.

    Raises:
        ConfigError: an unknown key, a value of another type, no camera, or something that cannot be guessed.
    """
    values = dict(values)
    cameras = values.pop("cameras", None) or {}
    if not isinstance(cameras, Mapping) or not cameras:
        raise ConfigError(f"cameras of {origin} must hold one key per camera, such as wrist: {{rgb: /image_raw}}")
    parsed = {str(name): parse(camera, CameraTopics, prefix=f"cameras.{name}.") for name, camera in cameras.items()}
    mapping = TopicMapping(parse(values, Topics), parsed, origin)
    for name, camera in parsed.items():
        if camera.rgb is None and camera.depth is None:
            raise ConfigError(f"cameras.{name} of {origin} names neither rgb nor depth")
    if mapping.primary not in parsed:
        raise ConfigError(f"primary={mapping.primary} of {origin} is none of the cameras {', '.join(parsed)}")
    return mapping


def check_complete(mapping: TopicMapping) -> None:
    """Asks for what cannot be guessed, by name.

    Raises:
        ConfigError: it lists the keys that are missing.
    """
    topics, missing = mapping.topics, []
    if topics.tool is not None and topics.tool.topic is None and not (topics.tool.base and topics.tool.frame):
        missing.append("tool.topic, or tool.base and tool.frame of tf")
    if any(camera.frame for camera in mapping.cameras.values()) and not (topics.tool and topics.tool.base):
        missing.append("tool.base, the tf frame that camera frames are told in")
    if topics.joints is not None and not topics.joints.topic:
        missing.append("joints.topic")
    if topics.command is not None and not topics.command.topic:
        missing.append("command.topic")
    commanded = None if topics.command is None else topics.command.gripper
    for key, gripper in (("gripper", topics.gripper), ("command.gripper", commanded)):
        if gripper is not None and not all(split_topic(gripper.value)):
            missing.append(f"{key}.value as TOPIC:FIELD")
        missing += missing_ranges(key, gripper)
    if missing:
        raise ConfigError(f"{mapping.origin} does not say: {'; '.join(missing)}")
