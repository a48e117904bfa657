"""Where a rig says that corners should be seen, how that changes with every part of it, and the fit of all of it.

A rig is `T_mount_cam` (the mount is the tool for a wrist camera, the base for an external one) and `T_far_board` (the
other of the two). In a view with tool pose `T_base_tcp`, a corner lies at

    T_cam_board = inv(T_mount_cam) @ T_mount_far @ T_far_board

with `T_mount_far` the inverse of the tool pose, or the tool pose itself. What a robot says of its tool is never quite
true, and that error moves all corners of a view together. So each view's residual has the covariance

    C = corner_px^2 I + J_tool diag(tool_m^2, tool_rad^2) J_tool^T

(the tool's error, marginalised), the fit is generalised least squares with it, and both noises are estimated from the
views by expectation maximisation. A lens is never quite as its own pictures have it either: with a `LensPrior` it is
fitted along, as far as its covariance allows, since how far the arm moved says much of the focal length. Needs numpy
and OpenCV only, as the robot's own check of its camera does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.calibration.errors import CalibrationError
from simtoreal.camera import CameraModel
from simtoreal.camera_record import FloatArray, lens_of, lens_parameters

_ITERATIONS, _NOISE_ROUNDS = 30, 12
_CONVERGED = 1e-6  # of the cost, which is about one for each number measured
_LEAST_TOOL_M, _LEAST_TOOL_RAD = 2e-5, 2e-5  # below what any arm repeats
_LEAST_CORNER_PX = 0.02
_LEAST_EIGENVALUE = 1e-10  # of a scaled matrix that determines anything


class PosedView(NamedTuple):
    """The corners of one picture, and where the robot says its tool was."""

    name: str
    corners_px: FloatArray  # (N, 2)
    points_m: FloatArray  # (N, 3), board frame
    T_base_tcp: FloatArray  # (4, 4)

    def of(self, mask: NDArray[np.bool_]) -> "PosedView":
        """The view with some of its corners."""
        return PosedView(self.name, self.corners_px[mask], self.points_m[mask], self.T_base_tcp)


@dataclass(frozen=True, eq=False)
class Rig:
    """A camera on its mount and the board at the other end of the arm."""

    placement: Literal["wrist", "external"]
    model: CameraModel
    T_mount_cam: FloatArray  # (4, 4)
    T_far_board: FloatArray  # (4, 4)

    def T_mount_far(self, T_base_tcp: FloatArray) -> FloatArray:
        return frames.invert(T_base_tcp) if self.placement == "wrist" else T_base_tcp

    def T_cam_board(self, T_base_tcp: FloatArray) -> FloatArray:
        return frames.invert(self.T_mount_cam) @ self.T_mount_far(T_base_tcp) @ self.T_far_board


class Noise(NamedTuple):
    """Standard deviations."""

    corner_px: float
    tool_m: float  # each axis
    tool_rad: float  # each axis


class Residual(NamedTuple):
    """One view: what is seen minus what is expected, and how the expectation changes (rows u v of each corner)."""

    r: FloatArray  # (2N,) px
    mount: FloatArray  # (2N, 6) by a motion of the camera along its own axes, m then rad
    board: FloatArray  # (2N, 6) by a motion of the board along its own axes
    tool: FloatArray  # (2N, 6) by a motion of the tool along its own axes
    lens: FloatArray  # (2N, 9) by fx fy cx cy k1 k2 p1 p2 k3


class LensPrior(NamedTuple):
    """What is known of a lens before the fit."""

    model: CameraModel
    covariance: FloatArray  # (9, 9) of LENS_PARAMETERS


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted rig."""

    rig: Rig
    noise: Noise
    covariance: FloatArray  # (F, F) of the free parameters: mount (6) if it is, board (6), lens (9) if it is
    surprise: FloatArray  # (V,) squared Mahalanobis length of each view's tool error, six degrees of freedom


