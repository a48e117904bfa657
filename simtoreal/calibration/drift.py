"""Whether a camera is still where its file says: a few views of the board, or one, answered in seconds.

Runs on the robot's computer: numpy and OpenCV only. `deploy` calls `look_for_drift` before the first motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simtoreal import frames
from simtoreal.calibration.detection import BoardDetector, without_strays
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.reprojection import (
    Noise,
    PosedView,
    Rig,
    board_in_camera,
    fit_rig,
    own_residual_px,
    residual,
)
from simtoreal.camera_record import CameraRecord, FloatArray
from simtoreal.contracts import Observation

_CONFIDENCE = 1.96
_CHANCE = 2.8  # a length this many standard deviations long is no chance: 95 % of three normal axes
_VIEWS_TO_FIND_THE_BOARD = 4
_START_NOISE = Noise(0.3, 0.0003, 0.0005)


@dataclass(frozen=True)
class DriftTolerance:
    """How far a camera may be from where its file says."""

    position_m: float = 0.005
    rotation_rad: float = 0.0175
    lens_px: float = 0.5  # error that is left once the board's pose in each picture is free


@dataclass(frozen=True)
class Drift:
    """What a drift check found; standard deviations include those of the calibration itself."""

    position_m: float
    rotation_rad: float
    position_std_m: float
    rotation_std_rad: float
    lens_px: float
    num_views: int
    board_assumed: bool  # the board was taken to be where it was at calibration
    within: bool
    drifted: bool  # beyond doubt; what is neither is undecided
    verdict: str  # one sentence with the numbers and what to do


def check_drift(
    camera: CameraRecord,
    views: Sequence[PosedView],
    *,
    board_where_it_was: bool = False,
    tolerance: DriftTolerance | None = None,
) -> Drift:
    """Compares a few views of the board with what a camera file says.

    With at least four views from different angles, the board may lie anywhere: its pose is found too. With fewer, or
    with `board_where_it_was`, the board has to be where it was when the file was made.

    Args:
        camera: the calibrated camera.
        views: the corners seen, with the tool pose of each.
        board_where_it_was: the board was not moved since the calibration.
        tolerance: what counts as drifted; 5 mm, 1 degree and 0.5 px where it is left out.

    Raises:
        CalibrationError: the file has no mount, there is no view, or the board's place is needed and not known.
    """
    limits = tolerance or DriftTolerance()
    if camera.mount is None or camera.mount_fit is None:
        raise CalibrationError("the camera file has no calibrated mount: run `simtoreal calibrate hand-eye` first")
    if not views:
        raise CalibrationError("no view shows the board: bring it into the picture, and check its settings")
    fit = camera.mount_fit
    known = fit.board_pose.T if fit.board_pose is not None else None
    assume = board_where_it_was or len(views) < _VIEWS_TO_FIND_THE_BOARD
    if assume and known is None:
        raise CalibrationError("the camera file does not say where the board was: take four views or more")
    lens_px = _lens_px(views, camera)  # of all corners: what a changed lens moves must not pass as stray
    views = without_strays(views, [own_residual_px(view, camera.model) for view in views])
    noise = _START_NOISE._replace(
        corner_px=max(fit.corner_noise_px, 0.1),
        tool_m=max(fit.tool_noise_m, 1e-4),
        tool_rad=max(fit.tool_noise_rad, 1e-4),
    )
    start = Rig(camera.placed, camera.model, camera.mount.T, known if known is not None else np.eye(4))
    motion, covariance = _with_known_board(views, start, noise) if assume else _with_free_board(views, start, noise)
    return _judged(motion, covariance + fit.matrix, lens_px, (len(views), assume, limits))


def look_for_drift(camera: CameraRecord, observation: Observation) -> Drift | None:
    """The check on what a camera sees now, the board being where it was; None where it cannot be seen or is not known.

    Raises:
        CalibrationError: the board of the file cannot exist.
    """
    fit = camera.mount_fit
    if observation.rgb is None or camera.board is None or fit is None or fit.board_pose is None:
        return None
    view = BoardDetector(camera.board).find(observation.rgb)
    if view is None:
        return None
    posed = PosedView(view.name, view.corners_px, view.points_m, observation.T_base_tcp)
    return check_drift(camera, [posed], board_where_it_was=True)


def _with_known_board(views: Sequence[PosedView], start: Rig, noise: Noise) -> tuple[FloatArray, FloatArray]:
    """Motion (6,) of the camera and its covariance, the board being where it was.

    A board that stands still and a camera that moves are told from the board's apparent motion in each view.
    """
    H, g = np.zeros((6, 6)), np.zeros(6)
    mount = start
    for _ in range(8):
        H, g = np.zeros((6, 6)), np.zeros(6)
        for view in views:
            part = residual(view, mount)
            tool = part.tool * np.repeat([noise.tool_m, noise.tool_rad], 3)
            C = noise.corner_px**2 * np.eye(len(part.r)) + tool @ tool.T
            H += part.mount.T @ np.linalg.solve(C, part.mount)
            g += part.mount.T @ np.linalg.solve(C, part.r)
        step = np.linalg.solve(H, g)
        T = mount.T_mount_cam @ frames.transform(step[:3], frames.rotation_from_vector(step[3:]))
        mount = replace(mount, T_mount_cam=T)
        if float(np.abs(step).max()) < 1e-9:
            break
    return _between(start.T_mount_cam, mount.T_mount_cam), np.asarray(np.linalg.inv(H), dtype=np.float64)


def _with_free_board(views: Sequence[PosedView], start: Rig, noise: Noise) -> tuple[FloatArray, FloatArray]:
    """The same with a board that may lie anywhere: found from the first view, then fitted together."""
    T_far_cam = frames.invert(start.T_mount_far(views[0].T_base_tcp)) @ start.T_mount_cam
    rig = replace(start, T_far_board=T_far_cam @ board_in_camera(views[0], start.model))
    fit = fit_rig(views, rig, noise, fixed=True)
    return _between(start.T_mount_cam, fit.rig.T_mount_cam), fit.covariance[:6, :6]


def _between(T_before: FloatArray, T_after: FloatArray) -> FloatArray:
    d = frames.invert(T_before) @ T_after
    return np.concatenate([d[:3, 3], frames.rotation_to_vector(d[:3, :3])])


def _lens_px(views: Sequence[PosedView], camera: CameraRecord) -> float:
    """Error that is left with the board's pose free in each view: of the lens, whatever the mount is."""
    left = np.concatenate([own_residual_px(view, camera.model).ravel() for view in views])
    return float(np.sqrt(np.mean(left**2)))


