"""Where the camera is mounted: closed forms compared, refined over all corners, outliers out, with its covariance.

The pose of the optical frame in the tool frame (wrist: the board lies still) or in the base frame (external: the tool
holds the board). See `reprojection` for the model of the errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from simtoreal import frames
from simtoreal.calibration.closed_forms import far_end, solve_all
from simtoreal.calibration.detection import without_strays
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.reprojection import (
    Fit,
    LensPrior,
    Noise,
    PosedView,
    Rig,
    board_in_camera,
    error_px,
    fit_rig,
    own_residual_px,
    residual,
)
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord, FloatArray, lens_of

MIN_VIEWS = 8
_START_NOISE = Noise(0.3, 0.0005, 0.001)
_NUM_SUBSETS = 24  # of views that closed forms are tried on, so that a bad view does not spoil all of them
_SURPRISING = 28.0  # 99.99 % of chi square with six degrees of freedom
_MAX_REJECTED_FRAC = 0.3
_FOLDS = 5
_WORST_STD_M, _WORST_STD_RAD = 0.02, np.radians(2.0)
_LEAST_TURN_RAD, _LEAST_AXES_FRAC = np.radians(8.0), 0.12
_FAR_M = 10.0


class SolverRow(NamedTuple):
    """One solver beside the others."""

    name: str
    error_px: float  # median over the views
    offset_m: float  # from the refined position
    offset_rad: float


@dataclass(frozen=True, eq=False)
class HandEyeResult:
    """A fitted mount, with how it came about."""

    fit: Fit
    views: tuple[PosedView, ...]  # used
    rejected: tuple[str, ...]
    view_errors_px: tuple[float, ...]
    held_out_px: float
    solvers: tuple[SolverRow, ...]

    @property
    def rig(self) -> Rig:
        return self.fit.rig

    @property
    def covariance(self) -> FloatArray:
        """(6, 6) of MOUNT_PARAMETERS; where the lens was fitted along, what is not known of it included."""
        return self.fit.covariance[:6, :6]

    @property
    def error_px(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.view_errors_px))))

    @property
    def position_std_m(self) -> float:
        return float(np.sqrt(np.trace(self.covariance[:3, :3])))

    @property
    def rotation_std_rad(self) -> float:
        return float(np.sqrt(np.trace(self.covariance[3:, 3:])))


def fit_hand_eye(
    views: Sequence[PosedView], camera: CameraRecord, placement: Literal["wrist", "external"], rng: np.random.Generator
) -> HandEyeResult:
    """Fits the mount of a camera whose lens is known, and the lens along with it as far as it is not quite known.

    Raises:
        CalibrationError: too few views, all alike or turned about one axis only, poses in another unit, or views that
            do not fit one another.
    """
    check_motion(views)
    lens = _prior(camera)
    model = camera.model if lens is None else lens.model
    views = without_strays(views, [own_residual_px(view, model) for view in views])
    best, candidates = _start(views, model, placement, rng)
    fit, kept = _without_outliers(views, best, lens)
    result = HandEyeResult(
        fit,
        tuple(kept),
        tuple(view.name for view in views if all(view is not other for other in kept)),
        tuple(error_px(view, fit.rig) for view in kept),
        _held_out_px(kept, fit, lens),
        tuple(_row(name, rig, kept, fit.rig) for name, rig in candidates.items()),
    )
    if result.position_std_m > _WORST_STD_M or result.rotation_std_rad > _WORST_STD_RAD:
        raise CalibrationError(
            f"the mount is uncertain by {1e3 * result.position_std_m:.0f} mm and "
            f"{np.degrees(result.rotation_std_rad):.1f} degrees: turn the tool more, about several axes, and check "
            "that every picture belongs to its pose"
        )
    return result


def _prior(camera: CameraRecord) -> LensPrior | None:
    """The lens as its own pictures have it: what an earlier fit of the mount made of it must not count twice."""
    if camera.lens_fit is None:
        return None
    measured = camera.lens_fit.measured
    return LensPrior(lens_of(camera.model, np.array(measured)) if measured else camera.model, camera.lens_fit.matrix)


def check_motion(views: Sequence[PosedView]) -> None:
    """Makes sure that the poses can determine a mount at all.

    Raises:
        CalibrationError: they cannot; says why.
    """
    if len(views) < MIN_VIEWS:
        raise CalibrationError(
            f"{len(views)} pictures show the board and have a pose, at least {MIN_VIEWS} are needed, 15 are good: "
            "take more"
        )
    far = max(float(np.abs(view.T_base_tcp[:3, 3]).max()) for view in views)
    if far > _FAR_M:
        raise CalibrationError(f"a tool position is {far:.0f} m from the base: write metres, these look like mm")
    first = views[0].T_base_tcp[:3, :3]
    turns = np.array([frames.rotation_to_vector(first.T @ view.T_base_tcp[:3, :3]) for view in views[1:]])
    sizes = np.linalg.svd(turns, compute_uv=False) / np.sqrt(len(turns))
    if sizes[0] < _LEAST_TURN_RAD:
        raise CalibrationError(
            f"the tool hardly turns between views ({np.degrees(sizes[0]):.0f} degrees): turn it by 20 to 40 degrees "
            "about different axes"
        )
    if sizes[1] < _LEAST_AXES_FRAC * sizes[0]:
        raise CalibrationError(
            "the tool turns about one axis only, which leaves the position along that axis open: tilt it about a "
            "second axis too"
        )


def _start(
    views: Sequence[PosedView], model: CameraModel, placement: Literal["wrist", "external"], rng: np.random.Generator
) -> tuple[Rig, dict[str, Rig]]:
    """The closed form with the smallest median error, also tried on subsets; and each of them on all views."""
    blank = Rig(placement, model, np.eye(4), np.eye(4))
    C = [board_in_camera(view, model) for view in views]
    G = [blank.T_mount_far(view.T_base_tcp) for view in views]
    everything = _solved(blank, G, C)
    if not everything:
        raise CalibrationError("no closed form finds a mount: check that every picture belongs to its pose")
    best = min(everything.values(), key=lambda rig: _median_error(views, rig))
    for _ in range(_NUM_SUBSETS):
        part = rng.choice(len(views), size=max(5, len(views) // 2), replace=False)
        for rig in _solved(blank, [G[i] for i in part], [C[i] for i in part]).values():
            best = min(best, rig, key=lambda rig: _median_error(views, rig))
    return best, everything


def _solved(blank: Rig, G: Sequence[FloatArray], C: Sequence[FloatArray]) -> dict[str, Rig]:
    mounts = solve_all(G, C)
    return {name: replace(blank, T_mount_cam=X, T_far_board=far_end(X, G, C)) for name, X in mounts.items()}


def _median_error(views: Sequence[PosedView], rig: Rig) -> float:
    return float(np.median([_safe_error(view, rig) for view in views]))


def _safe_error(view: PosedView, rig: Rig) -> float:
    depth = frames.apply(rig.T_cam_board(view.T_base_tcp), view.points_m)[:, 2]
    return error_px(view, rig) if (depth > 1e-3).all() else 1e6


def _without_outliers(views: Sequence[PosedView], start: Rig, lens: LensPrior | None) -> tuple[Fit, list[PosedView]]:
    """Leaves out the most surprising view until none is, starting from the half that fits best."""
    errors = np.array([_safe_error(view, start) for view in views])
    order = np.argsort(errors)
    core = [views[int(i)] for i in sorted(order[: max(MIN_VIEWS - 1, len(views) // 2 + 1)])]
    fit = fit_rig(core, start, _START_NOISE, lens=lens)
    most = int(_MAX_REJECTED_FRAC * len(views))
    kept = sorted(range(len(views)), key=lambda i: _safe_error(views[i], fit.rig))
    out = [i for i in kept if _safe_error(views[i], fit.rig) > 20.0 * np.median(errors[order[: len(core)]]) + 5.0]
    chosen = [view for i, view in enumerate(views) if i not in out]
    while True:
        if len(views) - len(chosen) > most or len(chosen) < MIN_VIEWS - 1:
            raise CalibrationError(
                f"{len(views) - len(chosen)} of {len(views)} views contradict the others: check that every picture "
                "belongs to its pose, that the board does not move, and that the tool stands still in every picture"
            )
        fit = fit_rig(chosen, fit.rig, _START_NOISE, lens=lens)
        # Judged against the noise of the others: one bad view among few widens the noise that it is judged by.
        surprise = np.array([_left_out_surprise(chosen, i, fit) for i in range(len(chosen))])
        worst = int(surprise.argmax())
        if surprise[worst] <= _SURPRISING:
            return fit, chosen
        chosen.pop(worst)


def _left_out_surprise(views: Sequence[PosedView], index: int, fit: Fit) -> float:
    """How surprising a view is if its own share of the noise is taken out of the estimate."""
    others = np.delete(fit.surprise, index)
    return float(fit.surprise[index] / max(np.mean(others) / 6.0, 1e-9))


def _held_out_px(views: Sequence[PosedView], fit: Fit, lens: LensPrior | None) -> float:
    """Error on views that a fit of the others has not seen, five parts in turn."""
    total, num = 0.0, 0
    for part in range(_FOLDS):
        rest = [view for i, view in enumerate(views) if i % _FOLDS != part]
        rig = fit_rig(rest, fit.rig, fit.noise, fixed=True, lens=lens).rig
        for view in views[part::_FOLDS]:
            left = residual(view, rig).r
            total, num = total + float(left @ left), num + len(left)
    return float(np.sqrt(total / max(num, 1)))


def _row(name: str, rig: Rig, views: Sequence[PosedView], refined: Rig) -> SolverRow:
    d = frames.invert(refined.T_mount_cam) @ rig.T_mount_cam
    turn = float(np.linalg.norm(frames.rotation_to_vector(d[:3, :3])))
    return SolverRow(name, _median_error(views, rig), float(np.linalg.norm(d[:3, 3])), turn)
