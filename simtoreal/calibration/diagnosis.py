"""What is wrong with poses that do not fit the pictures: the usual mix-ups, tried one by one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from simtoreal import frames
from simtoreal.calibration.closed_forms import far_end, motions, park, solve_all
from simtoreal.calibration.hand_eye import HandEyeResult
from simtoreal.calibration.reprojection import PosedView, Rig, board_in_camera, error_px
from simtoreal.camera import CameraModel
from simtoreal.camera_record import FloatArray

_MUCH_BETTER, _FITS_PX = 0.3, 4.0
_SUSPICIOUS_TOOL_M, _SUSPICIOUS_TOOL_RAD = 0.004, np.radians(0.8)
_WRONG_SCALE, _SCALE_GAIN = 0.02, 0.6
Placement = Literal["wrist", "external"]


def mix_up(views: Sequence[PosedView], model: CameraModel, placement: Placement) -> str:
    """The mix-up that explains views which contradict one another, with what to do; empty if none does."""
    as_given = _error_px(views, model, placement)
    other = "external" if placement == "wrist" else "wrist"
    tried = {
        "quaternions are written w first: the columns qx qy qz qw must hold x, y, z and w": _quaternion_turned,
        # A camera on the other end of the arm and inverted poses are the same equations.
        f"poses fit when inverted: set placement={other} if the camera sits there, or else give T_base_tcp and not its "
        "inverse": frames.invert,
        "positions are millimetres: write metres": _thousandth,
    }
    errors = {text: _error_px(_with_poses(views, change), model, placement) for text, change in tried.items()}
    best = min(errors, key=lambda text: errors[text])
    if errors[best] < min(_MUCH_BETTER * as_given, _FITS_PX):
        return f"{best} (median error {errors[best]:.1f} px that way, {as_given:.1f} px as given)"
    return wrong_board_size(views, model, placement)


def wrong_board_size(views: Sequence[PosedView], model: CameraModel, placement: Placement) -> str:
    """Whether the poses of the robot say that the board has another size than was given; empty if they do not."""
    scale = _board_scale(views, model, placement)
    if not np.isfinite(scale) or scale <= 0.0 or abs(scale - 1.0) < _WRONG_SCALE:
        return ""
    scaled = [view._replace(points_m=view.points_m * scale) for view in views]
    if _error_px(scaled, model, placement) > _SCALE_GAIN * _error_px(views, model, placement):
        return ""
    return (
        f"the board is {scale:.3f} times as large as its settings say, going by the motion of the robot: measure a "
        "square on the print and set board.square_m and board.marker_m"
    )


def is_suspicious(result: HandEyeResult) -> bool:
    """Whether a fit needs a tool that errs more than an arm does."""
    noise = result.fit.noise
    return noise.tool_m > _SUSPICIOUS_TOOL_M or noise.tool_rad > _SUSPICIOUS_TOOL_RAD


def _with_poses(views: Sequence[PosedView], change: Callable[[FloatArray], FloatArray]) -> list[PosedView]:
    return [view._replace(T_base_tcp=change(view.T_base_tcp)) for view in views]


def _quaternion_turned(T: FloatArray) -> FloatArray:
    """The pose that was meant where w x y z was read as x y z w."""
    return frames.from_quat(T[:3, 3], np.roll(frames.rotation_to_quat(T[:3, :3]), -1))


def _thousandth(T: FloatArray) -> FloatArray:
    return frames.transform(0.001 * T[:3, 3], T[:3, :3])


def _error_px(views: Sequence[PosedView], model: CameraModel, placement: Placement) -> float:
    """Median error of the best closed form."""
    blank = Rig(placement, model, np.eye(4), np.eye(4))
    C = [board_in_camera(view, model) for view in views]
    G = [blank.T_mount_far(view.T_base_tcp) for view in views]
    errors = []
    for X in solve_all(G, C).values():
        rig = replace(blank, T_mount_cam=X, T_far_board=far_end(X, G, C))
        errors.append(float(np.median([_safe(view, rig) for view in views])))
    return min(errors, default=np.inf)


def _safe(view: PosedView, rig: Rig) -> float:
    depth = frames.apply(rig.T_cam_board(view.T_base_tcp), view.points_m)[:, 2]
    return error_px(view, rig) if (depth > 1e-3).all() else 1e6


def _board_scale(views: Sequence[PosedView], model: CameraModel, placement: Placement) -> float:
    """The factor on the board's size that fits translations best: `(R_a - I) t - s R t_d = -t_a`."""
    blank = Rig(placement, model, np.eye(4), np.eye(4))
    pairs = motions(
        [blank.T_mount_far(view.T_base_tcp) for view in views], [board_in_camera(view, model) for view in views]
    )
    if not len(pairs.A):
        return 1.0
    R = park(pairs)[:3, :3]
    rows = np.concatenate(
        [np.hstack([A[:3, :3] - np.eye(3), -(R @ D[:3, 3])[:, None]]) for A, D in zip(*pairs, strict=True)]
    )
    return float(np.linalg.lstsq(rows, -pairs.A[:, :3, 3].ravel(), rcond=None)[0][3])