def _judged(motion: FloatArray, covariance: FloatArray, lens_px: float, how: tuple[int, bool, DriftTolerance]) -> Drift:
    """Drifted where the tolerance is left by more than chance explains; undecided counts as not within."""
    num_views, assumed, limits = how
    position_m, rotation_rad = float(np.linalg.norm(motion[:3])), float(np.linalg.norm(motion[3:]))
    position_std = _std_along(motion[:3], covariance[:3, :3])
    rotation_std = _std_along(motion[3:], covariance[3:, 3:])
    certain = _CONFIDENCE * position_std <= limits.position_m and _CONFIDENCE * rotation_std <= limits.rotation_rad
    moved = position_m > max(limits.position_m, _CHANCE * position_std) or rotation_rad > max(
        limits.rotation_rad, _CHANCE * rotation_std
    )
    blurred = lens_px > limits.lens_px
    inside = position_m <= limits.position_m and rotation_rad <= limits.rotation_rad
    size = (
        f"{1e3 * position_m:.1f} mm (sd {1e3 * position_std:.1f}) and {np.degrees(rotation_rad):.2f} degrees "
        f"(sd {np.degrees(rotation_std):.2f}) from where its file says, lens error {lens_px:.2f} px"
    )
    if blurred:
        verdict = f"the lens has changed: {size}; run `simtoreal calibrate intrinsics` again, then hand-eye"
    elif moved:
        board = " (or the board was moved)" if assumed else ""
        verdict = f"the camera has moved{board}: {size}; run `simtoreal calibrate hand-eye` again"
    elif not (inside and certain):
        verdict = f"undecided: {size}; the tolerance is {1e3 * limits.position_m:.1f} mm: take more views"
    else:
        verdict = f"within tolerance: {size}"
    within = inside and certain and not blurred
    return Drift(
        position_m,
        rotation_rad,
        position_std,
        rotation_std,
        lens_px,
        num_views,
        assumed,
        within,
        moved or blurred,
        verdict,
    )


def _std_along(vector: FloatArray, covariance: FloatArray) -> float:
    """Standard deviation of a vector's length; of the worst direction where the vector is all but zero."""
    length = float(np.linalg.norm(vector))
    worst = float(np.sqrt(np.linalg.eigvalsh(covariance)[-1]))
    if length < worst:
        return worst
    unit = vector / length
    return float(np.sqrt(unit @ covariance @ unit))
