"""An arm and its cameras as a `Controller`: the setpoint, its limits, the way home, and observations of one moment."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.action_limits import shortened
from simtoreal.contracts import Action, CameraImage, Observation
from simtoreal.controllers.arm import Arm, ArmCommand, ArmState
from simtoreal.controllers.hardware_settings import ArmFrames, MotionLimits
from simtoreal.controllers.homing import way_home
from simtoreal.controllers.link_errors import LinkError
from simtoreal.controllers.mounted_camera import MountedCamera

FloatArray = NDArray[np.float64]
_KEPT_STATES = 64
_AT_HOME_M, _AT_HOME_RAD = 0.002, 0.02
_SETTLE_S = 2.0


class Times(NamedTuple):
    """The clock of the arm and its cameras, and what waits on it."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Rig:
    """What is bolted together."""

    arm: Arm
    cameras: Sequence[MountedCamera]  # policies look through the first
    frames: ArmFrames
    limits: MotionLimits
    control_hz: float


class ArmController:
    """A `Controller` of real hardware.

    An observation is of the moment at which its picture was taken: tool, joints and jaws are interpolated to it between
    the states that were read. The arm starts where it was put by hand: the first `reset` does not move it, later ones
    bring it back there, or to `home_m`, slowly. After a stop, the setpoint begins anew where the arm stands.
    """

    is_real_time = True

    def __init__(self, rig: Rig, times: Times | None = None) -> None:
        self.rig = rig
        self.times = times or Times()
        self._connected = False
        self._halted = threading.Event()
        self._states: deque[ArmState] = deque(maxlen=_KEPT_STATES)
        self._T_setpoint: FloatArray | None = None
        self._T_home: FloatArray | None = None
        self._width_goal_m = 0.0

    @property
    def control_hz(self) -> float:
        return self.rig.control_hz

    @property
    def time_s(self) -> float:
        """Its clock: that of its observations."""
        return self.times.now()

    def connect(self) -> None:
        """Reaches the cameras, then the arm.

        Raises:
            LinkError: one of them cannot be reached; what was reached is let go of.
        """
        try:
            for camera in self.rig.cameras:
                camera.device.connect()
            self.rig.arm.connect()
        except Exception:
            self.disconnect()
            raise
        self._connected = True

    def disconnect(self) -> None:
        self._connected = False
        self._states.clear()
        self._T_setpoint = self._T_home = None
        for let_go in (self.rig.arm.disconnect, *(camera.device.disconnect for camera in self.rig.cameras)):
            with suppress(Exception):  # whatever one of them says, the others are let go of too
                let_go()

    def reset(self) -> Observation:
        """Goes home, except for the first time: then home is where the tool is.

        Raises:
            LinkError: something does not answer, holds the arm, or stopped it on the way.
        """
        self._halted.clear()
        state = self._read()
        if self._T_home is None:
            self._T_home = self._home(state)
            self._T_setpoint = None
        else:
            self._go_home(state)
        return self.get_observation()

    def get_observation(self) -> Observation:
        """The newest pictures, and the arm at the moment of the first of them.

        Raises:
            LinkError: a device does not answer, or a picture is too old.
        """
        pictures = [camera.read(self.times.now()) for camera in self.rig.cameras]
        newest = self._read()
        if not pictures:
            return self._observation(newest, None, None)
        then = self._at(pictures[0].t_s)
        images = {
            camera.name: camera.image(picture, self._at(picture.t_s).T_robot_tool)
            for camera, picture in zip(self.rig.cameras, pictures, strict=True)
        }
        main, *_ = images.values()
        return self._observation(then, main, dict(list(images.items())[1:]) or None)

    def send_action(self, action: Action) -> Action:
        """Moves the setpoint and returns the action as it was really sent.

        Raises:
            ValueError: a component is not finite.
            LinkError: it was not sent.
        """
        limits = self.rig.limits
        short = shortened(action, limits.max_delta_m, limits.max_delta_rotation_rad)
        before = self._T_setpoint
        if before is None:
            before = self._tool(self._read())
        goal = frames.moved(before, self._inside(before[:3, 3], short.delta_m), short.delta_rotation_rad)
        after = self._send(goal, short.gripper_width_m)
        turned = frames.rotation_to_vector(after[:3, :3] @ before[:3, :3].T)
        return Action(after[:3, 3] - before[:3, 3], turned, self._width_goal_m)

    def stop(self) -> None:
        """Holds the arm where it comes to rest; what moves it home is ended. From any state and any thread.

        Raises:
            LinkError: the arm took no stop.
        """
        self._halted.set()
        self._T_setpoint = None
        self.rig.arm.stop()

    # --- parts

    def _read(self) -> ArmState:
        if not self._connected:
            raise LinkError("the arm is not connected: call connect() first")
        state = self.rig.arm.read_state()
        age_s = self.times.now() - state.t_s
        if age_s > self.rig.limits.max_state_age_s:
            limit_s = self.rig.limits.max_state_age_s
            raise LinkError(f"the newest state of the arm is {age_s:.3f} s old, allowed is max_state_age_s={limit_s:g}")
        if not self._states or state.t_s > self._states[-1].t_s:
            self._states.append(state)
        return state

    def _at(self, t_s: float) -> ArmState:
        """The arm at a moment, between the states that were read."""
        after = self._states[-1]
        for before in reversed(self._states):
            if before.t_s <= t_s:
                return _between(before, after, t_s)
            after = before
        return after._replace(t_s=t_s)

    def _observation(
        self, state: ArmState, main: CameraImage | None, others: Mapping[str, CameraImage] | None
    ) -> Observation:
        T_base_tcp = self._tool(state)
        return Observation(
            t_s=state.t_s,
            rgb=None if main is None else main.rgb,
            depth_m=None if main is None else main.depth_m,
            K=np.eye(3) if main is None else main.K,
            T_base_cam=T_base_tcp.copy() if main is None else main.T_base_cam,
            T_base_tcp=T_base_tcp,
            gripper_width_m=state.gripper_width_m,
            joint_positions_rad=state.joint_positions_rad,
            distortion=None if main is None else main.distortion,
            more_cameras=others,
        )

    def _tool(self, state: ArmState) -> FloatArray:
        return self.rig.frames.T_base_tcp(state.T_robot_tool)

    def _inside(self, at_m: FloatArray, delta_m: FloatArray) -> FloatArray:
        """A step that ends in the box; from outside of it, one that leads no farther away."""
        low, high = np.array(self.rig.limits.workspace_low_m), np.array(self.rig.limits.workspace_high_m)
        goal = np.clip(at_m + delta_m, np.minimum(low, at_m), np.maximum(high, at_m))
        return np.asarray(goal - at_m)

    def _send(self, T_base_tcp: FloatArray, width_m: float) -> FloatArray:
        width_m = min(max(width_m, 0.0), self.rig.limits.max_width_m)
        sent = self.rig.arm.command(ArmCommand(self.rig.frames.T_robot_tool(T_base_tcp), width_m))
        self._T_setpoint = self.rig.frames.T_base_tcp(sent.T_robot_tool)
        self._width_goal_m = sent.gripper_width_m
        return self._T_setpoint

    def _home(self, state: ArmState) -> FloatArray:
        at = self._tool(state)
        home_m = self.rig.limits.home_m
        return at if home_m is None else frames.top_down(home_m, frames.yaw_of(at))

    def _go_home(self, state: ArmState) -> None:
        assert self._T_home is not None
        limits, period_s = self.rig.limits, 1.0 / self.control_hz
        opened_m = limits.max_width_m
        for pose in way_home(self._tool(state), self._T_home, limits, period_s):
            self._pass(self._send(pose, opened_m), period_s)
        settled_s = self.times.now() + _SETTLE_S
        while not self._arrived() and self.times.now() < settled_s:
            self._pass(self._send(self._T_home, opened_m), period_s)
        if not self._arrived():
            raise LinkError("the arm does not come home: is it held, or is home_m out of its reach?")

    def _pass(self, T_sent: FloatArray, period_s: float) -> None:
        """One period on the way home."""
        self.times.sleep(period_s)
        if self._halted.is_set():
            raise LinkError("the arm was stopped on its way home")
        lead_m = float(np.linalg.norm(T_sent[:3, 3] - self._tool(self._read())[:3, 3]))
        if lead_m > self.rig.limits.max_lead_m:
            self.stop()
            raise LinkError(f"on its way home the arm stays {lead_m:.3f} m behind: something holds it")

    def _arrived(self) -> bool:
        assert self._T_home is not None
        state = self._read()
        at = self._tool(state)
        off_m = float(np.linalg.norm(at[:3, 3] - self._T_home[:3, 3]))
        off_rad = float(np.linalg.norm(frames.rotation_to_vector(at[:3, :3].T @ self._T_home[:3, :3])))
        opened = state.gripper_width_m > self.rig.limits.max_width_m - 0.005
        return off_m < _AT_HOME_M and off_rad < _AT_HOME_RAD and opened


def _between(before: ArmState, after: ArmState, t_s: float) -> ArmState:
    passed_s = after.t_s - before.t_s
    share = 0.0 if passed_s <= 0.0 else min(max((t_s - before.t_s) / passed_s, 0.0), 1.0)
    joints = None
    if before.joint_positions_rad is not None and after.joint_positions_rad is not None:
        joints = (1.0 - share) * before.joint_positions_rad + share * after.joint_positions_rad
    return ArmState(
        t_s,
        frames.interpolate(before.T_robot_tool, after.T_robot_tool, share),
        (1.0 - share) * before.gripper_width_m + share * after.gripper_width_m,
        joints,
    )
