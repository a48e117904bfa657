"""Arms behind ROS 2: joint trajectories for a `joint_trajectory_controller`, or twists for a Cartesian servo.

| control | sends | reads |
|---|---|---|
| `joints` | `trajectory_msgs/JointTrajectory` with one point, a control period ahead | `sensor_msgs/JointState` |
| `twist` | `geometry_msgs/TwistStamped` in the base frame, as MoveIt Servo takes it | `JointState`, tf of the tool |

The gripper is a joint of `JointState`, and is commanded through the action `control_msgs/GripperCommand`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.controllers.arm import ArmCommand, ArmState, checked_vector, checked_width
from simtoreal.controllers.arms.ros_link import RosLink, ros
from simtoreal.controllers.joint_arm import JointReading
from simtoreal.controllers.link_errors import LinkError
from simtoreal.schema import option

FloatArray = NDArray[np.float64]
_SAME_M = 1e-3  # openings that differ by less are one command
_DEPTH = 1  # of queues: only the newest counts


@dataclass(frozen=True)
class RosTwist:
    """A Cartesian servo."""

    topic: str = option("/servo_node/delta_twist_cmds", "that it listens on")
    base_frame: str = option("base_link", "tf frame of the arm's base")
    tool_frame: str = option("tool0", "tf frame of the arm's tool")
    gain_hz: float = option(
        4.0, "speed for an error of one: the setpoint is reached in about 1 / gain", minimum=0.1, maximum=50
    )
    max_speed_m_s: float = option(0.3, "of the tool", unit="m/s", minimum=0.001, maximum=2.0)
    max_speed_rad_s: float = option(1.0, "of the tool", unit="rad/s", minimum=0.01, maximum=6.0)


@dataclass(frozen=True)
class RosSettings:
    """Names of topics, actions and joints."""

    joint_states: str = option("/joint_states", "topic of sensor_msgs/JointState")
    trajectory: str = option("/joint_trajectory_controller/joint_trajectory", "topic of a joint trajectory controller")
    twist: RosTwist | None = option(None, "a Cartesian servo, instead of joint trajectories (and chain)")
    gripper_action: str = option("/gripper_controller/gripper_cmd", "action of control_msgs/GripperCommand")
    gripper_joint: str = option("finger_joint", "of the gripper in joint_states")
    gripper_open_position: float = option(0.04, "of that joint when open")
    gripper_closed_position: float = option(0.0, "of that joint when closed")
    gripper_open_m: float = option(0.08, "opening when open", unit="m", minimum=0.005, maximum=0.5)
    gripper_effort: float = option(20.0, "max_effort of the action", minimum=0.0, maximum=500.0)
    timeout_s: float = option(5.0, "for the first messages", unit="s", minimum=0.1, maximum=60.0)


class RosBody:
    """What both kinds of control share: joint states and the gripper."""

    def __init__(self, settings: RosSettings, link: RosLink, joints: Sequence[str]) -> None:
        self.settings, self.link, self._joints = settings, link, tuple(joints)
        self.node: Any = None
        self._reading: JointReading | None = None
        self._problem = ""
        self._gripper: Any = None
        self._told_m = math.nan

    def connect(self) -> None:
        """Subscribes, and waits for the first state and the gripper.

        Raises:
            LinkError: they do not come.
        """
        given = self.settings
        messages, control, action = ros("sensor_msgs.msg"), ros("control_msgs.action"), ros("rclpy.action")
        self.node = self.link.open()
        self.node.create_subscription(messages.JointState, given.joint_states, self._on_joints, _DEPTH)
        self._gripper = action.ActionClient(self.node, control.GripperCommand, given.gripper_action)
        self.link.wait_for(lambda: bool(self._reading or self._problem), given.joint_states, given.timeout_s)
        self.read()
        self.link.wait_for(self._gripper.server_is_ready, given.gripper_action, given.timeout_s)

    def read(self) -> JointReading:
        """The newest joints.

        Raises:
            LinkError: there are none, or they lack a joint.
        """
        problem, reading = self._problem, self._reading
        if self.node is None or problem or reading is None:
            raise LinkError(problem or "the ROS 2 arm is not connected: call connect() first")
        return reading

    def grip(self, width_m: float) -> None:
        """Sends the gripper a goal where it differs from the last one; never waits."""
        if abs(width_m - self._told_m) < _SAME_M:
            return
        given = self.settings
        share = min(max(width_m / given.gripper_open_m, 0.0), 1.0)
        goal = ros("control_msgs.action").GripperCommand.Goal()
        goal.command.position = given.gripper_closed_position + share * (
            given.gripper_open_position - given.gripper_closed_position
        )
        goal.command.max_effort = given.gripper_effort
        self._gripper.send_goal_async(goal)
        self._told_m = width_m

    def disconnect(self) -> None:
        if self.node is not None:
            self.node = None
            self._reading, self._problem, self._told_m = None, "", math.nan
            self.link.close()

    def _on_joints(self, message: Any) -> None:
        given, at = self.settings, dict(zip(message.name, message.position, strict=False))
        if not any(name in at for name in (*self._joints, given.gripper_joint)):
            return  # of another device on the same topic
        missing = [name for name in (*self._joints, given.gripper_joint) if name not in at]
        if missing:
            self._problem = f"{given.joint_states} lacks {', '.join(missing)}; it has {', '.join(message.name)}"
            return
        try:
            joints = checked_vector(given.joint_states, [at[name] for name in self._joints], len(self._joints))
            width_m = self._width_m(float(at[given.gripper_joint]))
        except LinkError as error:
            self._problem = str(error)
            return
        self._problem = ""
        self._reading = JointReading(self.link.received_s(message.header.stamp), joints, width_m)

    def _width_m(self, position: float) -> float:
        given = self.settings
        span = given.gripper_open_position - given.gripper_closed_position
        share = (position - given.gripper_closed_position) / span
        return checked_width(given.gripper_joint, given.gripper_open_m * min(max(share, 0.0), 1.2))


class RosJoints:
    """A `JointDriver` for a joint trajectory controller."""

    def __init__(self, body: RosBody, joints: Sequence[str], period_s: float) -> None:
        self._body, self._joints, self._period_s = body, tuple(joints), period_s
        self._publisher: Any = None

    def connect(self) -> None:
        self._body.connect()
        message = ros("trajectory_msgs.msg").JointTrajectory
        self._publisher = self._body.node.create_publisher(message, self._body.settings.trajectory, _DEPTH)

    def read_joints(self) -> JointReading:
        return self._body.read()

    def command_joints(self, joint_positions_rad: FloatArray, gripper_width_m: float) -> tuple[FloatArray, float]:
        self._body.read()
        self._publish(joint_positions_rad)
        self._body.grip(gripper_width_m)
        return joint_positions_rad, gripper_width_m

    def stop(self) -> None:
        """Replaces the trajectory by the joints as they are."""
        if self._publisher is not None and self._body.node is not None:
            self._publish(self._body.read().joint_positions_rad)

    def disconnect(self) -> None:
        self._publisher = None
        self._body.disconnect()

    def _publish(self, joint_positions_rad: FloatArray) -> None:
        messages = ros("trajectory_msgs.msg")
        point = messages.JointTrajectoryPoint()
        point.positions = joint_positions_rad.tolist()
        whole_s = int(self._period_s)
        point.time_from_start.sec, point.time_from_start.nanosec = whole_s, round(1e9 * (self._period_s - whole_s))
        trajectory = messages.JointTrajectory()  # its stamp stays zero, which means at once
        trajectory.joint_names, trajectory.points = list(self._joints), [point]
        self._publisher.publish(trajectory)


class RosTwistArm:
    """An `Arm` behind a Cartesian servo, which is sent the speed that leads to the setpoint."""

    def __init__(self, body: RosBody, twist: RosTwist) -> None:
        self._body, self._twist = body, twist
        self._publisher: Any = None
        self._tf: Any = None
        self._listener: Any = None

    def connect(self) -> None:
        self._body.connect()
        node, link, given = self._body.node, self._body.link, self._twist
        tf = ros("tf2_ros")
        self._tf = tf.Buffer()
        self._listener = tf.TransformListener(self._tf, node)
        self._publisher = node.create_publisher(ros("geometry_msgs.msg").TwistStamped, given.topic, _DEPTH)
        newest = ros("rclpy.time").Time()
        link.wait_for(
            lambda: bool(self._tf.can_transform(given.base_frame, given.tool_frame, newest)),
            f"tf from {given.base_frame} to {given.tool_frame}", self._body.settings.timeout_s,
        )  # fmt: skip

    def read_state(self) -> ArmState:
        reading, given = self._body.read(), self._twist
        try:
            found = self._tf.lookup_transform(given.base_frame, given.tool_frame, ros("rclpy.time").Time())
        except ros("tf2_ros").TransformException as error:
            raise LinkError(f"tf from {given.base_frame} to {given.tool_frame}: {error}") from error
        at, q = found.transform.translation, found.transform.rotation
        position = checked_vector("tf translation", [at.x, at.y, at.z], 3)
        T = frames.from_quat(position, checked_vector("tf rotation", [q.x, q.y, q.z, q.w], 4))
        t_s = min(self._body.link.received_s(found.header.stamp), reading.t_s)
        return ArmState(
            t_s, T, reading.gripper_width_m, reading.joint_positions_rad if len(reading.joint_positions_rad) else None
        )

    def command(self, command: ArmCommand) -> ArmCommand:
        at, goal, given = self.read_state().T_robot_tool, command.T_robot_tool, self._twist
        speed = _limited(given.gain_hz * (goal[:3, 3] - at[:3, 3]), given.max_speed_m_s)
        turn = given.gain_hz * frames.rotation_to_vector(goal[:3, :3] @ at[:3, :3].T)
        self._publish(speed, _limited(turn, given.max_speed_rad_s))
        self._body.grip(command.gripper_width_m)
        return command

    def stop(self) -> None:
        """Speed zero."""
        if self._publisher is not None and self._body.node is not None:
            self._publish(np.zeros(3), np.zeros(3))

    def disconnect(self) -> None:
        self.stop()
        self._publisher = self._listener = self._tf = None
        self._body.disconnect()

    def _publish(self, speed_m_s: FloatArray, turn_rad_s: FloatArray) -> None:
        message = ros("geometry_msgs.msg").TwistStamped()
        message.header.frame_id = self._twist.base_frame
        message.header.stamp = self._body.node.get_clock().now().to_msg()
        for part, values in ((message.twist.linear, speed_m_s), (message.twist.angular, turn_rad_s)):
            part.x, part.y, part.z = (float(value) for value in values)
        self._publisher.publish(message)


def _limited(vector: FloatArray, longest: float) -> FloatArray:
    length = float(np.linalg.norm(vector))
    return vector * (longest / length) if length > longest else vector
