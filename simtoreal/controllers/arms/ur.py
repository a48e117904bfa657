"""Universal Robots arms through `ur_rtde`: servoL follows the setpoint, the gripper is a Robotiq behind its URCap.

Written against ur_rtde 1.6.5. Poses are x, y, z and a rotation vector of the active TCP in the base feature, metres and
radians. The arm must be in remote control (e-Series), or run the External Control URCap.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.controllers.arm import ArmCommand, ArmState, checked_vector
from simtoreal.controllers.arms.robotiq import RobotiqGripper, RobotiqSettings
from simtoreal.controllers.background_gripper import BackgroundGripper
from simtoreal.controllers.device_clock import DeviceClock
from simtoreal.controllers.link_errors import ArmStopped, LinkError
from simtoreal.extras import load
from simtoreal.schema import option, required

FloatArray = NDArray[np.float64]
_UNUSED = 0.0  # speed and acceleration of servoL, which the robot does not read


@dataclass(frozen=True)
class UrSettings:
    """How the arm is reached and followed."""

    address: str = required("of the robot")
    lookahead_s: float = option(0.1, "over which servoL smooths", unit="s", minimum=0.03, maximum=0.2)
    gain: float = option(300.0, "of servoL", minimum=100.0, maximum=2000.0)
    deceleration_m_s2: float = option(5.0, "when stopping", unit="m/s^2", minimum=0.1, maximum=20.0)
    gripper: RobotiqSettings = option(lambda: RobotiqSettings(), "the gripper")


class UrArm:
    """An `Arm`.

    Args:
        settings: of the arm.
        period_s: of control: for so long servoL holds one setpoint.
        now: the monotonic clock.
    """

    def __init__(self, settings: UrSettings, period_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._period_s, self._now = settings, period_s, now
        device = RobotiqGripper(settings.address, settings.gripper)
        self.gripper = BackgroundGripper("Robotiq gripper", device, now)
        self._receive: Any = None
        self._control: Any = None
        self._clock = DeviceClock("UR controller")

    def connect(self) -> None:
        receive = load("rtde_receive", "controller=ur", "ur")
        control = load("rtde_control", "controller=ur", "ur")
        address = self._settings.address
        try:
            self._receive = receive.RTDEReceiveInterface(address)
            self._refuse_if_stopped()
            self._control = control.RTDEControlInterface(address)
        except RuntimeError as error:
            raise LinkError(
                f"the UR arm at {address} cannot be reached ({error}): is it switched on, in remote "
                "control, with RTDE enabled?"
            ) from error
        self._clock = DeviceClock("UR controller")
        self.gripper.connect()

    def read_state(self) -> ArmState:
        receive = self._connected()
        self._refuse_if_stopped()
        if not receive.isConnected():
            raise LinkError("the connection to the UR arm is lost")
        pose = checked_vector("getActualTCPPose", receive.getActualTCPPose(), 6)
        joints = checked_vector("getActualQ", receive.getActualQ(), 6)
        t_s = self._clock.monotonic(float(receive.getTimestamp()), self._now())
        T = frames.transform(pose[:3], frames.rotation_from_vector(pose[3:]))
        return ArmState(t_s, T, self.gripper.read_width_m(), joints)

    def command(self, command: ArmCommand) -> ArmCommand:
        self._connected()
        self._refuse_if_stopped()
        T, given = command.T_robot_tool, self._settings
        pose = [*T[:3, 3].tolist(), *frames.rotation_to_vector(T[:3, :3]).tolist()]
        try:
            taken = self._control.servoL(pose, _UNUSED, _UNUSED, self._period_s, given.lookahead_s, given.gain)
        except RuntimeError as error:
            raise LinkError(f"the UR arm took no command: {error}") from error
        if not taken:
            self._refuse_if_stopped()  # since it was asked, which ends the script too
            raise LinkError(
                "the UR arm took no command: its control script has ended. Look at the pendant, and connect again"
            )
        self.gripper.go_to(command.gripper_width_m)
        return command

    def stop(self) -> None:
        """servoStop; where that is not taken, speedStop; and where that is not taken either, the script is ended."""
        control = self._control
        if control is None:
            return
        self.gripper.stop()
        deceleration = self._settings.deceleration_m_s2
        for way in (control.servoStop, control.speedStop):
            with suppress(RuntimeError):
                if way(deceleration):
                    return
        try:
            control.stopScript()
        except RuntimeError as error:
            raise LinkError(f"the UR arm took no stop: {error}") from error

    def disconnect(self) -> None:
        control, receive, self._control, self._receive = self._control, self._receive, None, None
        self.gripper.disconnect()
        if control is not None:
            for step in (control.servoStop, control.stopScript, control.disconnect):
                with suppress(RuntimeError):
                    step()
        if receive is not None:
            with suppress(RuntimeError):
                receive.disconnect()

    def _connected(self) -> Any:
        if self._receive is None or self._control is None:
            raise LinkError("the UR arm is not connected: call connect() first")
        return self._receive

    def _refuse_if_stopped(self) -> None:
        if self._receive.isEmergencyStopped():
            raise ArmStopped(
                "the UR arm is in emergency stop: release the button, and switch it on again at the pendant"
            )
        if self._receive.isProtectiveStopped():
            raise ArmStopped("the UR arm is in protective stop: see why, unlock it at the pendant, and connect again")
