"""What every hardware file holds, whatever the arm."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.schema import ConfigError, option, required

FloatArray = NDArray[np.float64]
Vector3 = tuple[float, float, float]
_NOT_UNIT = 1e-3


@dataclass(frozen=True)
class Pose:
    """A pose in words.

    Raises:
        ConfigError: the quaternion is not of unit length.
    """

    position_m: Vector3 = option((0.0, 0.0, 0.0), "x, y, z", unit="m", minimum=-10.0, maximum=10.0)
    quat_xyzw: tuple[float, float, float, float] = option(
        (0.0, 0.0, 0.0, 1.0), "rotation", minimum=-1.001, maximum=1.001
    )

    def __post_init__(self) -> None:
        length = float(np.linalg.norm(self.quat_xyzw))
        if abs(length - 1.0) > _NOT_UNIT:
            raise ConfigError(f"quat_xyzw={list(self.quat_xyzw)} must have length 1, it has {length:.4g}")

    @cached_property
    def T(self) -> FloatArray:
        """The pose as a transform (4, 4)."""
        return frames.from_quat(self.position_m, self.quat_xyzw)

    @cached_property
    def T_inverse(self) -> FloatArray:
        """The inverse of it."""
        return frames.invert(self.T)


@dataclass(frozen=True)
class ArmFrames:
    """Where the vendor's frames lie in those of docs/conventions.md."""

    robot: Pose = option(lambda: Pose(), "the arm's own base in the base frame")
    tcp: Pose = option(
        lambda: Pose(), "the tool frame (between the finger tips, +Z approach, +X closing) in the arm's tool"
    )

    def T_base_tcp(self, T_robot_tool: FloatArray) -> FloatArray:
        """The tool frame (4, 4) of the arm's own tool pose."""
        return self.robot.T @ T_robot_tool @ self.tcp.T

    def T_robot_tool(self, T_base_tcp: FloatArray) -> FloatArray:
        """The other way."""
        return self.robot.T_inverse @ T_base_tcp @ self.tcp.T_inverse


@dataclass(frozen=True)
class MotionLimits:
    """What the controller allows by itself; the limits of `safety=` stand above them.

    Raises:
        ConfigError: the box is empty, or home lies outside.
    """

    workspace_low_m: Vector3 = required("lower corner of the box of the setpoint, base frame", unit="m")
    workspace_high_m: Vector3 = required("upper corner", unit="m")
    max_width_m: float = required("opening of the jaws", unit="m", minimum=0.005, maximum=0.5)
    max_delta_m: float = option(0.03, "translation per control period", unit="m", minimum=1e-4, maximum=0.2)
    max_delta_rotation_rad: float = option(0.25, "turn per control period", unit="rad", minimum=1e-3, maximum=1.0)
    max_state_age_s: float = option(0.1, "older states of the arm are a lost link", unit="s", minimum=1e-3, maximum=1.0)
    max_lead_m: float = option(0.1, "setpoint over tool on the way home", unit="m", minimum=0.005, maximum=0.5)
    home_m: Vector3 | None = option(None, "tool between episodes, pointing down; null is where it was put", unit="m")
    home_speed_m_s: float = option(0.1, "on the way home", unit="m/s", minimum=0.005, maximum=0.5)
    home_speed_rad_s: float = option(0.5, "turning on the way home", unit="rad/s", minimum=0.02, maximum=2.0)

    def __post_init__(self) -> None:
        low, high = np.array(self.workspace_low_m), np.array(self.workspace_high_m)
        if not (low < high).all():
            raise ConfigError(f"workspace_low_m={list(low)} must be below workspace_high_m={list(high)}")
        if self.home_m is not None and ((low > self.home_m) | (high < self.home_m)).any():
            raise ConfigError(f"home_m={list(self.home_m)} lies outside of {list(low)} to {list(high)} m")
