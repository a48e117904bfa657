"""Forward and inverse kinematics of any serial arm as a product of exponentials (Lynch and Park, Modern Robotics, 4).

The screw axes are read from the loaded robot at zero joint angles, so no arm needs code of its own. These functions run
several times per control period: in the kernels, plain loops over numbers cost a tenth of small array expressions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled

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
        return _tool_pose(self.axes, self.points_m, self.T_base_tcp_zero, q_rad)

    def inverse(
        self, T_base_tcp: FloatArray, q_start_rad: FloatArray, q_rest_rad: FloatArray, num_iterations: int = 8
    ) -> FloatArray:
        """Joint angles (J,) near `q_start_rad` whose tool pose is closest to the one asked for, inside the limits.

        Levenberg-Marquardt, damped by the error that is left, which does not shake where a pose is out of reach
        (Sugihara 2011). The redundant joint drifts toward `q_rest_rad` by a tenth per iteration.
        """
        return _inverse(
            (self.axes, self.points_m, self.T_base_tcp_zero, self.lower_rad, self.upper_rad),
            T_base_tcp,
            q_start_rad,
            q_rest_rad,
            num_iterations,
        )


def toward(T_from: FloatArray, T_to: FloatArray, share: float) -> FloatArray:
    """The pose (4, 4) a share of the way from one pose to another, along a straight line and about one axis."""
    return _toward(T_from, T_to, share)


@compiled
def _turn(axis: FloatArray, angle: float, R: FloatArray) -> None:
    """Writes the rotation about a unit axis into R (Rodrigues)."""
    x, y, z = axis[0], axis[1], axis[2]
    c, s = np.cos(angle), np.sin(angle)
    v = 1.0 - c
    R[0, 0], R[0, 1], R[0, 2] = c + x * x * v, x * y * v - z * s, x * z * v + y * s
    R[1, 0], R[1, 1], R[1, 2] = y * x * v + z * s, c + y * y * v, y * z * v - x * s
    R[2, 0], R[2, 1], R[2, 2] = z * x * v - y * s, z * y * v + x * s, c + z * z * v


@compiled
def _multiply(T_a_b: FloatArray, T_b_c: FloatArray, T_a_c: FloatArray) -> None:
    for r in range(3):
        for c in range(4):
            T_a_c[r, c] = T_a_b[r, 0] * T_b_c[0, c] + T_a_b[r, 1] * T_b_c[1, c] + T_a_b[r, 2] * T_b_c[2, c]
        T_a_c[r, 3] += T_a_b[r, 3]


@compiled
def _forward(
    axes: FloatArray, points: FloatArray, q: FloatArray, axes_now: FloatArray, points_now: FloatArray
) -> FloatArray:
    """The motion (4, 4) of the last link away from its zero pose; writes where the axes have moved to."""
    T, E, product = np.eye(4), np.eye(4), np.eye(4)
    for i in range(q.shape[0]):
        for r in range(3):
            axes_now[i, r] = T[r, 0] * axes[i, 0] + T[r, 1] * axes[i, 1] + T[r, 2] * axes[i, 2]
            points_now[i, r] = T[r, 0] * points[i, 0] + T[r, 1] * points[i, 1] + T[r, 2] * points[i, 2] + T[r, 3]
        _turn(axes[i], q[i], E)
        for r in range(3):
            turned = E[r, 0] * points[i, 0] + E[r, 1] * points[i, 1] + E[r, 2] * points[i, 2]
            E[r, 3] = points[i, r] - turned
        _multiply(T, E, product)
        T, product = product, T
    return T


@compiled
def _tool_pose(axes: FloatArray, points: FloatArray, T_zero: FloatArray, q: FloatArray) -> FloatArray:
    T = np.eye(4)
    _multiply(_forward(axes, points, q, np.empty_like(axes), np.empty_like(points)), T_zero, T)
    return T


@compiled
def _pose_error(T: FloatArray, T_goal: FloatArray, error: FloatArray) -> float:
    """Writes position and rotation error (6,) and returns the largest component.

    Half the sum of the cross products of the columns is the rotation error for small angles, and has the right sign
    for large ones.
    """
    for r in range(3):
        error[r] = T_goal[r, 3] - T[r, 3]
        error[3 + r] = 0.0
    for c in range(3):
        error[3] += 0.5 * (T[1, c] * T_goal[2, c] - T[2, c] * T_goal[1, c])
        error[4] += 0.5 * (T[2, c] * T_goal[0, c] - T[0, c] * T_goal[2, c])
        error[5] += 0.5 * (T[0, c] * T_goal[1, c] - T[1, c] * T_goal[0, c])
    size = 0.0
    for r in range(6):
        size = max(size, abs(error[r]))
    return size


@compiled
def _jacobian(T: FloatArray, axes_now: FloatArray, points_now: FloatArray, J: FloatArray) -> None:
    for i in range(axes_now.shape[0]):
        w0, w1, w2 = axes_now[i, 0], axes_now[i, 1], axes_now[i, 2]
        d0, d1, d2 = T[0, 3] - points_now[i, 0], T[1, 3] - points_now[i, 1], T[2, 3] - points_now[i, 2]
        J[0, i], J[1, i], J[2, i] = w1 * d2 - w2 * d1, w2 * d0 - w0 * d2, w0 * d1 - w1 * d0
        J[3, i], J[4, i], J[5, i] = w0, w1, w2


@compiled
def _factorize(J: FloatArray, damping: float) -> FloatArray:
    """The lower triangle (6, 6) whose product with its transpose is J J^T + damping I (Cholesky)."""
    lower = np.zeros((6, 6))
    for r in range(6):
        for c in range(r + 1):
            total = damping if r == c else 0.0
            for k in range(J.shape[1]):
                total += J[r, k] * J[c, k]
            for k in range(c):
                total -= lower[r, k] * lower[c, k]
            lower[r, c] = np.sqrt(total) if r == c else total / lower[c, c]
    return lower


@compiled
def _solve(lower: FloatArray, b: FloatArray) -> None:
    """Replaces b (6,) by the solution x of lower lower^T x = b."""
    for r in range(6):
        for k in range(r):
            b[r] -= lower[r, k] * b[k]
        b[r] /= lower[r, r]
    for r in range(5, -1, -1):
        for k in range(r + 1, 6):
            b[r] -= lower[k, r] * b[k]
        b[r] /= lower[r, r]


@compiled
def _inverse(
    chain: tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray],
    T_goal: FloatArray,
    q_start: FloatArray,
    q_rest: FloatArray,
    num_iterations: int,
) -> FloatArray:
    axes, points, T_zero, lower, upper = chain
    num = q_start.shape[0]
    q = q_start.copy()
    T, J, error = np.eye(4), np.empty((6, num)), np.empty(6)
    axes_now, points_now = np.empty_like(axes), np.empty_like(points)
    for _ in range(num_iterations):
        _multiply(_forward(axes, points, q, axes_now, points_now), T_zero, T)
        size = _pose_error(T, T_goal, error)
        _jacobian(T, axes_now, points_now, J)
        damping = 1e-5
        for r in range(6):
            damping += 0.5 * error[r] * error[r]
        # The pull toward rest, less what of it would move the tool.
        pull = 0.1 * 1e-3 / (1e-3 + damping)
        for r in range(6):
            for i in range(num):
                error[r] -= J[r, i] * pull * (q_rest[i] - q[i])
        _solve(_factorize(J, damping), error)
        for i in range(num):
            step = pull * (q_rest[i] - q[i])
            for r in range(6):
                step += J[r, i] * error[r]
            q[i] = min(max(q[i] + step, lower[i]), upper[i])
        if size < 1e-5:
            break
    return q


@compiled
def _toward(T_from: FloatArray, T_to: FloatArray, share: float) -> FloatArray:
    T, axis, error = T_from.copy(), np.empty(3), np.empty(6)
    _pose_error(T_from, T_to, error)
    trace = 0.0
    for r in range(3):
        for c in range(3):
            trace += T_from[r, c] * T_to[r, c]
    sine = np.sqrt(error[3] ** 2 + error[4] ** 2 + error[5] ** 2)
    if sine > 1e-9:
        for r in range(3):
            axis[r] = error[3 + r] / sine
        turn = np.eye(4)
        _turn(axis, share * np.arctan2(sine, 0.5 * (trace - 1.0)), turn)
        _multiply(turn, T_from, T)
    for r in range(3):
        T[r, 3] = T_from[r, 3] + share * (T_to[r, 3] - T_from[r, 3])
    return T
