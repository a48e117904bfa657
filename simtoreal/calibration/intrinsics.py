"""The lens from pictures of a board: OpenCV's fit, outliers rejected, with the covariance of all nine parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.calibration.coverage import Coverage, coverage_of, tilt_spread_rad
from simtoreal.calibration.detection import BoardView, without_strays
from simtoreal.calibration.errors import CalibrationError
from simtoreal.camera import CameraModel
from simtoreal.camera_record import LENS_PARAMETERS, FloatArray

MIN_VIEWS = 6
_LEAST_TILT_RAD = np.radians(10.0)
_OUTLIER_FACTOR, _OUTLIER_PX, _MAX_REJECTED_FRAC = 3.0, 0.3, 0.25
_CORNER_ROUNDS = 2  # of leaving out stray corners
_WORST_FOCAL_FRAC = 0.05  # a focal length less certain than this is none
_ERROR_GRID = (9, 12)
_CRITERIA = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 100, 1e-10)


@dataclass(frozen=True, eq=False)
class LensResult:
    """A fitted lens, with what it was fitted to."""

    model: CameraModel
    covariance: FloatArray  # (9, 9) of LENS_PARAMETERS
    views: tuple[BoardView, ...]  # used
    rejected: tuple[str, ...]  # names of the views left out
    boards: tuple[FloatArray, ...]  # T_cam_board (4, 4) of each view
    residuals_px: tuple[FloatArray, ...]  # (N, 2) of each view
    coverage: Coverage

    @property
    def error_px(self) -> float:
        """Root mean square over corners and both axes."""
        return float(np.sqrt(np.mean(np.concatenate([part.ravel() for part in self.residuals_px]) ** 2)))

    @property
    def view_errors_px(self) -> list[float]:
        """The same for each view."""
        return [float(np.sqrt(np.mean(part**2))) for part in self.residuals_px]

    @property
    def std(self) -> dict[str, float]:
        """Standard deviation of each parameter."""
        return dict(zip(LENS_PARAMETERS, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))


class _Solved(NamedTuple):
    model: CameraModel
    boards: list[FloatArray]
    residuals: list[FloatArray]


def fit_lens(views: Sequence[BoardView], width_px: int, height_px: int) -> LensResult:
    """Fits a lens to views of one board, leaving out those that fit far worse than the rest.

    Raises:
        CalibrationError: there are too few views, they are all alike, or they do not determine the lens.
    """
    if len(views) < MIN_VIEWS:
        raise CalibrationError(
            f"{len(views)} pictures show the board and at least {MIN_VIEWS} are needed, 15 to 30 are good: take more"
        )
    kept, rejected = list(views), list[str]()
    most = int(_MAX_REJECTED_FRAC * len(views))
    while True:
        solved = _solve(kept, width_px, height_px)
        errors = np.array([_spread_px(part) for part in solved.residuals])
        worst = int(errors.argmax())
        limit = max(_OUTLIER_FACTOR * float(np.median(errors)), _OUTLIER_PX)
        if errors[worst] <= limit or len(rejected) >= most or len(kept) <= MIN_VIEWS:
            break
        rejected.append(kept.pop(worst).name)
    for _ in range(_CORNER_ROUNDS):
        kept = without_strays(kept, solved.residuals)
        solved = _solve(kept, width_px, height_px)
    _check_tilts(solved.boards)
    covariance = _covariance(kept, solved)
    _check_certain(solved.model, covariance)
    return LensResult(
        solved.model, covariance, tuple(kept), tuple(rejected), tuple(solved.boards), tuple(solved.residuals),
        coverage_of(kept, solved.model, solved.boards),
    )  # fmt: skip


def _spread_px(residuals_px: FloatArray) -> float:
    """Standard deviation of a view's residuals by their median, which a stray corner does not move."""
    return float(1.4826 * np.median(np.abs(residuals_px)))


def _solve(views: Sequence[BoardView], width_px: int, height_px: int) -> _Solved:
    points = [view.points_m.astype(np.float32).reshape(-1, 1, 3) for view in views]
    corners = [view.corners_px.astype(np.float32).reshape(-1, 1, 2) for view in views]
    try:
        _, K, distortion, turns, shifts = cv2.calibrateCamera(
            points,
            corners,
            (width_px, height_px),
            None,
            None,
            criteria=_CRITERIA,
        )
    except cv2.error as error:
        raise CalibrationError(f"the pictures make no calibration ({error.err}); tilt the board more") from None
    k1, k2, p1, p2, k3 = (float(value) for value in np.asarray(distortion).ravel()[:5])
    model = CameraModel(
        width_px, height_px, float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]), (k1, k2, p1, p2, k3)
    )
    boards = [
        frames.transform(np.ravel(shift), frames.rotation_from_vector(np.ravel(turn)))
        for turn, shift in zip(turns, shifts, strict=True)
    ]
    residuals = []
    for view, turn, shift in zip(views, turns, shifts, strict=True):
        pixels = cv2.projectPoints(view.points_m, turn, shift, model.K, np.array(model.distortion))[0]
        residuals.append(view.corners_px - np.asarray(pixels).reshape(-1, 2))
    return _Solved(model, boards, residuals)


