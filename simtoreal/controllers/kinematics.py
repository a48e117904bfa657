"""Forward and inverse kinematics of an arm from its URDF, through Pinocchio, for arms that take joint commands only.

The inverse is damped least squares with the damping of Sugihara (2011), "Solvability-unconcerned inverse kinematics by
the Levenberg-Marquardt method", IEEE T-RO 27(5): half the squared error, plus a little; it goes through singularities
and comes as near as it can to poses out of reach. Redundancy is used to stay near a posture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.extras import load
from simtoreal.schema import ConfigError, closest

FloatArray = NDArray[np.float64]
_BIAS = 1e-4  # of the damping: keeps it regular at the goal
_RADIUS_M = 0.2  # one radian of rotation error weighs as much as so many metres
_POSTURE = 0.05  # of the way to the posture for each solution, where it costs nothing


class Solution(NamedTuple):
    """Joint positions, and how far the tool is from where it should be with them."""

    joint_positions_rad: FloatArray  # (n,), within the limits
    error_m: float
    error_rad: float


class Kinematics:
    """The chain of an arm, from the root of its URDF to a link.

    Args:
        urdf: description; meshes are not needed.
        joints: names, in the order of the vectors of joint positions; every other joint stays at zero.
        link: whose pose is meant.
        posture_rad: where redundancy tends to, the middle of each joint's range if not given.

    Raises:
        ModuleNotFoundError: Pinocchio is not installed.
        ConfigError: the file cannot be read, or has no such joint or link.
    """

    def __init__(self, urdf: Path, joints: Sequence[str], link: str, posture_rad: Sequence[float] = ()) -> None:
        self._pin = load("pinocchio", "kinematics from a URDF", "kinematics")
        full = self._read(urdf)
        unknown = [name for name in joints if not full.existJointName(name)]
        if unknown or not joints:
            known = [name for name in full.names if name != "universe"]
            hint = closest(unknown[0], known) if unknown else "."
            raise ConfigError(f"{urdf}: no joint {unknown}{hint} Joints: {', '.join(known)}")
        locked = [number for number in range(1, full.njoints) if full.names[number] not in set(joints)]
        self._model = self._pin.buildReducedModel(full, locked, self._pin.neutral(full))
        if not self._model.existFrame(link):
            known = sorted({frame.name for frame in full.frames})
            raise ConfigError(f"{urdf}: no link {link!r}{closest(link, known)} Links: {', '.join(known)}")
        self._data = self._model.createData()
        self._frame = self._model.getFrameId(link)
        numbers = [self._model.getJointId(name) for name in joints]
        if any(self._model.joints[number].nq != 1 for number in numbers):
            raise ConfigError(f"{urdf}: joints must turn about, or slide along, one axis within limits: {list(joints)}")
        self._order = np.array([self._model.joints[number].idx_q for number in numbers])
        self.joints = tuple(joints)
        self.low_rad = self._model.lowerPositionLimit[self._order]
        self.high_rad = self._model.upperPositionLimit[self._order]
        self.max_speed_rad_s = self._model.velocityLimit[self._order]
        self.posture_rad = self._posture(urdf, posture_rad)

    def forward(self, joint_positions_rad: ArrayLike) -> FloatArray:
        """Pose (4, 4) of the link in the root of the URDF."""
        pin = self._pin
        pin.forwardKinematics(self._model, self._data, self._configuration(joint_positions_rad))
        return np.array(pin.updateFramePlacement(self._model, self._data, self._frame).homogeneous)

    def inverse(
        self, T_root_link: FloatArray, near_rad: ArrayLike, num_steps: int = 60, tolerance: float = 1e-6
    ) -> Solution:
        """The joint positions near others that bring the link to a pose, or as near to it as the limits allow.

        Args:
            T_root_link: pose (4, 4) of the link.
            near_rad: joint positions (n,) to start from.
            num_steps: iterations at most.
            tolerance: of the error, metres, and radians times 0.2 m, at which to end.
        """
        q = np.clip(np.asarray(near_rad, dtype=np.float64), self.low_rad, self.high_rad)
        weight = np.array([1.0, 1.0, 1.0, _RADIUS_M, _RADIUS_M, _RADIUS_M])
        best, best_error = q, np.inf
        for step in range(num_steps):
            error, jacobian = self._error(T_root_link, q)
            error, jacobian = weight * error, weight[:, None] * jacobian
            size = float(error @ error)
            if size < best_error:
                best, best_error = q, size
            if size < tolerance**2:
                break
            drift = _POSTURE * (self.posture_rad - q) if step == 0 else np.zeros(len(q))
            q = np.clip(q + _step(error, jacobian, drift), self.low_rad, self.high_rad)
        left, _ = self._error(T_root_link, best)
        return Solution(best, float(np.linalg.norm(left[:3])), float(np.linalg.norm(left[3:])))

    def towards(self, T_root_link: FloatArray, now_rad: FloatArray, duration_s: float, speed_frac: float) -> FloatArray:
        """Joint positions (n,) on the way to a pose that every joint reaches within its speed limit."""
        goal = self.inverse(T_root_link, now_rad).joint_positions_rad
        change = goal - now_rad
        over = float((np.abs(change) / (self.max_speed_rad_s * speed_frac * duration_s)).max())
        return now_rad + change / max(over, 1.0)

    def _error(self, T_root_link: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What is left to the goal (6,), translation and rotation in the root, and the Jacobian (6, n)."""
        pin = self._pin
        full = self._configuration(q)
        jacobian = pin.computeFrameJacobian(
            self._model, self._data, full, self._frame, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED
        )
        at = pin.updateFramePlacement(self._model, self._data, self._frame)
        turn = np.asarray(pin.log3(T_root_link[:3, :3] @ at.rotation.T))
        return np.concatenate([T_root_link[:3, 3] - at.translation, turn]), np.array(jacobian)[:, self._order]

    def _configuration(self, joint_positions_rad: ArrayLike) -> FloatArray:
        given = np.asarray(joint_positions_rad, dtype=np.float64)
        if given.shape != self._order.shape:
            raise ValueError(f"joint positions must be {len(self._order)} numbers, got {given.shape}")
        q = np.zeros(self._model.nq)
        q[self._order] = given
        return q

    def _posture(self, urdf: Path, given: Sequence[float]) -> FloatArray:
        if not given:
            return np.asarray(0.5 * (self.low_rad + self.high_rad))
        if len(given) != len(self.joints):
            raise ConfigError(f"posture_rad for {urdf} must have {len(self.joints)} numbers, it has {len(given)}")
        return np.array(given, dtype=np.float64)

    def _read(self, urdf: Path) -> Any:
        if not urdf.is_file():
            raise ConfigError(f"urdf={urdf}: there is no such file")
        try:
            return self._pin.buildModelFromUrdf(str(urdf))
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"urdf={urdf} cannot be read: {' '.join(str(error).split())}") from error


def _step(error: FloatArray, jacobian: FloatArray, drift: FloatArray) -> FloatArray:
    """Change (n,) of the joints for an error (6,), with as much of a drift (n,) as does not move the tool."""
    num = len(drift)
    damping = (0.5 * float(error @ error) + _BIAS * _BIAS) * np.eye(num)
    normal = jacobian.T @ jacobian + damping
    return np.asarray(drift + np.linalg.solve(normal, jacobian.T @ (error - jacobian @ drift)))