def residual(view: PosedView, rig: Rig) -> Residual:
    """Residual and derivatives of one view."""
    T_cam_mount = frames.invert(rig.T_mount_cam)
    T_cam_far = T_cam_mount @ rig.T_mount_far(view.T_base_tcp)
    T_cam_board = T_cam_far @ rig.T_far_board
    p_cam = frames.apply(T_cam_board, view.points_m)
    zero, distortion = np.zeros(3), np.array(rig.model.distortion)
    pixels, J = cv2.projectPoints(p_cam.reshape(-1, 1, 3), zero, zero, rig.model.K, distortion)
    J_point = np.asarray(J[:, 3:6], dtype=np.float64).reshape(-1, 2, 3)
    R_cam_tcp = T_cam_mount[:3, :3] if rig.placement == "wrist" else T_cam_far[:3, :3]
    in_tool = (
        frames.apply(rig.T_mount_far(view.T_base_tcp) @ rig.T_far_board, view.points_m)
        if rig.placement == "wrist"
        else frames.apply(rig.T_far_board, view.points_m)
    )
    tool_sign = -1.0 if rig.placement == "wrist" else 1.0
    return Residual(
        (view.corners_px - np.asarray(pixels).reshape(-1, 2)).ravel(),
        -_by_motion(J_point, np.eye(3), p_cam),
        _by_motion(J_point, T_cam_board[:3, :3], view.points_m),
        tool_sign * _by_motion(J_point, R_cam_tcp, in_tool),
        np.asarray(J[:, 6:15]),
    )


def _by_motion(J_point: FloatArray, R: FloatArray, points: FloatArray) -> FloatArray:
    """Derivatives (2N, 6) of pixels by a motion `t + w x p` of points (N, 3), turned into the camera by R."""
    by_t = J_point @ R
    by_w = np.stack([np.cross(points, row) for row in np.moveaxis(by_t, 1, 0)], axis=1)  # row . (w x p) = w . (p x row)
    return np.concatenate([by_t, by_w], axis=2).reshape(-1, 6)


def moved(rig: Rig, step: FloatArray) -> Rig:
    """A rig after a small change of the board (6), of camera and board (12), or of camera, board and lens (21)."""
    if len(step) == 6:
        return replace(rig, T_far_board=rig.T_far_board @ _motion(step))
    model = rig.model if len(step) == 12 else lens_of(rig.model, lens_parameters(rig.model) + step[12:])
    return Rig(rig.placement, model, rig.T_mount_cam @ _motion(step[:6]), rig.T_far_board @ _motion(step[6:12]))


def _motion(step: FloatArray) -> FloatArray:
    return frames.transform(step[:3], frames.rotation_from_vector(step[3:]))


