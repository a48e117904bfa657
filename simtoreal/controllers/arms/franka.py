"""Franka arms (Panda, FR3) with their hand, through `franky` (`pip install franky-control`).

Written against franky-control 2.0.0. Of the maintained bindings it is the one whose setpoints may come at 20 Hz from
Python: it keeps the 1 kHz loop in C++ and plans on the fly, limited in speed, acceleration and jerk. The vendor's own
pylibfranka 0.21 wants an answer from Python every millisecond. The computer needs a real-time kernel.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from simtoreal.controllers.arm import ArmCommand, ArmState, checked_pose, checked_vector
from simtoreal.controllers.background_gripper import BackgroundGripper
from simtoreal.controllers.device_clock import DeviceClock
from simtoreal.controllers.link_errors import ArmStopped, LinkError
from simtoreal.extras import load
from simtoreal.schema import option, required

_STOP_WAIT_S = 0.3
_ANY_SIZE_M = 1.0  # grasps end on whatever lies between the jaws


@dataclass(frozen=True)
class FrankaSettings:
    """How the arm is reached and followed."""

    address: str = required("of the robot")
    dynamics_frac: float = option(0.2, "of the arm's greatest speed, acceleration and jerk", minimum=0.01, maximum=1.0)
    recover: bool = option(False, "clear errors of an earlier stop when connecting; false asks for it in Desk")
    gripper_speed_m_s: float = option(0.1, "of the opening", unit="m/s", minimum=0.005, maximum=0.2)
    gripper_force_n: float = option(20.0, "of the grip", unit="N", minimum=1.0, maximum=70.0)


class FrankaArm:
    """An `Arm`.

    Args:
        settings: of the arm.
        now: the monotonic clock.
    """

    def __init__(self, settings: FrankaSettings, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._now = settings, now
        self.gripper = BackgroundGripper("Franka hand", FrankaHand(settings), now)
        self._franky: Any = None
        self._robot: Any = None
        self._clock = DeviceClock("Franka controller")

    def connect(self) -> None:
        franky = self._franky = load("franky", "controller=franka", "franka")
        address = self._settings.address
        try:
            robot = franky.Robot(address, relative_dynamics_factor=self._settings.dynamics_frac)
            if robot.has_errors and not (self._settings.recover and robot.recover_from_errors()):
                raise ArmStopped("the Franka arm has errors: see why, clear them in Desk, or set recover: true")
        except franky.Exception as error:
            raise LinkError(
                f"the Franka arm at {address} cannot be reached ({error}): are its brakes open and FCI active in Desk?"
            ) from error
        self._clock = DeviceClock("Franka controller")
        self.gripper.connect()
        self._robot = robot

    def read_state(self) -> ArmState:
        robot, franky = self._connected(), self._franky
        try:
            state = robot.state
            robot.poll_motion()  # raises what ended a motion
        except franky.Exception as error:
            raise self._translated(error) from error
        self._refuse_if_stopped(state)
        t_s = self._clock.monotonic(float(state.time.to_sec()), self._now())
        T = checked_pose("O_T_EE", state.O_T_EE.matrix)
        return ArmState(t_s, T, self.gripper.read_width_m(), checked_vector("q", state.q, 7))

    def command(self, command: ArmCommand) -> ArmCommand:
        robot, franky = self._connected(), self._franky
        # The motion goes on holding its last target, so that the next one takes over from it without a start.
        target = franky.Affine(command.T_robot_tool)
        motion = franky.CartesianMotion(target, franky.ReferenceType.Absolute, return_when_finished=False)
        try:
            robot.move(motion, asynchronous=True)
        except franky.Exception as error:
            raise self._translated(error) from error
        self.gripper.go_to(command.gripper_width_m)
        return command

    def stop(self) -> None:
        """Brakes along the path; where that is not taken, ends the motion, which the robot then brakes by itself."""
        robot, franky = self._robot, self._franky
        if robot is None:
            return
        self.gripper.stop()
        with suppress(franky.Exception):
            if robot.is_in_control:
                robot.move(franky.CartesianStopMotion(), asynchronous=True)
            return
        try:
            robot.stop()
        except franky.Exception as error:
            raise LinkError(f"the Franka arm took no stop: {error}") from error

    def disconnect(self) -> None:
        robot, self._robot = self._robot, None
        self.gripper.disconnect()
        if robot is not None:
            with suppress(self._franky.Exception):
                robot.move(self._franky.CartesianStopMotion(), asynchronous=True)
                robot.join_motion(_STOP_WAIT_S)
            with suppress(self._franky.Exception):
                robot.stop()

    def _connected(self) -> Any:
        if self._robot is None:
            raise LinkError("the Franka arm is not connected: call connect() first")
        return self._robot

    def _refuse_if_stopped(self, state: Any) -> None:
        mode = self._franky.RobotMode
        if state.robot_mode == mode.UserStopped:
            raise ArmStopped("the Franka arm is stopped by its button: release it, and connect again")
        if state.robot_mode == mode.Reflex:
            raise ArmStopped(
                f"a reflex has stopped the Franka arm ({state.last_motion_errors}): see why, clear it in Desk"
            )

    def _translated(self, error: Exception) -> LinkError:
        if isinstance(error, self._franky.NetworkException):
            return LinkError(f"the connection to the Franka arm is lost: {error}")
        return ArmStopped(f"the Franka arm has stopped: {error}")


class FrankaHand:
    """A `GripperDevice`: opening is a move, closing a grasp, which keeps its force on whatever is between the jaws."""

    def __init__(self, settings: FrankaSettings) -> None:
        self._settings = settings
        self._gripper: Any = None
        self._busy: Any = None

    def connect(self) -> None:
        franky = load("franky", "controller=franka", "franka")
        try:
            self._gripper = franky.Gripper(self._settings.address)
        except franky.Exception as error:
            raise LinkError(f"the Franka hand at {self._settings.address} cannot be reached: {error}") from error

    def go_to(self, width_m: float) -> None:
        if self._busy is not None and not self._busy.wait(0.0):
            self._gripper.stop()
            self._busy.wait(_STOP_WAIT_S)
        given = self._settings
        if width_m < self._gripper.width:
            self._busy = self._gripper.grasp_async(
                width_m, given.gripper_speed_m_s, given.gripper_force_n, _ANY_SIZE_M, _ANY_SIZE_M
            )
        else:
            self._busy = self._gripper.move_async(width_m, given.gripper_speed_m_s)

    def read_width_m(self) -> float:
        return float(self._gripper.width)

    def stop(self) -> None:
        """Comes to rest where it moves; a grip is kept, as what is held must not fall."""
        if self._busy is not None and not self._busy.wait(0.0):
            self._gripper.stop()

    def disconnect(self) -> None:
        self._gripper = self._busy = None
