"""Small recordings of topics, written by the real libraries: an arm that moves in front of a camera."""

import io
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Bag1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Bag2Writer
from rosbags.typesys import Stores, get_typestore

ROS2 = get_typestore(Stores.ROS2_HUMBLE)
ROS1 = get_typestore(Stores.ROS1_NOETIC)
START_NS = 1_700_000_000_000_000_000
WIDTH_PX, HEIGHT_PX = 64, 48
K = (60.0, 61.0, 31.5, 23.5)

MAPPING = """
cameras:
  wrist:
    rgb: /camera/image
    depth: /camera/depth
    camera_info: /camera/info
    mount: wrist
    T_mount_cam: [0.05, 0, -0.1, 0, 0, 0, 1]
tool: {topic: /tool_pose}
gripper: {value: "/gripper:position", names: [finger_1, finger_2], combine: sum, unit_m: 1.0}
joints: {topic: /gripper, names: [finger_2, finger_1]}
command: {topic: /command, kind: target, gripper: {value: "/command_width:data", unit_m: 1.0}}
success: /success:data
task: /task:data
robot: ur5
"""


def mapping_with(folder: Path, text: str = MAPPING, **changes: str) -> str:
    """A mapping file with lines replaced."""
    for before, after in changes.items():
        assert before.replace("__", " ") in text
        text = text.replace(before.replace("__", " "), after)
    path = folder / "topics.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


class Entry(NamedTuple):
    """A message, and when it was received, in seconds from the start."""

    received_s: float
    topic: str
    kind: str
    message: Any


class Timing(NamedTuple):
    """How the clock of the camera runs, and how long its messages travel."""

    offset_s: float = 0.0
    drift_ppm: float = 0.0
    delay_s: float = 0.004
    delay_spread_s: float = 0.0
    command_lead_s: float = 0.0  # how much earlier the command is where the tool will be


def position_m(t_s: float) -> tuple[float, float, float]:
    """Where the tool is: a path that does not repeat itself."""
    return (0.4 + 0.1 * math.sin(1.3 * t_s + 0.4 * t_s**1.5 / 2), 0.05 * math.cos(2.1 * t_s), 0.3 - 0.02 * t_s)


def yaw_rad(t_s: float) -> float:
    return 0.3 * math.sin(0.9 * t_s)


def arm_log(
    duration_s: float = 2.0, timing: Timing | None = None, store: Any = ROS2, without: Iterable[str] = ()
) -> list[Entry]:
    """Everything that `MAPPING` names, in the order it was received."""
    make, timing = Messages(store), timing or Timing()
    rng = np.random.default_rng(0)
    entries = [Entry(0.0, "/task", "std_msgs/msg/String", make("std_msgs/msg/String", data="lift the mug"))]
    for t_s in np.arange(0.0, duration_s, 0.01):
        entries += make.arm(float(t_s), timing)
    for index, t_s in enumerate(np.arange(0.1, duration_s - 0.1, 0.05)):
        delay_s = timing.delay_s + float(rng.exponential(timing.delay_spread_s) if timing.delay_spread_s else 0.0)
        stamp_s = float(t_s) - timing.offset_s - 1e-6 * timing.drift_ppm * float(t_s)
        entries += [entry._replace(received_s=float(t_s) + delay_s) for entry in make.pictures(stamp_s, index)]
    entries.append(Entry(duration_s, "/success", "std_msgs/msg/Bool", make("std_msgs/msg/Bool", data=True)))
    left_out = set(without)
    return sorted((entry for entry in entries if entry.topic not in left_out), key=lambda entry: entry.received_s)