@dataclass(frozen=True)
class _Problem:
    """What a fit is about, and the noise it reckons with."""

    views: Sequence[PosedView]
    noise: Noise
    mount: bool
    lens: LensPrior | None

    @property
    def num_free(self) -> int:
        return (12 if self.mount else 6) + (0 if self.lens is None else 9)

    @cached_property
    def lens_information(self) -> FloatArray:
        """Inverse (9, 9) of the lens's covariance; what varies together stays together."""
        assert self.lens is not None
        scale, values, vectors = _scaled_eigen(self.lens.covariance)
        return np.asarray(np.outer(scale, scale) * ((vectors / np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T))

    def slopes(self, part: Residual) -> FloatArray:
        """Derivatives (2N, F) of a view by all that is free."""
        columns = [part.mount, part.board] if self.mount else [part.board]
        return np.hstack(columns if self.lens is None else [*columns, part.lens])


def fit_rig(
    views: Sequence[PosedView], start: Rig, noise: Noise, *, mount: bool = True, fixed: bool = False,
    lens: LensPrior | None = None,
) -> Fit:  # fmt: skip
    """Fits board and, with `mount`, camera to views, and with a prior the lens; `fixed` leaves the noise as it is.

    Raises:
        CalibrationError: the views do not determine the parameters.
        ValueError: a lens is to be fitted without the mount.
    """
    if lens is not None and not mount:
        raise ValueError("a lens is fitted with the mount only")
    rig, result = start, None
    for _ in range(1 if fixed else _NOISE_ROUNDS):
        problem = _Problem(views, noise, mount, lens)
        rig = _converge(problem, rig)
        result = _summary(problem, rig)
        if fixed:
            break
        updated = _better_noise(views, result, 12 if mount else 6)
        done = np.allclose(updated, noise, rtol=0.02)
        noise = updated
        if done:
            break
    assert result is not None
    return result


def _converge(problem: _Problem, rig: Rig) -> Rig:
    """Levenberg-Marquardt."""
    damping, cost = 1e-4, _cost(problem, rig)
    for _ in range(_ITERATIONS):
        H, g = _normal_equations(problem, rig)
        try:
            step = np.asarray(np.linalg.solve(H + damping * np.diag(np.diag(H)), g), dtype=np.float64)
        except np.linalg.LinAlgError:
            raise CalibrationError(_UNDETERMINED) from None
        trial, trial_cost = _tried(problem, rig, step)
        if trial_cost <= cost:
            gain, rig, cost, damping = cost - trial_cost, trial, trial_cost, max(0.2 * damping, 1e-12)
            if gain <= _CONVERGED * max(cost, 1.0):
                break
        else:
            damping *= 10.0
            if damping > 1e8:
                break
    return rig


def _tried(problem: _Problem, rig: Rig, step: FloatArray) -> tuple[Rig, float]:
    """A rig after a step and its cost, which is infinite for a lens that cannot exist."""
    try:
        trial = moved(rig, step)
    except ValueError:
        return rig, float("inf")
    return trial, _cost(problem, trial)


_UNDETERMINED = (
    "the views do not determine where the camera is: turn the tool by 20 to 40 degrees about at least two different "
    "axes between views"
)


def _whitened(view: PosedView, rig: Rig, noise: Noise) -> tuple[FloatArray, Residual]:
    """Lower Cholesky factor of a view's covariance, and its residual."""
    part = residual(view, rig)
    tool = part.tool * np.repeat([noise.tool_m, noise.tool_rad], 3)
    C = noise.corner_px**2 * np.eye(len(part.r)) + tool @ tool.T
    return np.linalg.cholesky(C), part


def _cost(problem: _Problem, rig: Rig) -> float:
    """Squared whitened residuals; infinite where a corner lies behind the camera.

    The covariance is that of the nominal noise at this rig; it changes little within a fit.
    """
    total = 0.0
    for view in problem.views:
        L, part = _whitened(view, rig, problem.noise)
        if not np.isfinite(part.r).all() or _behind(view, rig):
            return float("inf")
        white = np.linalg.solve(L, part.r)
        total += float(white @ white)
    if problem.lens is not None:
        off = lens_parameters(rig.model) - lens_parameters(problem.lens.model)
        total += float(off @ problem.lens_information @ off)
    return total


def _behind(view: PosedView, rig: Rig) -> bool:
    return bool((frames.apply(rig.T_cam_board(view.T_base_tcp), view.points_m)[:, 2] <= 1e-6).any())


def _normal_equations(problem: _Problem, rig: Rig) -> tuple[FloatArray, FloatArray]:
    H, g = np.zeros((problem.num_free, problem.num_free)), np.zeros(problem.num_free)
    for view in problem.views:
        L, part = _whitened(view, rig, problem.noise)
        J = np.linalg.solve(L, problem.slopes(part))
        H += J.T @ J
        g += J.T @ np.linalg.solve(L, part.r)
    if problem.lens is not None:
        H[12:, 12:] += problem.lens_information
        g[12:] += problem.lens_information @ (lens_parameters(problem.lens.model) - lens_parameters(rig.model))
    return H, g


def _scaled_eigen(matrix: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scale to a diagonal of ones, since parameters differ by orders of magnitude; eigenvalues, eigenvectors then."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    return scale, values, vectors


def _summary(problem: _Problem, rig: Rig) -> Fit:
    H, _ = _normal_equations(problem, rig)
    scale, values, vectors = _scaled_eigen(H)
    if values[0] < _LEAST_EIGENVALUE:
        raise CalibrationError(_UNDETERMINED)
    covariance = np.outer(scale, scale) * ((vectors / values) @ vectors.T)
    surprise = np.array([_tool_error(view, rig, problem.noise)[2] for view in problem.views])
    return Fit(rig, problem.noise, covariance, surprise)


def _tool_error(view: PosedView, rig: Rig, noise: Noise) -> tuple[FloatArray, FloatArray, float]:
    """Expected tool error (6,) of a view, its covariance, and how surprising it is under the noise."""
    part = residual(view, rig)
    prior = np.repeat([noise.tool_m, noise.tool_rad], 3) ** 2
    information = part.tool.T @ part.tool / noise.corner_px**2
    covariance = np.asarray(np.linalg.inv(information + np.diag(1.0 / prior)), dtype=np.float64)
    mean = covariance @ (part.tool.T @ part.r) / noise.corner_px**2
    seen = np.linalg.solve(information, part.tool.T @ part.r / noise.corner_px**2)  # without the prior
    spread = np.linalg.inv(information) + np.diag(prior)
    return mean, covariance, float(seen @ np.linalg.solve(spread, seen))


def _better_noise(views: Sequence[PosedView], fit: Fit, num_free: int) -> Noise:
    """One step of expectation maximisation; what the fit itself took away from the residuals is given back."""
    tool_m, tool_rad, corner, num = [], [], 0.0, 0
    for view in views:
        mean, covariance, _ = _tool_error(view, fit.rig, fit.noise)
        tool_m.append(mean[:3] @ mean[:3] + np.trace(covariance[:3, :3]))
        tool_rad.append(mean[3:] @ mean[3:] + np.trace(covariance[3:, 3:]))
        part = residual(view, fit.rig)
        left = part.r - part.tool @ np.linalg.lstsq(part.tool, part.r, rcond=None)[0]
        corner, num = corner + float(left @ left), num + len(left) - 6
    share = 6.0 * len(views) / max(6.0 * len(views) - num_free, 1.0)
    return Noise(
        max(float(np.sqrt(corner / max(num, 1))), _LEAST_CORNER_PX),
        max(float(np.sqrt(share * np.mean(tool_m) / 3.0)), _LEAST_TOOL_M),
        max(float(np.sqrt(share * np.mean(tool_rad) / 3.0)), _LEAST_TOOL_RAD),
    )


def board_in_camera(view: PosedView, model: CameraModel) -> FloatArray:
    """`T_cam_board` (4, 4) of one picture.

    Raises:
        CalibrationError: its corners make no pose.
    """
    done, turn, shift = cv2.solvePnP(view.points_m, view.corners_px, model.K, np.array(model.distortion))
    if not done:
        raise CalibrationError(f"{view.name}: the corners seen make no pose of the board; leave this picture out")
    return frames.transform(np.ravel(shift), frames.rotation_from_vector(np.ravel(turn)))


def own_residual_px(view: PosedView, model: CameraModel) -> FloatArray:
    """Residuals (N, 2) of a view by itself, the pose of the board being free: of corners and lens alone."""
    rig = Rig("external", model, np.eye(4), board_in_camera(view, model))
    return residual(view._replace(T_base_tcp=np.eye(4)), rig).r.reshape(-1, 2)


def error_px(view: PosedView, rig: Rig) -> float:
    """Root mean square reprojection error of a view, over corners and both axes, without any tool error."""
    return float(np.sqrt(np.mean(residual(view, rig).r ** 2)))
