"""A kinematic arm with jaws and a wrist camera over a block: light enough to run thousands of episodes in minutes.

The tool follows its setpoint with a lag, the jaws move at their speed and stop at what lies between them, and what they
hold moves with the tool. It needs neither physics nor torch.
"""

import math
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.action_limits import shortened
from simtoreal.camera import CameraModel
from simtoreal.contracts import Action, Observation
from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.fake_scene import Block, FakeCamera
from simtoreal.controllers.registry import ControllerSettings
from simtoreal.schema import ConfigError

FloatArray = NDArray[np.float64]
_WORKSPACE_LOW_M, _WORKSPACE_HIGH_M = np.array([0.2, -0.4, 0.0]), np.array([0.8, 0.4, 0.65])
_LIFTED_M = 0.1
_FORCE_N = 20.0


@dataclass(frozen=True)
class FakeArm:
    """What the arm is like."""

    control_hz: float = 20.0
    lag_s: float = 0.04
    jaw_speed_m_s: float = 0.2
    max_opening_m: float = 0.08
    max_delta_m: float = 0.04
    max_delta_rotation_rad: float = 0.4
    home_m: tuple[float, float, float] = (0.5, 0.0, 0.36)
    T_tcp_cam: FloatArray = field(
        default_factory=lambda: frames.look_at((0.0, 0.065, -0.10), (0.0, 0.0, 0.15), (0.0, 1.0, 0.0))
    )


class FakeController:
    """A `Controller` without hardware. Its time passes in `send_action`, or by itself with `clock=None`.

    Args:
        arm: its figures.
        camera: lens and size of its wrist camera.
        clock: virtual time, or None for that of the machine.
        rng: of the noise of its pictures and of where the block lies.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        arm: FakeArm | None = None,
        camera: CameraModel | None = None,
        clock: VirtualClock | None = None,
    ) -> None:
        self.arm = arm or FakeArm()
        self.gripper_force_n = 0.0
        self.is_connected = False
        self._rng = rng
        self._clock = clock
        self._camera = FakeCamera(camera)
        self.T_setpoint: FloatArray = np.eye(4)
        self._T_tcp: FloatArray = np.eye(4)
        self._place()

    @property
    def control_hz(self) -> float:
        return self.arm.control_hz

    @property
    def time_s(self) -> float:
        """Its clock: also that of its observations."""
        return time.monotonic() if self._clock is None else self._clock.now()

    @property
    def is_real_time(self) -> bool:
        """Whether its time passes by itself."""
        return self._clock is None

    def connect(self) -> None:
        self.is_connected = True

    def disconnect(self) -> None:
        self.is_connected = False

    def reset(self) -> Observation:
        """Puts the arm at home and the block somewhere below."""
        self._place()
        return self._observe()

    def get_observation(self) -> Observation:
        """The state of this moment, with a new picture."""
        self._advance()
        return self._observe()

    def send_action(self, action: Action) -> Action:
        """Moves the setpoint and returns the action after the arm's own limits.

        Raises:
            ValueError: a component is not finite.
        """
        self._advance()
        short = shortened(action, self.arm.max_delta_m, self.arm.max_delta_rotation_rad)
        at_m = self.T_setpoint[:3, 3]
        delta = np.clip(at_m + short.delta_m, _WORKSPACE_LOW_M, _WORKSPACE_HIGH_M) - at_m
        self._width_goal_m = min(max(short.gripper_width_m, 0.0), self.arm.max_opening_m)
        self.T_setpoint = frames.moved(self.T_setpoint, delta, short.delta_rotation_rad)
        if self._clock is not None:
            self._clock.sleep(1.0 / self.control_hz)
        return Action(delta, short.delta_rotation_rad, self._width_goal_m)

    def stop(self) -> None:
        """Stays where it is."""
        self._advance()
        self.T_setpoint = self._T_tcp

    @property
    def success(self) -> bool:
        """Whether the block is held high above the table: what only a fake can know."""
        return self._rise_m > _LIFTED_M

    def _place(self) -> None:
        x, y = self._rng.uniform(-0.06, 0.06, 2)
        self._block = Block(position_m=(0.5 + x, y), yaw_rad=float(self._rng.uniform(-0.7, 0.7)))
        self._rise_m, self._held = 0.0, False
        self.T_setpoint = self._T_tcp = frames.top_down(self.arm.home_m, 0.0)
        self._width_m = self._width_goal_m = self.arm.max_opening_m
        self._advanced_s = self.time_s

    def _advance(self) -> None:
        passed_s, self._advanced_s = self.time_s - self._advanced_s, self.time_s
        if passed_s <= 0.0:
            return
        share = 1.0 - math.exp(-passed_s / self.arm.lag_s)
        before = self._T_tcp
        self._T_tcp = frames.interpolate(before, self.T_setpoint, share)
        self._move_jaws(passed_s)
        if self._held:
            self._carry(self._T_tcp[:3, 3] - before[:3, 3])

    def _move_jaws(self, passed_s: float) -> None:
        way_m = self.arm.jaw_speed_m_s * passed_s
        goal_m, between = self._width_goal_m, self._between()
        if between and self._width_m >= self._block.size_m[1]:
            goal_m = max(goal_m, self._block.size_m[1])
        self._width_m += min(max(goal_m - self._width_m, -way_m), way_m)
        pressing = self._width_goal_m < self._width_m - 1e-4 and abs(self._width_m - self._block.size_m[1]) < 1e-6
        self._held = pressing and between
        self.gripper_force_n = _FORCE_N if self._held else 0.0
        if not self._held:
            self._rise_m = 0.0

    def _between(self) -> bool:
        """Whether the block lies between the jaws, about across them."""
        position = np.array([*self._block.position_m, self._rise_m + 0.5 * self._block.size_m[2]])
        offset = self._T_tcp[:3, :3].T @ (position - self._T_tcp[:3, 3])
        turned = abs(math.cos(frames.yaw_of(self._T_tcp) - self._block.yaw_rad - math.pi / 2))
        return bool(abs(offset[0]) < 0.03 and abs(offset[1]) < 0.05 and abs(offset[2]) < 0.03 and turned > 0.9)

    def _carry(self, moved_m: FloatArray) -> None:
        x, y = self._block.position_m
        self._rise_m = max(self._rise_m + float(moved_m[2]), 0.0)
        place = (x + float(moved_m[0]), y + float(moved_m[1]))
        self._block = Block(self._block.size_m, place, self._block.yaw_rad)

    def _observe(self) -> Observation:
        T_base_cam = self._T_tcp @ self.arm.T_tcp_cam
        rgb, depth_m = self._camera.render(T_base_cam, self._block, self._rise_m, self._rng)
        return Observation(
            t_s=self.time_s,
            rgb=rgb,
            depth_m=depth_m,
            K=self._camera.model.K,
            T_base_cam=T_base_cam,
            T_base_tcp=self._T_tcp.copy(),
            gripper_width_m=self._width_m,
            joint_positions_rad=None,
        )


def open_controller(settings: ControllerSettings) -> FakeController:
    """The fake of `controller=fake`, in real time.

    Raises:
        ConfigError: it is given what it has no use for.
    """
    for name in ("address", "log", "camera"):
        if getattr(settings, name) is not None:
            raise ConfigError(f"{name}={getattr(settings, name)} is of no use to controller=fake: leave it out")
    arm = FakeArm(control_hz=settings.control_hz or FakeArm.control_hz)
    return FakeController(np.random.default_rng(settings.seed), arm)
