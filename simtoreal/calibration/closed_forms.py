"""Closed forms for hand-eye calibration: where a fit of all corners starts from, and what it is compared with.

With `G` the pose of the base in the tool (wrist) or of the tool in the base (external), `C` that of the board in the
camera, `X = T_mount_cam` and `B` the pose of the board at the other end of the arm: `X C = G B` in every view. Two
views give `A X = X D` with `A = G_j inv(G_i)` and `D = C_j inv(C_i)`.

The solvers of OpenCV (`cv2.calibrateHandEye`, `cv2.calibrateRobotWorldHandEye`), which OpenCV 5.0 offers to C++ alone,
written from the papers. On rendered sets OpenCV 4.14 answers the same within 0.1 mm, but for Andreff (2.9 mm).
"""

import contextlib
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from simtoreal import frames
from simtoreal.camera_record import FloatArray

_LEAST_TURN_RAD = 0.02  # a motion that hardly turns says nothing about the rotation


class Motions(NamedTuple):
    """Motions between every two views."""

    A: FloatArray  # (P, 4, 4) of the mount
    D: FloatArray  # (P, 4, 4) of the camera


def motions(G: Sequence[FloatArray], C: Sequence[FloatArray]) -> Motions:
    """All pairs of views that turn against one another."""
    pairs = [(G[j] @ frames.invert(G[i]), C[j] @ frames.invert(C[i])) for i, j in combinations(range(len(G)), 2)]
    kept = [(A, D) for A, D in pairs if np.linalg.norm(frames.rotation_to_vector(D[:3, :3])) > _LEAST_TURN_RAD]
    return Motions(np.array([A for A, _ in kept]).reshape(-1, 4, 4), np.array([D for _, D in kept]).reshape(-1, 4, 4))


def tsai(pairs: Motions) -> FloatArray:
    """Tsai and Lenz, 1989: modified Rodrigues vectors, then the translation."""
    a, d = (2.0 * _quaternions(part)[:, :3] for part in pairs)
    rows = np.concatenate([_cross_matrix(p + q) for p, q in zip(a, d, strict=True)])
    half = np.linalg.lstsq(rows, (d - a).ravel(), rcond=None)[0]
    p = 2.0 * half / np.sqrt(1.0 + half @ half)
    R = (1.0 - 0.5 * p @ p) * np.eye(3) + 0.5 * (np.outer(p, p) + np.sqrt(4.0 - min(p @ p, 4.0)) * _cross_matrix(p))
    return _with_translation(R, pairs)


def park(pairs: Motions) -> FloatArray:
    """Park and Martin, 1994: the rotation that best maps the logarithms of one motion to those of the other."""
    a, d = (np.array([frames.rotation_to_vector(T[:3, :3]) for T in part]) for part in pairs)
    return _with_translation(_best_rotation(a, d), pairs)


def horaud(pairs: Motions) -> FloatArray:
    """Horaud and Dornaika, 1995: the rotation that best maps the axes of one motion to those of the other."""
    a, d = (_unit(_quaternions(part)[:, :3]) for part in pairs)
    return _with_translation(_best_rotation(a, d), pairs)


def andreff(pairs: Motions) -> FloatArray:
    """Andreff, Horaud and Espiau, 1999: rotation and translation together, linear in the entries of both."""
    rows = np.zeros((12 * len(pairs.A), 12))
    right = np.zeros(12 * len(pairs.A))
    for k, (A, D) in enumerate(zip(*pairs, strict=True)):
        R_a, R_d, at = A[:3, :3], D[:3, :3], 12 * k
        rows[at : at + 9, :9] = np.eye(9) - np.kron(R_a, R_d)
        rows[at + 9 : at + 12, :9] = np.kron(np.eye(3), D[:3, 3])
        rows[at + 9 : at + 12, 9:] = np.eye(3) - R_a
        right[at + 9 : at + 12] = A[:3, 3]
    solution = np.linalg.lstsq(rows, right, rcond=None)[0]
    return _with_translation(_nearest_rotation(np.asarray(solution[:9].reshape(3, 3), dtype=np.float64)), pairs)


def daniilidis(pairs: Motions) -> FloatArray:
    """Daniilidis, 1999: dual quaternions, rotation and translation together."""
    rows = np.concatenate([_screw_rows(A, D) for A, D in zip(*pairs, strict=True)])
    u, v = np.linalg.svd(rows)[2][-2:]
    u1, u2, v1, v2 = u[:4], u[4:], v[:4], v[4:]
    # lambda1 u + lambda2 v with unit length of the real part and no inner product with the dual part
    roots = np.roots([u1 @ u2, u1 @ v2 + u2 @ v1, v1 @ v2])
    best = max((float(root.real) for root in roots), key=lambda s: s * s * (u1 @ u1) + 2 * s * (u1 @ v1) + v1 @ v1)
    scale = 1.0 / np.sqrt(best * best * (u1 @ u1) + 2 * best * (u1 @ v1) + v1 @ v1)
    real, dual = scale * (best * u1 + v1), scale * (best * u2 + v2)  # w x y z
    conjugate = real * (1.0, -1.0, -1.0, -1.0)
    return frames.from_quat(2.0 * _product(dual, conjugate)[1:], np.roll(real, -1))


