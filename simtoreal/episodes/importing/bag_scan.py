"""The first pass over a recording of topics: where its episodes are, how its clocks run, what its cameras are.

Only small things are kept: stamps of a bounded number of messages, the first picture's size, transforms that are fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from simtoreal.episodes.importing.bags import Bag, BagMessage
from simtoreal.episodes.importing.encoded_images import ImageSize
from simtoreal.episodes.importing.message_types import read_field
from simtoreal.episodes.importing.ros_values import image_size, pose_of, stamp_ns
from simtoreal.episodes.importing.row_mapping import FloatArray
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.importing.stream_clock import StampLog, StreamClock, choose_clock
from simtoreal.episodes.importing.topic_mapping import TopicMapping, split_topic
from simtoreal.episodes.importing.transform_tree import TransformTree
from simtoreal.episodes.timeline import TimingReport
from simtoreal.schema import closest

TF, TF_STATIC = "/tf", "/tf_static"
MAX_TASKS = 100_000


class Window(NamedTuple):
    """When an episode was received; `stop_ns` is None where the recording ends with it."""

    start_ns: int
    stop_ns: int | None


class Calibration(NamedTuple):
    """What CameraInfo says."""

    K: FloatArray
    distortion: FloatArray | None
    size: ImageSize


@dataclass(frozen=True)
class BagScan:
    """What one pass over a recording found out."""

    start_ns: int
    windows: Sequence[Window]
    clocks: Mapping[str, StreamClock]
    sizes: Mapping[str, ImageSize]  # of the pictures of each topic
    calibrations: Mapping[str, Calibration]  # by topic of CameraInfo
    fixed: TransformTree
    tasks: Sequence[tuple[int, str]]  # what the task's topic said, and when it was received
    timing: TimingReport
    remarks: Sequence[str]
    broken: str  # why the recording could not be read to its end, empty if it could

    @property
    def num_episodes(self) -> int:
        """Episodes that begin in it, and one more for what is lost behind the last one where it breaks off."""
        is_lost = bool(self.broken) and all(window.stop_ns is not None for window in self.windows)
        return len(self.windows) + is_lost

    def task(self, window: Window) -> str:
        """The last words about the task before an episode ends, empty if there are none."""
        said = [text for at_ns, text in self.tasks if window.stop_ns is None or at_ns <= window.stop_ns]
        return said[-1] if said else ""

    def num_messages(self, topic: str) -> int:
        """Messages of a topic in the whole recording."""
        return next((stream.num for stream in self.timing.streams if stream.name == topic), 0)

    def rate_hz(self, topic: str) -> float:
        """Messages per second of a topic, 0 if there are none."""
        return next((stream.rate_hz for stream in self.timing.streams if stream.name == topic), 0.0)


def topics_of(mapping: TopicMapping, bag: Bag) -> set[str]:
    """The topics that a mapping needs.

    Raises:
        SourceError: one of them is not in the recording; the message lists what is.
    """
    needed = dict(mapping.used())
    absent = [
        f"{key}={topic}{closest(topic, list(bag.topics))}" for key, topic in needed.items() if topic not in bag.topics
    ]
    if mapping.needs_tf and not {TF, TF_STATIC} & set(bag.topics):
        absent.append(f"{TF} and {TF_STATIC}, which frames of the mapping need.")
    if absent:
        listed = ", ".join(f"{topic} ({kind})" for topic, kind in bag.topics.items()) or "none"
        damage = f" The file is damaged as well: {bag.problem}" if bag.problem else ""
        raise SourceError(f"topics are not there: {' '.join(absent)} The recording has: {listed}.{damage}", bag.path)
    return {*needed.values(), *({TF, TF_STATIC} & set(bag.topics) if mapping.needs_tf else set())}


def scan(bag: Bag, mapping: TopicMapping, max_gap_s: float) -> BagScan:
    """Reads a recording once.

    Raises:
        SourceError: it holds none of the topics, or nothing at all.
    """
    return _Scan(bag, mapping, max_gap_s).result()


class _Scan:
    def __init__(self, bag: Bag, mapping: TopicMapping, max_gap_s: float) -> None:
        self._bag, self._mapping, self._max_gap_s = bag, mapping, max_gap_s
        self._topics = topics_of(mapping, bag)
        self._pictures = {
            topic for camera in mapping.cameras.values() for topic in (camera.rgb, camera.depth) if topic is not None
        }
        self._camera_infos = {camera.camera_info for camera in mapping.cameras.values()}
        self._logs: dict[str, StampLog] = {}
        self._sizes: dict[str, ImageSize] = {}
        self._calibrations: dict[str, Calibration] = {}
        self._fixed = TransformTree(max_gap_s)
        self._bounds = _Bounds(mapping)
        self._task_topic, self._task_field = split_topic(mapping.topics.task or "")
        self._tasks: list[tuple[int, str]] = []
        self._start_ns: int | None = None
        self._broken = ""

    def result(self) -> BagScan:
        try:
            for message in self._bag.messages(self._topics):
                if self._start_ns is None:
                    self._start_ns = message.received_ns
                self._take(message)
        except SourceError as error:
            self._broken = str(error)
        if self._start_ns is None:
            raise SourceError(self._broken or "no message of the mapped topics is in it", self._bag.path)
        clocks, remarks = dict[str, StreamClock](), list[str]()
        for topic, log in self._logs.items():
            clocks[topic], told = choose_clock(log, self._mapping.topics.clock)
            remarks += told
        fits = {topic: fit for topic, log in self._logs.items() if (fit := log.fit()) is not None}
        streams = [log.timing(self._max_gap_s) for log in self._logs.values()]
        return BagScan(
            self._start_ns,
            self._bounds.windows(self._start_ns),
            clocks,
            self._sizes,
            self._calibrations,
            self._fixed,
            self._tasks,
            TimingReport(streams, fits, remarks=remarks),
            remarks,
            self._broken,
        )

    def _take(self, message: BagMessage) -> None:
        decoded, topic = message.decoded(), message.topic
        if topic == TF_STATIC:
            for transform in decoded.transforms:
                self._fixed.add(transform.header.frame_id, transform.child_frame_id, pose_of(transform), None)
            return
        self._log(message, decoded)
        if topic in self._pictures and topic not in self._sizes:
            self._sizes[topic] = image_size(decoded)
        if topic in self._camera_infos and topic not in self._calibrations:
            self._calibrations[topic] = _calibration(decoded)
        self._bounds.take(message, decoded)
        if topic == self._task_topic and len(self._tasks) < MAX_TASKS:
            self._tasks.append((message.received_ns, str(read_field(decoded, self._task_field or "data"))))

    def _log(self, message: BagMessage, decoded: Any) -> None:
        assert self._start_ns is not None
        log = self._logs.setdefault(message.topic, StampLog(message.topic))
        first = decoded.transforms[0] if message.topic == TF and len(decoded.transforms) else decoded
        stamp = stamp_ns(first)
        log.add(
            None if stamp is None else (stamp - self._start_ns) * 1e-9,
            (message.received_ns - self._start_ns) * 1e-9,
        )


class _Bounds:
    """Finds where episodes begin and end."""

    def __init__(self, mapping: TopicMapping) -> None:
        self._settings = mapping.topics.episodes
        self._topic, self._field = split_topic(self._settings.topic or "")
        self._windows: list[Window] = []
        self._begun_ns: int | None = None

    def take(self, message: BagMessage, decoded: Any) -> None:
        if not self._topic or message.topic != self._topic:
            return
        begins = self._begins(read_field(decoded, self._field or "data"))
        if begins is None or begins == (self._begun_ns is not None):
            return  # neither word, or said again
        if begins:
            self._begun_ns = message.received_ns
        elif self._begun_ns is not None:
            self._windows.append(Window(self._begun_ns, message.received_ns))
            self._begun_ns = None

    def windows(self, start_ns: int) -> list[Window]:
        if not self._topic:
            return [Window(start_ns, None)]
        open_ended = [] if self._begun_ns is None else [Window(self._begun_ns, None)]
        return [*self._windows, *open_ended]

    def _begins(self, value: Any) -> bool | None:
        if isinstance(value, str):
            return {self._settings.start: True, self._settings.stop: False}.get(value.strip())
        return bool(value)


def _calibration(message: Any) -> Calibration:
    """Intrinsics of a CameraInfo; ROS 1 writes its fields in capitals."""
    K = np.asarray(getattr(message, "k", getattr(message, "K", None)), dtype=np.float64).reshape(3, 3)
    coefficients = np.asarray(getattr(message, "d", getattr(message, "D", ())), dtype=np.float64).reshape(-1)
    size = ImageSize(int(message.width), int(message.height))
    if not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise SourceError(f"CameraInfo is not calibrated: K = {K.tolist()}")
    if message.distortion_model not in ("plumb_bob", "") and coefficients.any():
        raise SourceError(
            f"the distortion model {message.distortion_model!r} is not read, plumb_bob is: give K and distortion "
            "of the camera in the mapping, or rectify the pictures"
        )
    return Calibration(K, coefficients[:5] if coefficients.size >= 5 and coefficients.any() else None, size)
