"""An arm that takes joint commands only, as an `Arm`: its URDF says where the tool is, and what brings it there."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from simtoreal.controllers.arm import ArmCommand, ArmState
from simtoreal.controllers.kinematics import Kinematics
from simtoreal.schema import option, required

FloatArray = NDArray[np.float64]
_MAX_LEAD_RAD = 0.35  # of the commanded joints over the measured ones


@dataclass(frozen=True)
class ChainSettings:
    """The kinematic chain of a joint-controlled arm."""

    urdf: Path = required("description of the arm")
    joints: tuple[str, ...] = required("names in the URDF, from the foot to the hand")
    link: str = required("link whose pose is the arm's tool")
    posture_rad: tuple[float, ...] = option(
        (), "where redundancy tends to; empty is the middle of the ranges", unit="rad"
    )
    speed_frac: float = option(0.5, "of the speed limits in the URDF", minimum=0.01, maximum=1.0)

    def open(self) -> Kinematics:
        """The kinematics of it."""
        return Kinematics(self.urdf, self.joints, self.link, self.posture_rad)


class JointReading(NamedTuple):
    """The joints at one moment."""

    t_s: float
    joint_positions_rad: FloatArray
    gripper_width_m: float


class JointDriver(Protocol):
    """What a driver of a joint-controlled arm has to offer; `Arm` says what each method owes."""

    def connect(self) -> None: ...
    def read_joints(self) -> JointReading: ...
    def command_joints(self, joint_positions_rad: FloatArray, gripper_width_m: float) -> tuple[FloatArray, float]:
        """Sends joint positions and an opening, and returns those really sent."""
        ...

    def stop(self) -> None: ...
    def disconnect(self) -> None: ...


class JointArm:
    """An `Arm` over joints.

    Joints are moved from where they were last sent, so that a lag does not add up; where they were stopped or do not
    follow, from where they are.
    """

    def __init__(self, driver: JointDriver, chain: ChainSettings, period_s: float) -> None:
        self.driver = driver
        self.kinematics = chain.open()
        self._speed_frac, self._period_s = chain.speed_frac, period_s
        self._sent_rad: FloatArray | None = None

    def connect(self) -> None:
        self.driver.connect()

    def read_state(self) -> ArmState:
        seen = self.driver.read_joints()
        T = self.kinematics.forward(seen.joint_positions_rad)
        return ArmState(seen.t_s, T, seen.gripper_width_m, seen.joint_positions_rad)

    def command(self, command: ArmCommand) -> ArmCommand:
        measured = self.driver.read_joints().joint_positions_rad
        sent = self._sent_rad
        start = measured if sent is None else np.clip(sent, measured - _MAX_LEAD_RAD, measured + _MAX_LEAD_RAD)
        goal = self.kinematics.towards(command.T_robot_tool, start, self._period_s, self._speed_frac)
        really, width_m = self.driver.command_joints(goal, command.gripper_width_m)
        self._sent_rad = really
        return ArmCommand(self.kinematics.forward(really), width_m)

    def stop(self) -> None:
        self._sent_rad = None
        self.driver.stop()

    def disconnect(self) -> None:
        self._sent_rad = None
        self.driver.disconnect()
