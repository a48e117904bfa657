"""Any lerobot `Robot`, controlled by joints or by its end effector.

Written against lerobot 0.4.4 (`robots/robot.py`): flat dictionaries of numbers, described by `observation_features` and
`action_features`. lerobot leaves units to each robot (degrees, or a share of the calibrated range from -100 to 100), so
the file states one for every key. Robots of plug-in packages (`lerobot_robot_*`) are found too.
"""

import importlib
import pkgutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Picture
from simtoreal.controllers.arm import ArmCommand, ArmState, checked_vector
from simtoreal.controllers.arms.lerobot_keys import GripperKey, JointKey, WristKeys
from simtoreal.controllers.joint_arm import JointReading
from simtoreal.controllers.link_errors import LinkError
from simtoreal.controllers.mounted_camera import stale
from simtoreal.extras import load
from simtoreal.schema import ConfigError, option, required

FloatArray = NDArray[np.float64]
_BUS_S = 0.2  # a stop from another thread waits so long for a transfer that is under way
_FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
)  # of motor buses; lerobot has no error class of its own for all


@dataclass(frozen=True)
class LerobotSettings:
    """Which robot it is, and what its keys mean.

    Raises:
        ConfigError: it has both joints and a wrist, or neither.
    """

    robot_type: str = required("lerobot's name of the robot, such as so101_follower")
    gripper: GripperKey = required("key of the gripper")
    joints: tuple[JointKey, ...] = option((), "keys of the joints, in the order of chain.joints")
    wrist: WristKeys | None = option(None, "keys of the tool pose, of a robot that is controlled by its end effector")

    def __post_init__(self) -> None:
        if bool(self.joints) == (self.wrist is not None):
            raise ConfigError("give either joints (and chain), or wrist: a robot is controlled by one of the two")

    @property
    def keys(self) -> list[str]:
        """All keys of the arm and its gripper."""
        wrist = () if self.wrist is None else (*self.wrist.position, *self.wrist.rotation)
        return [*(joint.key for joint in self.joints), *wrist, self.gripper.key]


