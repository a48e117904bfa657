"""A fake of rclpy 9.1.2 (ROS 2 Kilted) and of some messages, with an arm and a camera behind the topics."""

import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from vendor_world import World, publish

from simtoreal import frames

PACKAGE = "ros-rclpy==9.1.2"
CLASSES = {
    "rclpy.node": ["Node"],
    "rclpy.action": ["ActionClient"],
    "rclpy.executors": ["SingleThreadedExecutor"],
    "rclpy.context": ["Context"],
}
JOINTS = tuple(f"lbr_iiwa_joint_{i}" for i in range(1, 8))
WALL_S = 1.7e9


def record(**fields: Any) -> Callable[[], types.SimpleNamespace]:
    """A message class: a call makes one with its fields at their defaults."""

    def make() -> types.SimpleNamespace:
        return types.SimpleNamespace(**{key: value() if callable(value) else value for key, value in fields.items()})

    return make


Stamp = record(sec=0, nanosec=0)
Header = record(stamp=Stamp, frame_id="")
Vector = record(x=0.0, y=0.0, z=0.0)
Twist = record(linear=Vector, angular=Vector)
TwistStamped = record(header=Header, twist=Twist)
JointTrajectory = record(header=Header, joint_names=list, points=list)
JointTrajectoryPoint = record(positions=list, time_from_start=Stamp)
JointState, Image, CameraInfo = "JointState", "Image", "CameraInfo"


class Context:
    def __init__(self) -> None:
        self.is_up = False

    def try_shutdown(self) -> None:
        self.is_up = False


class SingleThreadedExecutor:
    def __init__(self, *, context: Context | None = None) -> None:
        self._ended = threading.Event()

    def add_node(self, node: "Node") -> bool:
        return True

    def spin(self) -> None:
        self._ended.wait()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        self._ended.set()
        return True


class Publisher:
    def __init__(self, world: World, topic: str) -> None:
        self.world, self.topic = world, topic

    def publish(self, message: Any) -> None:
        world = self.world
        world.calls.append(self.topic)
        if hasattr(message, "points"):
            assert tuple(message.joint_names) == JOINTS
            assert message.points[0].time_from_start.nanosec == 50_000_000
            world.q_goal = np.array(message.points[0].positions)
        else:
            assert message.header.frame_id == "base"
            speed, turn = ([part.x, part.y, part.z] for part in (message.twist.linear, message.twist.angular))
            world.twist = np.array(speed), np.array(turn)


class Node:
    world: World

    def __init__(self, node_name: str, *, context: Context | None = None) -> None:
        self.heard: dict[str, Callable[[Any], None]] = {}

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Callable[[Any], None], qos_profile: Any
    ) -> types.SimpleNamespace:
        self.world.subscriptions[topic] = callback
        self.world.send()
        return types.SimpleNamespace()

    def create_publisher(self, msg_type: Any, topic: str, qos_profile: Any) -> Publisher:
        return Publisher(self.world, topic)

    def get_clock(self) -> types.SimpleNamespace:
        nanoseconds = round(1e9 * (WALL_S + self.world.clock.now()))
        return types.SimpleNamespace(now=lambda: types.SimpleNamespace(nanoseconds=nanoseconds, to_msg=Stamp))

    def destroy_node(self) -> None:
        self.world.calls.append("destroy_node")
        self.world.subscriptions.clear()


class ActionClient:
    world: World

    def __init__(self, node: Node, action_type: Any, action_name: str) -> None:
        assert action_name == "/gripper_controller/gripper_cmd"

    def server_is_ready(self) -> bool:
        return True

    def send_goal_async(self, goal: Any, feedback_callback: Any = None, goal_uuid: Any = None) -> types.SimpleNamespace:
        self.world.calls.append(f"grip {goal.command.position:.3f} {goal.command.max_effort:g}")
        self.world.width_goal_m = 2.0 * goal.command.position
        return types.SimpleNamespace()


class TransformException(Exception):
    pass


class Buffer:
    world: World

    def can_transform(self, target_frame: str, source_frame: str, time: Any) -> bool:
        return (target_frame, source_frame) == ("base", "tool0")

    def lookup_transform(self, target_frame: str, source_frame: str, time: Any) -> types.SimpleNamespace:
        if self.world.is_lost:
            raise TransformException('"base" passed to lookupTransform argument target_frame does not exist.')
        T = self.world.T
        q = frames.rotation_to_quat(T[:3, :3])
        transform = types.SimpleNamespace(
            translation=types.SimpleNamespace(x=T[0, 3], y=T[1, 3], z=T[2, 3]),
            rotation=types.SimpleNamespace(x=q[0], y=q[1], z=q[2], w=q[3]),
        )
        return types.SimpleNamespace(header=self.world.header(), transform=transform)


