"""A fake of lerobot 0.4.4: `Robot` with the methods of its base class, and what makes one of its configuration."""

import importlib.machinery
import types
from typing import Any

import numpy as np
import pytest
from vendor_world import World, publish

from simtoreal import frames

PACKAGE = "lerobot==0.4.4"
CLASSES = {"lerobot.robots.robot": ["Robot"]}


class RobotConfig:
    @classmethod
    def get_known_choices(cls) -> dict[str, type]:
        return {"arm_of_joints": RobotConfig, "arm_of_ee": RobotConfig, "slow_to_calibrate": RobotConfig}


class Robot:
    """Both kinds: joints in degrees (odd ones) and as a range (even ones), or the pose of the end effector."""

    world: World

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.is_calibrated, self._is_connected = config, config["type"] != "slow_to_calibrate", False
        self.ee = config["type"] == "arm_of_ee"
        names = ["ee.x", "ee.y", "ee.z", "ee.wx", "ee.wy", "ee.wz"] if self.ee else [f"j{i}.pos" for i in range(7)]
        self._names = [*names, "gripper.pos"]

    @property
    def observation_features(self) -> dict[str, Any]:
        return {**dict.fromkeys(self._names, float), "front": (24, 32, 3)}

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(self._names, float)

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "calibrating asks questions in the terminal"
        if self.config.get("port") == "/dev/none":
            raise ConnectionError("Could not connect on port '/dev/none'")
        self._is_connected = True

    def get_observation(self) -> dict[str, Any]:
        self._raise_if_lost()
        world = self.world
        if self.ee:
            numbers = [*world.T[:3, 3], *frames.rotation_to_vector(world.T[:3, :3])]
        else:
            numbers = [np.degrees(q) if i % 2 else q / 3.0 * 100.0 for i, q in enumerate(world.q)]
        picture = np.full((24, 32, 3), 9, dtype=np.uint8)
        values = [float(value) for value in (*numbers, 100.0 * world.width_m / 0.08)]
        return {**dict(zip(self._names, values, strict=True)), "front": picture}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        self._raise_if_lost()
        assert sorted(action) == sorted(self._names)
        assert all(type(value) is float for value in action.values())
        *numbers, grip = (action[name] for name in self._names)
        if self.ee:
            self.world.T_goal = frames.transform(numbers[:3], frames.rotation_from_vector(numbers[3:]))
        else:
            self.world.q_goal = np.array([np.radians(v) if i % 2 else v * 0.03 for i, v in enumerate(numbers)])
        self.world.width_goal_m = 0.08 * min(max(grip, 0.0), 100.0) / 100.0
        return {**action, "gripper.pos": min(max(grip, 0.0), 100.0)}

    def disconnect(self) -> None:
        self._is_connected = False
        self.world.calls.append("disconnect")

    def _raise_if_lost(self) -> None:
        if not self._is_connected or self.world.is_lost:
            raise ConnectionError("Failed to sync read 'Present_Position' on ids=[1, 2, 3]")


def install(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    Robot.world = world
    publish(monkeypatch, "lerobot")
    robots = publish(monkeypatch, "lerobot.robots", RobotConfig=RobotConfig)
    robots.__path__ = []
    robots.__spec__ = importlib.machinery.ModuleSpec("lerobot.robots", None, is_package=True)
    publish(monkeypatch, "lerobot.robots.utils", make_robot_from_config=Robot)
    publish(monkeypatch, "lerobot.utils")
    publish(monkeypatch, "lerobot.utils.import_utils", register_third_party_plugins=lambda: None)
    publish(monkeypatch, "draccus", decode=_decode)


def _decode(cls: type, raw_value: dict[str, Any]) -> dict[str, Any]:
    if raw_value["type"] not in RobotConfig.get_known_choices():
        raise types.new_class("ParsingError", (Exception,))(f"Couldn't find a choice class for {raw_value['type']!r}")
    return raw_value