class LerobotLink:
    """A connected lerobot robot: what both kinds of control share.

    Args:
        settings: of the robot.
        config: keys of its lerobot configuration, besides the type.
        now: the monotonic clock.
    """

    def __init__(
        self, settings: LerobotSettings, config: Mapping[str, Any], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings, self._config, self.now = settings, dict(config), now
        self._robot: Any = None
        self._bus = threading.Lock()
        self.seen: Mapping[str, Any] = {}
        self.seen_s = -np.inf

    def connect(self) -> None:
        """Makes the robot and connects it, without calibrating it.

        Raises:
            LinkError: it cannot be reached, or is not calibrated.
            ConfigError: lerobot has no such robot or setting, or the robot no such key.
        """
        robot = self._make()
        self._check_keys(robot)
        try:
            robot.connect(calibrate=False)
        except _FAILURES as error:
            raise LinkError(f"lerobot robot {self.settings.robot_type} cannot be reached: {error}") from error
        self._robot = robot
        if not robot.is_calibrated:
            self.disconnect()
            raise LinkError(f"lerobot robot {self.settings.robot_type} is not calibrated: run lerobot-calibrate first")
        self.read()

    def read(self) -> Mapping[str, Any]:
        """What the robot observes now."""
        robot = self._connected()
        try:
            with self._alone():
                self.seen = robot.get_observation()
        except _FAILURES as error:
            raise LinkError(f"lerobot robot {self.settings.robot_type} gives no observation: {error!r}") from error
        missing = [key for key in self.settings.keys if key not in self.seen]
        if missing:
            raise LinkError(f"lerobot robot {self.settings.robot_type}: its observation lacks {', '.join(missing)}")
        self.seen_s = self.now()
        return self.seen

    def send(self, action: dict[str, float]) -> Mapping[str, float]:
        """Sends an action, and returns what the robot says was really sent."""
        robot = self._connected()
        try:
            with self._alone():
                sent: Mapping[str, float] = robot.send_action(action)
        except _FAILURES as error:
            raise LinkError(f"lerobot robot {self.settings.robot_type} took no action: {error!r}") from error
        return {**action, **sent}

    def hold(self) -> None:
        """Sends the robot where it is: all of lerobot's robots hold their last goal."""
        if self._robot is not None:
            seen = self.read()
            self.send({key: float(seen[key]) for key in self.settings.keys})

    def disconnect(self) -> None:
        robot, self._robot = self._robot, None
        if robot is not None:
            with suppress(*_FAILURES):
                robot.disconnect()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps two threads from using the motor bus at once."""
        if not self._bus.acquire(timeout=_BUS_S):
            raise LinkError(f"lerobot robot {self.settings.robot_type}: its bus has not answered for {_BUS_S} s")
        try:
            yield
        finally:
            self._bus.release()

    def _connected(self) -> Any:
        if self._robot is None or not self._robot.is_connected:
            raise LinkError(f"lerobot robot {self.settings.robot_type} is not connected")
        return self._robot

    def _make(self) -> Any:
        robots = load("lerobot.robots", "controller=lerobot", "lerobot")
        utils = load("lerobot.robots.utils", "controller=lerobot", "lerobot")
        draccus = load("draccus", "controller=lerobot", "lerobot")
        load("lerobot.utils.import_utils", "controller=lerobot", "lerobot").register_third_party_plugins()
        for found in pkgutil.iter_modules(robots.__path__):  # lerobot's own robots become known when they are imported
            if self.settings.robot_type in robots.RobotConfig.get_known_choices():
                break
            with suppress(ImportError):  # of robots that need packages which are not there
                importlib.import_module(f"lerobot.robots.{found.name}")
        try:
            config = draccus.decode(robots.RobotConfig, {"type": self.settings.robot_type, **self._config})
            return utils.make_robot_from_config(config)
        except Exception as error:  # draccus and lerobot raise classes of their own for settings that they do not know
            raise ConfigError(f"lerobot cannot make robot_type={self.settings.robot_type}: {error}") from error

    def _check_keys(self, robot: Any) -> None:
        for name in ("observation_features", "action_features"):
            features = getattr(robot, name)
            missing = [key for key in self.settings.keys if key not in features]
            if missing:
                raise ConfigError(
                    f"lerobot robot {self.settings.robot_type} has no {', '.join(missing)} in {name}. Its keys: "
                    f"{', '.join(features)}"
                )


class LerobotJoints:
    """A `JointDriver`."""

    def __init__(self, link: LerobotLink) -> None:
        self.link = link

    def connect(self) -> None:
        self.link.connect()
        self.read_joints()  # units are looked at before anything moves

    def read_joints(self) -> JointReading:
        given, seen = self.link.settings, self.link.read()
        joints = [key.to_rad(seen[key.key]) for key in given.joints]
        return JointReading(self.link.seen_s, np.array(joints), given.gripper.to_m(seen[given.gripper.key]))

    def command_joints(self, joint_positions_rad: FloatArray, gripper_width_m: float) -> tuple[FloatArray, float]:
        given = self.link.settings
        action = {key.key: key.of_rad(value) for key, value in zip(given.joints, joint_positions_rad, strict=True)}
        sent = self.link.send({**action, given.gripper.key: given.gripper.of_m(gripper_width_m)})
        really = np.array([key.to_rad(sent[key.key]) for key in given.joints])
        return really, given.gripper.to_m(sent[given.gripper.key])

    def stop(self) -> None:
        self.link.hold()

    def disconnect(self) -> None:
        self.link.disconnect()


class LerobotWrist:
    """An `Arm` that takes poses of its end effector."""

    def __init__(self, link: LerobotLink, wrist: WristKeys) -> None:
        self.link, self._wrist = link, wrist

    def connect(self) -> None:
        self.link.connect()
        self.read_state()

    def read_state(self) -> ArmState:
        gripper, seen = self.link.settings.gripper, self.link.read()
        return ArmState(self.link.seen_s, self._pose(seen), gripper.to_m(seen[gripper.key]))

    def command(self, command: ArmCommand) -> ArmCommand:
        T, gripper, wrist = command.T_robot_tool, self.link.settings.gripper, self._wrist
        numbers = [*(T[:3, 3] / wrist.unit_m), *frames.rotation_to_vector(T[:3, :3])]
        action = {key: float(value) for key, value in zip((*wrist.position, *wrist.rotation), numbers, strict=True)}
        sent = self.link.send({**action, gripper.key: gripper.of_m(command.gripper_width_m)})
        return ArmCommand(self._pose(sent), gripper.to_m(sent[gripper.key]))

    def stop(self) -> None:
        self.link.hold()

    def disconnect(self) -> None:
        self.link.disconnect()

    def _pose(self, values: Mapping[str, Any]) -> FloatArray:
        wrist = self._wrist
        position = checked_vector("position of the wrist", [values[key] for key in wrist.position], 3) * wrist.unit_m
        turn = checked_vector("rotation of the wrist", [values[key] for key in wrist.rotation], 3)
        return frames.transform(wrist.checked(position), frames.rotation_from_vector(turn))


class LerobotCamera:
    """A `Camera` that the robot itself has opened: its pictures come with its observations, stamped when they came."""

    def __init__(self, link: LerobotLink, key: str) -> None:
        self._link, self._key = link, key

    def connect(self) -> None:
        """The robot opens it."""

    def read_latest(self, max_age_s: float) -> Picture:
        if self._link.now() - self._link.seen_s > 0.5 * max_age_s:
            self._link.read()
        picture = self._link.seen.get(self._key)
        if picture is None:
            raise LinkError(f"lerobot's observation has no picture {self._key!r}: {', '.join(self._link.seen)}")
        age_s = self._link.now() - self._link.seen_s
        if age_s > max_age_s:
            raise stale(self._key, age_s, max_age_s)
        return Picture(self._link.seen_s, np.array(picture), None)

    def disconnect(self) -> None:
        """The robot closes it."""