class Messages:
    """Makes messages of a typestore."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __call__(self, kind: str, **fields: Any) -> Any:
        if self.store is ROS1 and kind == "std_msgs/msg/Header":
            fields["seq"] = 0
        return self.store.types[kind](**fields)

    def header(self, stamp_s: float, frame: str = "base") -> Any:
        stamp_ns = START_NS + round(stamp_s * 1e9)
        stamp = self("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def pose(self, t_s: float) -> Any:
        x, y, z = position_m(t_s)
        half = yaw_rad(t_s) / 2
        return self(
            "geometry_msgs/msg/Pose",
            position=self("geometry_msgs/msg/Point", x=x, y=y, z=z),
            orientation=self("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=math.sin(half), w=math.cos(half)),
        )

    def transform(self, stamp_s: float, parent: str, child: str, values: tuple[float, ...]) -> Any:
        x, y, z, qx, qy, qz, qw = values
        return self(
            "geometry_msgs/msg/TransformStamped",
            header=self.header(stamp_s, parent),
            child_frame_id=child,
            transform=self(
                "geometry_msgs/msg/Transform",
                translation=self("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
                rotation=self("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
            ),
        )

    def arm(self, t_s: float, timing: Timing) -> list[Entry]:
        received_s = t_s + 0.001
        fingers = np.array([0.02 + 0.005 * math.sin(t_s), 0.021])
        stamped = "geometry_msgs/msg/PoseStamped"
        width = self("std_msgs/msg/Float64", data=0.05)
        joints = self(
            "sensor_msgs/msg/JointState",
            header=self.header(t_s),
            name=["finger_1", "finger_2"],
            position=fingers,
            velocity=np.zeros(0),
            effort=np.zeros(0),
        )
        commanded = self(stamped, header=self.header(t_s), pose=self.pose(t_s + timing.command_lead_s))
        return [
            Entry(received_s, "/tool_pose", stamped, self(stamped, header=self.header(t_s), pose=self.pose(t_s))),
            Entry(received_s, "/command", stamped, commanded),
            Entry(received_s, "/gripper", "sensor_msgs/msg/JointState", joints),
            Entry(received_s, "/command_width", "std_msgs/msg/Float64", width),
        ]

    def pictures(self, stamp_s: float, index: int) -> list[Entry]:
        """A picture whose red says its number and whose upper left corner is blue, depth, and calibration."""
        rgb = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        rgb[..., 0] = (index * 4) % 256
        rgb[: HEIGHT_PX // 2, : WIDTH_PX // 2, 2] = 200
        depth = np.full((HEIGHT_PX, WIDTH_PX), 500 + index, np.uint16)
        depth[0, 0] = 0
        roi = self("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        fx, fy, cx, cy = K
        names = ("D", "K", "R", "P") if self.store is ROS1 else ("d", "k", "r", "p")
        values = (np.zeros(5), np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]), np.eye(3).ravel(), np.zeros(12))
        info = self(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(stamp_s),
            height=HEIGHT_PX,
            width=WIDTH_PX,
            distortion_model="plumb_bob",
            binning_x=0,
            binning_y=0,
            roi=roi,
            **dict(zip(names, values, strict=True)),
        )
        return [
            Entry(0.0, "/camera/info", "sensor_msgs/msg/CameraInfo", info),
            Entry(0.0, "/camera/image", "sensor_msgs/msg/Image", self.image(stamp_s, "rgb8", rgb)),
            Entry(0.0, "/camera/depth", "sensor_msgs/msg/Image", self.image(stamp_s, "16UC1", depth)),
        ]

    def image(self, stamp_s: float, encoding: str, pixels: np.ndarray[Any, Any]) -> Any:
        return self(
            "sensor_msgs/msg/Image",
            header=self.header(stamp_s, "camera"),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=0,
            step=pixels.strides[0],
            data=pixels.view(np.uint8).ravel(),
        )


def write_mcap(
    path: Path,
    entries: Iterable[Entry],
    compression: CompressionType = CompressionType.ZSTD,
    chunk_bytes: int = 50_000,
) -> Path:
    """An MCAP file as `ros2 bag record` makes it."""
    with path.open("wb") as stream:
        writer = McapWriter(stream, compression=compression, chunk_size=chunk_bytes)
        writer.start(profile="ros2", library="test")
        channels: dict[str, int] = {}
        for entry in entries:
            if entry.topic not in channels:
                definition = ROS2.generate_msgdef(entry.kind, ros_version=2)[0]
                schema = writer.register_schema(entry.kind, "ros2msg", definition.encode())
                channels[entry.topic] = writer.register_channel(entry.topic, "cdr", schema)
            at_ns = START_NS + round(entry.received_s * 1e9)
            data = bytes(ROS2.serialize_cdr(entry.message, entry.kind))
            writer.add_message(channels[entry.topic], at_ns, data, at_ns)
        writer.finish()
    return path


def write_rosbag2(folder: Path, entries: Iterable[Entry], storage: str) -> Path:
    """A rosbag2 folder with SQLite or MCAP storage."""
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with Bag2Writer(folder, version=9, storage_plugin=plugin) as writer:
        _write(writer, entries, ROS2, lambda entry: ROS2.serialize_cdr(entry.message, entry.kind))
    return folder


def write_rosbag1(path: Path, entries: Iterable[Entry]) -> Path:
    """A ROS 1 bag."""
    with Bag1Writer(path) as writer:
        _write(writer, entries, ROS1, lambda entry: ROS1.serialize_ros1(entry.message, entry.kind))
    return path


def _write(writer: Any, entries: Iterable[Entry], store: Any, serialize: Callable[[Entry], Any]) -> None:
    connections: dict[str, Any] = {}
    for entry in entries:
        if entry.topic not in connections:
            connections[entry.topic] = writer.add_connection(entry.topic, entry.kind, typestore=store)
        writer.write(connections[entry.topic], START_NS + round(entry.received_s * 1e9), serialize(entry))


def record_ends(data: bytes) -> Iterator[int]:
    """Where each record of an MCAP file ends."""
    from mcap.stream_reader import StreamReader

    stream = io.BytesIO(data)
    for _ in StreamReader(stream, emit_chunks=True).records:
        yield stream.tell()
