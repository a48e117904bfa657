"""What the numbers behind lerobot's keys mean: a unit for each, checked against every value that comes."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simtoreal.controllers.arm import checked_width
from simtoreal.controllers.link_errors import LinkError
from simtoreal.schema import ConfigError, option, required

FloatArray = NDArray[np.float64]
_TURNS_RAD = 4.0 * math.pi
_REACH_M = 3.0
_SLACK = 5.0  # of a range of 200: motors stand a little beyond their calibrated ends


class JointUnit(StrEnum):
    """Unit of a joint."""

    DEGREES = "degrees"
    RADIANS = "radians"
    RANGE = "range"  # from -100 to 100 over the calibrated range, lerobot's RANGE_M100_100


@dataclass(frozen=True)
class JointKey:
    """One joint.

    Raises:
        ConfigError: the ends of a range are missing or the wrong way round.
    """

    key: str = required("of the observation and of the action, such as shoulder_pan.pos")
    unit: JointUnit = required("of its numbers: degrees, radians, or range (-100 to 100)")
    sign: int = option(1, "1 or -1: whether it turns as in the URDF", minimum=-1, maximum=1)
    offset_rad: float = option(0.0, "of the URDF's joint where the number is 0", unit="rad", minimum=-7.0, maximum=7.0)
    low_rad: float | None = option(None, "at -100, of a range", unit="rad", minimum=-13.0, maximum=13.0)
    high_rad: float | None = option(None, "at 100, of a range", unit="rad", minimum=-13.0, maximum=13.0)

    def __post_init__(self) -> None:
        if self.sign == 0:
            raise ConfigError(f"{self.key}: sign must be 1 or -1")
        if (self.unit is JointUnit.RANGE) != (self.low_rad is not None and self.high_rad is not None):
            raise ConfigError(f"{self.key}: low_rad and high_rad are for unit=range, which needs both")
        if self.low_rad is not None and self.high_rad is not None and self.low_rad >= self.high_rad:
            raise ConfigError(f"{self.key}: low_rad={self.low_rad} must be below high_rad={self.high_rad}")

    def to_rad(self, value: float) -> float:
        """The joint of the URDF.

        Raises:
            LinkError: the value cannot be of this unit.
        """
        number = float(value)
        most = {JointUnit.DEGREES: math.degrees(_TURNS_RAD), JointUnit.RADIANS: _TURNS_RAD}.get(
            self.unit, 100.0 + _SLACK
        )
        if not (math.isfinite(number) and abs(number) <= most):
            raise LinkError(
                f"{self.key}={number:g} is out of range for unit={self.unit}: allowed is {-most:.4g} to {most:.4g}. "
                "Is it another unit?"
            )
        return self.sign * number * self._scale + self._middle

    def of_rad(self, joint_rad: float) -> float:
        """The number of lerobot; within the range where there is one."""
        number = (float(joint_rad) - self._middle) / (self._scale * self.sign)
        return min(max(number, -100.0), 100.0) if self.unit is JointUnit.RANGE else number

    @property
    def _scale(self) -> float:
        """Radians for a number of 1."""
        if self.low_rad is not None and self.high_rad is not None:
            return (self.high_rad - self.low_rad) / 200.0
        return math.radians(1.0) if self.unit is JointUnit.DEGREES else 1.0

    @property
    def _middle(self) -> float:
        if self.low_rad is not None and self.high_rad is not None:
            return 0.5 * (self.low_rad + self.high_rad) + self.offset_rad
        return self.offset_rad


@dataclass(frozen=True)
class GripperKey:
    """The gripper: its opening is linear in the number.

    Raises:
        ConfigError: both ends are the same number.
    """

    key: str = required("of the observation and of the action, such as gripper.pos")
    open_m: float = required("opening at open_value", unit="m", minimum=0.005, maximum=0.5)
    open_value: float = option(100.0, "number when open")
    closed_value: float = option(0.0, "number when closed")

    def __post_init__(self) -> None:
        if self.open_value == self.closed_value:
            raise ConfigError(f"{self.key}: open_value and closed_value are both {self.open_value:g}")

    def to_m(self, value: float) -> float:
        """The opening; a number a little beyond the ends counts as the end.

        Raises:
            LinkError: it is far beyond, or none.
        """
        share = (float(value) - self.closed_value) / (self.open_value - self.closed_value)
        if not (math.isfinite(share) and -0.1 <= share <= 1.1):
            raise LinkError(
                f"{self.key}={float(value):g} is out of range: allowed is {self.closed_value:g} (closed) to "
                f"{self.open_value:g} (open). Is it another unit?"
            )
        return checked_width(self.key, self.open_m * min(max(share, 0.0), 1.0))

    def of_m(self, width_m: float) -> float:
        """The number for an opening."""
        share = min(max(width_m / self.open_m, 0.0), 1.0)
        return self.closed_value + share * (self.open_value - self.closed_value)


@dataclass(frozen=True)
class WristKeys:
    """The tool pose of a robot that is controlled by its end effector."""

    position: tuple[str, str, str] = option(("ee.x", "ee.y", "ee.z"), "keys of the position")
    rotation: tuple[str, str, str] = option(("ee.wx", "ee.wy", "ee.wz"), "keys of the rotation vector, radians")
    unit_m: float = option(
        1.0, "of the position: 1 for metres, 0.001 for millimetres", unit="m", minimum=0.001, maximum=1
    )

    def checked(self, position_m: FloatArray) -> FloatArray:
        """A position that an arm can have.

        Raises:
            LinkError: it is too far away.
        """
        if float(np.abs(position_m).max()) > _REACH_M:
            raise LinkError(
                f"the wrist is at {position_m.tolist()} m, allowed is {_REACH_M:g} m: are "
                f"{', '.join(self.position)} millimetres? Set wrist.unit_m"
            )
        return position_m
