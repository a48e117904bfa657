"""The arm behind the fakes of vendors' packages: tool, joints and jaws follow what they are told, on virtual time."""

import sys
import types
from typing import Any

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord, MountPose
from simtoreal.contracts import Picture
from simtoreal.controllers.arm import Arm
from simtoreal.controllers.arm_controller import ArmController, Rig, Times
from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.hardware_settings import ArmFrames, MotionLimits
from simtoreal.controllers.mounted_camera import MountedCamera, stale

LAG_S, JAW_SPEED_M_S = 0.03, 0.25
START = frames.top_down((0.5, 0.0, 0.3), 0.3)
LIMITS = MotionLimits((0.2, -0.4, 0.01), (0.8, 0.4, 0.6), max_width_m=0.08)
HZ = 20.0
MODEL = CameraModel.from_fov(32, 24, 1.0)
WRIST = CameraRecord("wrist", "rgbd", MODEL, MountPose.of(frames.transform((0.0, 0.06, -0.1))))


class World:
    """One arm."""

    def __init__(self, joints: np.ndarray | None = None, num_joints: int = 6) -> None:
        self.clock = VirtualClock()
        self.clock.sleep(100.0)  # a computer that has been on for a while
        self.clock.on_tick.append(self._tick)
        self.T = self.T_goal = START.copy()
        self.q = self.q_goal = np.zeros(num_joints) if joints is None else np.array(joints, dtype=float)
        self.width_m = self.width_goal_m = 0.08
        self.is_lost = self.is_protected = self.is_emergency = self.is_stuck = False
        self.calls: list[str] = []
        self._last_s = self.clock.now()

    def _tick(self) -> None:
        passed_s, self._last_s = self.clock.now() - self._last_s, self.clock.now()
        share = 1.0 - np.exp(-passed_s / LAG_S)
        if not (self.is_stuck or self.is_protected or self.is_emergency):
            self.T = frames.interpolate(self.T, self.T_goal, share)
            self.q = self.q + share * (self.q_goal - self.q)
        way_m = JAW_SPEED_M_S * passed_s
        self.width_m += float(np.clip(self.width_goal_m - self.width_m, -way_m, way_m))


class WorldCamera:
    """A `Camera` that takes a picture whenever it is asked, 20 ms ago."""

    latency_s = 0.02

    def __init__(self, world: World) -> None:
        self.world, self.is_frozen, self.is_open, self.shape = world, False, False, (24, 32)
        self._last: Picture | None = None

    def connect(self) -> None:
        self.is_open = True

    def read_latest(self, max_age_s: float) -> Picture:
        if self._last is None or not self.is_frozen:
            rgb = np.full((*self.shape, 3), 60, dtype=np.uint8)
            rgb[0, 0] = int(self.world.clock.now() * 200) % 250
            self._last = Picture(
                self.world.clock.now() - self.latency_s, rgb, np.full(self.shape, 0.3, dtype=np.float32)
            )
        age_s = self.world.clock.now() - self._last.t_s
        if age_s > max_age_s:
            raise stale("wrist", age_s, max_age_s)
        return self._last

    def disconnect(self) -> None:
        self.is_open = False


class Paced(ArmController):
    """A controller whose every action takes a period of virtual time, as the loop's pacer would have it."""

    world: World
    camera: WorldCamera

    def send_action(self, action: Any) -> Any:
        sent = super().send_action(action)
        self.times.sleep(1.0 / self.control_hz)
        return sent


def rigged(arm: Arm, world: World, arm_frames: ArmFrames | None = None, limits: MotionLimits = LIMITS) -> Paced:
    """A connected controller around an arm on a world's clock, its gripper without a thread of its own."""
    mounted, camera = arm_frames or ArmFrames(), WorldCamera(world)
    cameras = (MountedCamera("wrist", camera, WRIST, mounted, 0.12),)
    controller = Paced(Rig(arm, cameras, mounted, limits, HZ), Times(world.clock.now, world.clock.sleep))
    controller.world, controller.camera = world, camera
    controller.connect()
    gripper = getattr(arm, "gripper", None)
    if gripper is not None:
        gripper._ending.set()
        gripper._thread.join()
        world.clock.on_tick.append(gripper.step)
    return controller


def publish(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> types.ModuleType:
    """Makes a module known to `import`."""
    module = types.ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)
    return module
