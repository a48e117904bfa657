"""SE(3) as 4x4 arrays: `T_a_b` maps b-coordinates to a (`p_a = T_a_b @ p_b`), so names cancel in a chain.

Quaternions are `quat_xyzw`; rotation vectors are axis * angle in radians. Everything is float64.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def transform(position_m: ArrayLike = (0.0, 0.0, 0.0), R: ArrayLike | None = None) -> Matrix:
    """Builds a (4, 4) transform from a position (3,) in metres and a rotation matrix (3, 3), identity if absent."""
    T = np.eye(4)
    T[:3, 3] = position_m
    if R is not None:
        T[:3, :3] = R
    return T


def from_quat(position_m: ArrayLike, quat_xyzw: ArrayLike) -> Matrix:
    """Builds a (4, 4) transform from a position (3,) in metres and a quaternion (4,) in x, y, z, w order."""
    return transform(position_m, quat_to_rotation(quat_xyzw))


def invert(T: Matrix) -> Matrix:
    """Inverts a rigid transform (4, 4): `invert(T_a_b)` is `T_b_a`."""
    inverse = np.eye(4)
    R_t = T[:3, :3].T
    inverse[:3, :3] = R_t
    inverse[:3, 3] = -R_t @ T[:3, 3]
    return inverse


def apply(T: Matrix, points: ArrayLike) -> Matrix:
    """Maps points (..., 3) through a rigid transform (4, 4)."""
    return np.asarray(points, dtype=np.float64) @ T[:3, :3].T + T[:3, 3]


def quat_to_rotation(quat_xyzw: ArrayLike) -> Matrix:
    """Rotation matrix (3, 3) of a quaternion (4,); the quaternion is normalised first.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    x, y, z, w = map(float, np.asarray(quat_xyzw).tolist())
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not math.isfinite(norm) or norm < 1e-12:
        raise ValueError(f"quat_xyzw must be finite and not zero, got {quat_xyzw}")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_to_quat(R: Matrix) -> Matrix:
    """Quaternion (4,) x, y, z, w with w >= 0 of a rotation matrix (3, 3) (Shepperd 1978)."""
    diagonal = (R[0, 0], R[1, 1], R[2, 2])
    trace = sum(diagonal)
    if trace > max(diagonal):
        quat = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1.0 + trace])
    else:
        i = int(np.argmax(diagonal))
        j, k = (i + 1) % 3, (i + 2) % 3
        quat = np.empty(4)
        quat[i] = 1.0 + R[i, i] - R[j, j] - R[k, k]
        quat[j] = R[j, i] + R[i, j]
        quat[k] = R[k, i] + R[i, k]
        quat[3] = R[k, j] - R[j, k]
    quat /= np.linalg.norm(quat)
    return quat if quat[3] >= 0 else -quat


def rotation_from_vector(vector_rad: ArrayLike) -> Matrix:
    """Rotation matrix (3, 3) of a rotation vector (3,) in radians (Rodrigues)."""
    x, y, z = map(float, np.asarray(vector_rad).tolist())
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return np.eye(3)
    half = 0.5 * angle
    scale = math.sin(half) / angle
    return quat_to_rotation((x * scale, y * scale, z * scale, math.cos(half)))


def rotation_to_vector(R: Matrix) -> Matrix:
    """Rotation vector (3,) in radians, of length at most pi, of a rotation matrix (3, 3)."""
    quat = rotation_to_quat(R)
    sine = float(np.linalg.norm(quat[:3]))
    if sine < 1e-12:
        return np.zeros(3)
    return np.asarray(quat[:3] * (2.0 * math.atan2(sine, quat[3]) / sine))


def rotation_from_rpy(rpy_rad: ArrayLike) -> Matrix:
    """Rotation matrix (3, 3) of roll, pitch and yaw (3,) about fixed axes, as logs and URDF have it: Rz @ Ry @ Rx."""
    half = 0.5 * np.asarray(rpy_rad, dtype=np.float64)
    (cr, cp, cy), (sr, sp, sy) = np.cos(half), np.sin(half)
    return quat_to_rotation(
        (
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        )
    )


def interpolate(T_from: Matrix, T_to: Matrix, fraction: float) -> Matrix:
    """The transform (4, 4) between two: position on the straight line, rotation on the shortest arc (slerp).

    `fraction` is 0 at `T_from` and 1 at `T_to`.
    """
    turn_rad = rotation_to_vector(T_from[:3, :3].T @ T_to[:3, :3])
    position_m = (1.0 - fraction) * T_from[:3, 3] + fraction * T_to[:3, 3]
    return transform(position_m, T_from[:3, :3] @ rotation_from_vector(fraction * turn_rad))


def rotation_about_z(angle_rad: float) -> Matrix:
    """Rotation matrix (3, 3) about +Z."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def top_down(position_m: ArrayLike, yaw_rad: float) -> Matrix:
    """Tool pose (4, 4) that approaches straight down (+Z of the tool is -Z of the base).

    `yaw_rad` is the angle from base +X to tool +X, the direction the jaws close in.
    """
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    x, y, z = np.asarray(position_m).tolist()
    return np.array([[c, s, 0.0, x], [s, -c, 0.0, y], [0.0, 0.0, -1.0, z], [0.0, 0.0, 0.0, 1.0]])


def moved(T_base_tcp: Matrix, delta_m: Matrix, delta_rotation_rad: Matrix) -> Matrix:
    """A pose (4, 4) after a translation (3,) and a turn about its own origin (3,), both along the axes of the base."""
    T = T_base_tcp.copy()
    T[:3, :3] = rotation_from_vector(delta_rotation_rad) @ T[:3, :3]
    T[:3, 3] += delta_m
    return T


def yaw_of(T_base_tcp: Matrix) -> float:
    """Angle in radians from base +X to the closing direction (+X of the tool), seen from above."""
    return math.atan2(T_base_tcp[1, 0], T_base_tcp[0, 0])


def wrap_half_turn(angle_rad: float) -> float:
    """Wraps an angle into [-pi/2, pi/2): a parallel gripper is the same after half a turn."""
    return (angle_rad + math.pi / 2) % math.pi - math.pi / 2


def look_at(eye_m: ArrayLike, target_m: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Matrix:
    """Camera pose (4, 4), optical frame (+Z forward, +X right, +Y down), at `eye_m` looking at `target_m`.

    Raises:
        ValueError: eye and target coincide, or `up` is parallel to the line of sight.
    """
    eye, target = np.asarray(eye_m, dtype=np.float64), np.asarray(target_m, dtype=np.float64)
    forward = target - eye
    right = _cross(forward, np.asarray(up, dtype=np.float64))
    distance, size = float(np.linalg.norm(forward)), float(np.linalg.norm(right))
    if distance < 1e-9 or size < 1e-9:
        raise ValueError(f"cannot look from {eye_m} at {target_m} with up {up}")
    forward, right = forward / distance, right / size
    return transform(eye, np.array([right, _cross(forward, right), forward]).T)


def _cross(a: Matrix, b: Matrix) -> Matrix:
    """Cross product of two vectors (3,); numpy's, made for arrays of any shape, takes twenty times as long."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