def shah(G: Sequence[FloatArray], C: Sequence[FloatArray]) -> FloatArray:
    """Shah, 2013: robot-world and hand-eye together from the views themselves, not from motions between them."""
    total = sum(np.kron(g[:3, :3], c[:3, :3]) for g, c in zip(G, C, strict=True))
    U = np.linalg.svd(np.asarray(total))[0]  # vec(R_X) is the first left singular vector; the fit finds the board
    R_x = _nearest_rotation(np.sign(np.linalg.det(U[:, 0].reshape(3, 3))) * U[:, 0].reshape(3, 3))
    rows = np.concatenate([np.hstack([-np.eye(3), g[:3, :3]]) for g in G])
    right = np.concatenate([R_x @ c[:3, 3] - g[:3, 3] for g, c in zip(G, C, strict=True)])
    return frames.transform(np.linalg.lstsq(rows, right, rcond=None)[0][:3], R_x)


def far_end(X: FloatArray, G: Sequence[FloatArray], C: Sequence[FloatArray]) -> FloatArray:
    """The pose `B` (4, 4) of the board at the other end of the arm that fits the views best, given the mount."""
    poses = [frames.invert(g) @ X @ c for g, c in zip(G, C, strict=True)]
    R = _nearest_rotation(np.sum([T[:3, :3] for T in poses], axis=0))
    return frames.transform(np.median([T[:3, 3] for T in poses], axis=0), R)


ON_MOTIONS: dict[str, Callable[[Motions], FloatArray]] = {
    "Tsai": tsai,
    "Park": park,
    "Horaud": horaud,
    "Andreff": andreff,
    "Daniilidis": daniilidis,
}


def solve_all(G: Sequence[FloatArray], C: Sequence[FloatArray]) -> dict[str, FloatArray]:
    """`T_mount_cam` (4, 4) by every closed form; one that fails on these views is left out."""
    pairs, found = motions(G, C), {}
    for name, solver in ON_MOTIONS.items():
        with contextlib.suppress(np.linalg.LinAlgError, ValueError):
            found[name] = solver(pairs)
    with contextlib.suppress(np.linalg.LinAlgError, ValueError):
        found["Shah"] = shah(G, C)
    return {name: T for name, T in found.items() if np.isfinite(T).all()}


def _with_translation(R: FloatArray, pairs: Motions) -> FloatArray:
    """The translation that fits best to a rotation: `(R_a - I) t = R t_d - t_a`."""
    rows = (pairs.A[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    right = (pairs.D[:, :3, 3] @ R.T - pairs.A[:, :3, 3]).ravel()
    return frames.transform(np.linalg.lstsq(rows, right, rcond=None)[0], R)


def _quaternions(T: FloatArray) -> FloatArray:
    return np.array([frames.rotation_to_quat(part[:3, :3]) for part in T]).reshape(-1, 4)


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _best_rotation(a: FloatArray, d: FloatArray) -> FloatArray:
    """R (3, 3) with a = R d in the least squares sense (Kabsch)."""
    return _nearest_rotation(a.T @ d)


def _nearest_rotation(M: FloatArray) -> FloatArray:
    U, _, Vt = np.linalg.svd(M)
    return np.asarray(U @ np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))]) @ Vt)


def _cross_matrix(v: FloatArray) -> FloatArray:
    x, y, z = v
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _product(p: FloatArray, q: FloatArray) -> FloatArray:
    """Product of two quaternions w x y z."""
    w, v = p[0] * q[0] - p[1:] @ q[1:], p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:])
    return np.concatenate([[w], v])


def _screw_rows(A: FloatArray, D: FloatArray) -> FloatArray:
    """Six equations in the eight numbers of a dual quaternion (Daniilidis 1999, equation 31)."""
    (a, a_dual), (d, d_dual) = (_screw(T) for T in (A, D))
    rows = np.zeros((6, 8))
    rows[:3, 0], rows[:3, 1:4] = a - d, _cross_matrix(a + d)
    rows[3:, 0], rows[3:, 1:4] = a_dual - d_dual, _cross_matrix(a_dual + d_dual)
    rows[3:, 4], rows[3:, 5:8] = a - d, _cross_matrix(a + d)
    return rows


def _screw(T: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vector parts of the real and the dual part of a motion's dual quaternion."""
    real = np.roll(frames.rotation_to_quat(T[:3, :3]), 1)
    dual = 0.5 * _product(np.concatenate([[0.0], T[:3, 3]]), real)
    return real[1:], dual[1:]