def _covariance(views: Sequence[BoardView], solved: _Solved) -> FloatArray:
    """Of the lens, with the pose of the board in each view marginalised (Schur complement).

    Corners of one view err together: light, blur and a board that is not quite flat. The scatter of the views' own
    pulls on the lens shows it (White 1980), and where it is larger than independent corners explain, all variances
    grow by the mean of that ratio.
    """
    H, meat, total, num = np.zeros((9, 9)), np.zeros((9, 9)), 0.0, -9
    for view, T, left in zip(views, solved.boards, solved.residuals, strict=True):
        turn = frames.rotation_to_vector(T[:3, :3])
        J = np.asarray(
            cv2.projectPoints(view.points_m, turn, T[:3, 3], solved.model.K, np.array(solved.model.distortion))[1]
        )
        pose, lens = J[:, :6], J[:, 6:15]
        own = lens - pose @ np.linalg.lstsq(pose, lens, rcond=None)[0]
        pull = own.T @ left.ravel()
        H, meat = H + own.T @ own, meat + np.outer(pull, pull)
        total, num = total + float(np.sum(left**2)), num + left.size - 6
    scale = 1.0 / np.sqrt(np.maximum(np.diag(H), 1e-300))
    inverse = np.linalg.pinv(H * np.outer(scale, scale), hermitian=True) * np.outer(scale, scale)
    covariance = total / max(num, 1) * 0.5 * (inverse + inverse.T)
    by_views = np.diag(inverse @ meat @ inverse) * len(views) / max(len(views) - 2, 1)
    return np.asarray(covariance * max(1.0, float(np.mean(by_views / np.diag(covariance)))))


def _check_tilts(boards: Sequence[FloatArray]) -> None:
    spread = tilt_spread_rad(boards)
    if spread < _LEAST_TILT_RAD:
        raise CalibrationError(
            f"the board was held at nearly one angle in all views (they differ by {np.degrees(spread):.0f} degrees), "
            "so that focal length and distance cannot be told apart: tilt it by 20 to 45 degrees to every side"
        )


def _check_certain(model: CameraModel, covariance: FloatArray) -> None:
    focal_std = float(np.sqrt(max(covariance[0, 0], covariance[1, 1])))
    if not np.isfinite(covariance).all() or focal_std > _WORST_FOCAL_FRAC * model.fx:
        raise CalibrationError(
            f"the focal length is {model.fx:.0f} px with a standard deviation of {focal_std:.0f} px: take more views, "
            "tilted more and over all of the image"
        )


def error_map_px(result: LensResult) -> FloatArray:
    """Root mean square residual (rows, columns) in each part of the image, nan where no corner was seen."""
    total, num = np.zeros(_ERROR_GRID), np.zeros(_ERROR_GRID)
    for view, left in zip(result.views, result.residuals_px, strict=True):
        rows = np.clip((view.corners_px[:, 1] + 0.5) / result.model.height_px * _ERROR_GRID[0], 0, _ERROR_GRID[0] - 1)
        columns = np.clip((view.corners_px[:, 0] + 0.5) / result.model.width_px * _ERROR_GRID[1], 0, _ERROR_GRID[1] - 1)
        where = rows.astype(int), columns.astype(int)
        np.add.at(total, where, np.mean(left**2, axis=1))
        np.add.at(num, where, 1.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(total / np.where(num > 0, num, np.nan)))


def error_picture(result: LensResult) -> NDArray[np.uint8]:
    """The error map as colours, up to three times the mean error, with the residuals as arrows, enlarged 50 times."""
    values = error_map_px(result)
    scaled = np.nan_to_num(np.clip(values / (3.0 * max(result.error_px, 1e-9)), 0.0, 1.0) * 255.0).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    colours[~np.isfinite(values)] = 60
    size = (result.model.width_px, result.model.height_px)
    canvas = cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST)
    for view, left in zip(result.views, result.residuals_px, strict=True):
        for start, end in zip(view.corners_px, view.corners_px + 50.0 * left, strict=True):
            a, b = (int(round(start[0])), int(round(start[1]))), (int(round(end[0])), int(round(end[1])))
            cv2.line(canvas, a, b, (250, 248, 240), 1, cv2.LINE_AA)
    return np.asarray(canvas, dtype=np.uint8)
