"""What a driver of an arm has to offer. `ArmController` makes a `Controller` of it; everything else is done there.

Poses are those of the arm's own tool in the arm's own base, as the vendor's software has them; where both lie in the
frames of this project is a setting of the file that describes the hardware.
"""

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.controllers.link_errors import LinkError

FloatArray = NDArray[np.float64]
_RIGID = 1e-3


class ArmState(NamedTuple):
    """An arm at one moment."""

    t_s: float  # on `time.monotonic`
    T_robot_tool: FloatArray  # (4, 4), measured
    gripper_width_m: float
    joint_positions_rad: FloatArray | None = None


class ArmCommand(NamedTuple):
    """Where an arm shall go by the end of a control period."""

    T_robot_tool: FloatArray  # (4, 4)
    gripper_width_m: float


class Arm(Protocol):
    """An arm with a gripper. No method but `connect` blocks longer than a fraction of a control period."""

    def connect(self) -> None:
        """Reaches the arm without moving it.

        Raises:
            LinkError: it cannot be reached, or is not ready.
        """
        ...

    def read_state(self) -> ArmState:
        """The newest state.

        Raises:
            LinkError: there is none.
            ArmStopped: the arm's own safety has acted.
        """
        ...

    def command(self, command: ArmCommand) -> ArmCommand:
        """Sends a setpoint, and returns what was really sent.

        Raises:
            LinkError: it was not sent.
            ArmStopped: the arm's own safety has acted.
        """
        ...

    def stop(self) -> None:
        """Comes to rest and holds. From any state and any thread; does nothing where the arm is not connected.

        Raises:
            LinkError: the arm took none of the ways to stop it.
        """
        ...

    def disconnect(self) -> None:
        """Lets go of the arm, which stands still. Safe to call again."""
        ...


def checked_vector(name: str, value: ArrayLike, size: int) -> FloatArray:
    """A vendor's list of numbers as an array (size,).

    Raises:
        LinkError: it has another length, or holds something that is no finite number.
    """
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise LinkError(f"{name} must be {size} numbers, got {value!r}") from None
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise LinkError(f"{name} must be {size} finite numbers, got {vector.tolist()}")
    return vector


def checked_pose(name: str, value: ArrayLike) -> FloatArray:
    """A vendor's transform as an array (4, 4).

    Raises:
        LinkError: it is no rigid transform.
    """
    T = np.array(value, dtype=np.float64)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise LinkError(f"{name} must be a finite 4 x 4 transform, got {T.tolist()}")
    if float(np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max()) > _RIGID:
        raise LinkError(f"{name} is no rotation and translation: {T.tolist()}")
    return T


def checked_width(name: str, value: float) -> float:
    """An opening in metres.

    Raises:
        LinkError: it is none.
    """
    if not (math.isfinite(value) and -0.005 <= value < 0.5):
        raise LinkError(f"{name} must be an opening from 0 to 0.5 m, got {value:g}: does the driver give millimetres?")
    return max(float(value), 0.0)
