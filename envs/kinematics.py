"""Forward and inverse kinematics of any serial arm as a product of exponentials (Lynch and Park, Modern Robotics, 4).

The screw axes are read from the loaded robot at zero joint angles, so no arm needs code of its own.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SerialChain:
    """Revolute joints from the base to the tool, all at zero angle."""

    axes: FloatArray  # (J, 3) unit axes in the base frame
    points_m: FloatArray  # (J, 3) a point on each axis
    T_base_tcp_zero: FloatArray  # (4, 4)
    lower_rad: FloatArray  # (J,)
    upper_rad: FloatArray  # (J,)

    def forward(self, q_rad: FloatArray) -> FloatArray:
        """Tool pose (4, 4) at joint angles (J,)."""
        return np.asarray(_forward(self.axes, self.points_m, self.T_base_tcp_zero, q_rad)[0])

    def inverse(
        self, T_base_tcp: FloatArray, q_start_rad: FloatArray, q_rest_rad: FloatArray, num_iterations: int = 8
    ) -> FloatArray:
        """Joint angles (J,) near `q_start_rad` whose tool pose is closest to the one asked for, inside the limits.

        Damped least squares; the redundant joint drifts toward `q_rest_rad`.
        """
        return np.asarray(
            _inverse(
                self.axes,
                self.points_m,
                self.T_base_tcp_zero,
                self.lower_rad,
                self.upper_rad,
                np.ascontiguousarray(T_base_tcp),
                q_start_rad,
                q_rest_rad,
                num_iterations,
            )
        )


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _forward(axes, points, T_zero, q):  # type: ignore[no-untyped-def]
    num = q.shape[0]
    T = np.eye(4)
    axes_now = np.empty((num, 3))
    points_now = np.empty((num, 3))
    for i in range(num):
        for r in range(3):
            axes_now[i, r] = T[r, 0] * axes[i, 0] + T[r, 1] * axes[i, 1] + T[r, 2] * axes[i, 2]
            points_now[i, r] = T[r, 0] * points[i, 0] + T[r, 1] * points[i, 1] + T[r, 2] * points[i, 2] + T[r, 3]
        x, y, z = axes[i, 0], axes[i, 1], axes[i, 2]
        c, s = np.cos(q[i]), np.sin(q[i])
        v = 1.0 - c
        E = np.eye(4)
        E[0, 0] = c + x * x * v
        E[0, 1] = x * y * v - z * s
        E[0, 2] = x * z * v + y * s
        E[1, 0] = y * x * v + z * s
        E[1, 1] = c + y * y * v
        E[1, 2] = y * z * v - x * s
        E[2, 0] = z * x * v - y * s
        E[2, 1] = z * y * v + x * s
        E[2, 2] = c + z * z * v
        for r in range(3):
            E[r, 3] = points[i, r] - (
                E[r, 0] * points[i, 0] + E[r, 1] * points[i, 1] + E[r, 2] * points[i, 2]
            )
        T = T @ E
    return T @ T_zero, axes_now, points_now


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def _inverse(axes, points, T_zero, lower, upper, T_goal, q_start, q_rest, num_iterations):  # type: ignore[no-untyped-def]
    num = q_start.shape[0]
    q = q_start.copy()
    J = np.empty((6, num))
    error = np.empty(6)
    for _ in range(num_iterations):
        T, axes_now, points_now = _forward(axes, points, T_zero, q)
        for r in range(3):
            error[r] = T_goal[r, 3] - T[r, 3]
        # Half the sum of column cross products: the rotation error for small angles, with the right sign for large.
        for r in range(3):
            error[3 + r] = 0.0
        for c in range(3):
            a0, a1, a2 = T[0, c], T[1, c], T[2, c]
            b0, b1, b2 = T_goal[0, c], T_goal[1, c], T_goal[2, c]
            error[3] += 0.5 * (a1 * b2 - a2 * b1)
            error[4] += 0.5 * (a2 * b0 - a0 * b2)
            error[5] += 0.5 * (a0 * b1 - a1 * b0)
        size = 0.0
        for r in range(6):
            size = max(size, abs(error[r]))
        for i in range(num):
            w = axes_now[i]
            d = T[:3, 3] - points_now[i]
            J[0, i] = w[1] * d[2] - w[2] * d[1]
            J[1, i] = w[2] * d[0] - w[0] * d[2]
            J[2, i] = w[0] * d[1] - w[1] * d[0]
            J[3, i], J[4, i], J[5, i] = w[0], w[1], w[2]
        A = J @ J.T + 1e-5 * np.eye(6)
        task = J.T @ np.linalg.solve(A, error)
        rest = 0.1 * (q_rest - q)
        rest = rest - J.T @ np.linalg.solve(A, J @ rest)
        for i in range(num):
            q[i] = min(max(q[i] + task[i] + rest[i], lower[i]), upper[i])
        if size < 1e-5:
            break
    return q