class RosWorld(World):
    """A world that talks in topics, and moves by twists too."""

    def __init__(self, joints: np.ndarray) -> None:
        self.subscriptions: dict[str, Callable[[Any], None]] = {}
        self.twist = np.zeros(3), np.zeros(3)
        self.names = [*reversed(JOINTS), "finger_joint"]  # in an order of its own, as drivers have it
        self.encoding, self.is_silent = "bgr8", False
        super().__init__(joints)

    def header(self) -> types.SimpleNamespace:
        stamp_s = self.clock.now()
        whole = int(stamp_s)
        return types.SimpleNamespace(
            frame_id="", stamp=types.SimpleNamespace(sec=int(WALL_S) + whole, nanosec=round(1e9 * (stamp_s - whole)))
        )

    def send(self) -> None:
        if self.is_silent or self.is_lost:
            return
        rgb = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
        depth = np.full((24, 32), 400, dtype="<u2")
        depth[0, 0] = 0
        header = self.header()
        at = dict(zip(JOINTS, self.q, strict=True)) | {"finger_joint": 0.5 * self.width_m}
        messages = {
            "/joint_states": types.SimpleNamespace(
                header=header, name=self.names, position=[at.get(name, 0.0) for name in self.names]
            ),
            "/camera/color/image_raw": types.SimpleNamespace(
                header=header, encoding=self.encoding, height=24, width=32, step=100, is_bigendian=0,
                data=np.pad(rgb[..., ::-1].reshape(24, 96), ((0, 0), (0, 4))).tobytes(),
            ),
            "/depth": types.SimpleNamespace(
                header=header, encoding="16UC1", height=24, width=32, step=64, is_bigendian=0, data=depth.tobytes()
            ),
            "/camera/color/camera_info": types.SimpleNamespace(
                k=[40.0, 0, 15.5, 0, 40.0, 11.5, 0, 0, 1], d=[0.1, 0, 0, 0, 0], distortion_model="plumb_bob"
            ),
        }  # fmt: skip
        for topic, callback in list(self.subscriptions.items()):
            callback(messages[topic])

    def _tick(self) -> None:
        passed_s = self.clock.now() - self._last_s
        super()._tick()
        if not (self.is_stuck or self.is_lost):
            self.T_goal = self.T = frames.moved(self.T, passed_s * self.twist[0], passed_s * self.twist[1])
        self.send()


def install(monkeypatch: pytest.MonkeyPatch, world: RosWorld) -> None:
    Node.world = ActionClient.world = Buffer.world = world
    goal = record(command=record(position=0.0, max_effort=0.0))
    publish(monkeypatch, "rclpy", Context=Context, init=_init, create_node=lambda name, *, context: Node(name))
    publish(monkeypatch, "rclpy.signals", SignalHandlerOptions=types.SimpleNamespace(NO=0))
    publish(monkeypatch, "rclpy.time", Time=record())
    publish(monkeypatch, "rclpy.qos", qos_profile_sensor_data="sensor data")
    publish(monkeypatch, "rclpy.action", ActionClient=ActionClient)
    publish(
        monkeypatch, "rclpy.executors", SingleThreadedExecutor=SingleThreadedExecutor,
        ExternalShutdownException=type("ExternalShutdownException", (Exception,), {}),
        ShutdownException=type("ShutdownException", (Exception,), {}),
    )  # fmt: skip
    publish(monkeypatch, "sensor_msgs.msg", JointState=JointState, Image=Image, CameraInfo=CameraInfo)
    publish(
        monkeypatch, "trajectory_msgs.msg", JointTrajectory=JointTrajectory, JointTrajectoryPoint=JointTrajectoryPoint
    )
    publish(monkeypatch, "geometry_msgs.msg", TwistStamped=TwistStamped)
    publish(monkeypatch, "control_msgs.action", GripperCommand=types.SimpleNamespace(Goal=goal))
    publish(
        monkeypatch, "tf2_ros", Buffer=Buffer, TransformException=TransformException,
        TransformListener=lambda buffer, node: None,
    )  # fmt: skip


def _init(*, args: Any = None, context: Context | None = None, signal_handler_options: Any = None) -> None:
    assert signal_handler_options == 0, "Ctrl-C is the stop switch's"
    assert context is not None
    context.is_up = True
