"""Sessions with a board whose truth is known, without any renderer: corners through the camera model, plus noise."""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.calibration.board import board_fields, corner_points_m
from simtoreal.calibration.detection import BoardView
from simtoreal.calibration.reprojection import PosedView, Rig
from simtoreal.camera import CameraModel
from simtoreal.camera_record import BoardSpec, CameraRecord

SPEC = BoardSpec()
MODEL = CameraModel(640, 480, 600.0, 602.0, 318.0, 242.0, (0.05, -0.1, 0.001, -0.0005, 0.02))
MIDDLE_M = np.array([0.5 * SPEC.squares_x * SPEC.square_m, 0.5 * SPEC.squares_y * SPEC.square_m, 0.0])
Placement = Literal["wrist", "external"]


class Noise(NamedTuple):
    corner_px: float = 0.15
    tool_m: float = 0.0003
    tool_rad: float = 0.0005


USUAL = Noise()


def rig_of(placement: Placement) -> Rig:
    if placement == "wrist":
        T_mount = frames.transform((0.05, 0.0, -0.06), frames.rotation_from_vector((0.1, 0.2, 1.5)))
        T_far = frames.transform((0.4, 0.08, 0.0), frames.rotation_from_vector((np.pi, 0.0, 0.0)))
    else:
        T_mount = frames.look_at((1.05, 0.0, 0.7), (0.5, 0.0, 0.2))
        T_far = frames.transform((0.05, -0.1, 0.06), frames.rotation_from_vector((0.0, -0.3, 0.0)))
    return Rig(placement, MODEL, T_mount, T_far)


def record_of(placement: Placement) -> CameraRecord:
    return CameraRecord(placement, "rgb", MODEL)


def tool_pose(rig: Rig, rng: np.random.Generator) -> NDArray[np.float64]:
    """A tool pose from which the camera sees the board."""
    if rig.placement == "wrist":
        centre = frames.apply(rig.T_far_board, MIDDLE_M)
        eye = centre + 0.35 * np.array([*rng.uniform(-0.6, 0.6, 2), 1.0])
        T_base_cam = frames.look_at(eye, centre + rng.uniform(-0.03, 0.03, 3), rng.normal(size=3))
        return T_base_cam @ frames.invert(rig.T_mount_cam)
    turn = frames.rotation_from_vector(rng.uniform(-0.5, 0.5, 3))
    T_cam_board = frames.transform((*rng.uniform(-0.08, 0.08, 2), rng.uniform(0.5, 0.7)), turn) @ frames.transform(
        -MIDDLE_M
    )
    return rig.T_mount_cam @ T_cam_board @ frames.invert(rig.T_far_board)


def seen_from(rig: Rig, T_base_tcp: NDArray[np.float64], rng: np.random.Generator, noise: Noise) -> PosedView:
    """What the camera sees; the pose that is reported differs from the true one."""
    points = corner_points_m(SPEC)
    error = frames.transform(
        rng.normal(0.0, noise.tool_m, 3), frames.rotation_from_vector(rng.normal(0.0, noise.tool_rad, 3))
    )
    in_cam = frames.apply(rig.T_cam_board(T_base_tcp @ error), points)
    pixels = project(in_cam) + rng.normal(0.0, noise.corner_px, (len(points), 2))
    inside = ((pixels > 0.0) & (pixels < (MODEL.width_px, MODEL.height_px))).all(axis=1)
    return PosedView("", pixels[inside], points[inside], T_base_tcp)


def project(in_cam: NDArray[np.float64]) -> NDArray[np.float64]:
    return cv2.projectPoints(in_cam, np.zeros(3), np.zeros(3), MODEL.K, np.array(MODEL.distortion))[0].reshape(-1, 2)


def session(placement: Placement, seed: int, num: int = 15, noise: Noise = USUAL) -> list[PosedView]:
    rng, rig, views = np.random.default_rng(seed), rig_of(placement), []
    while len(views) < num:
        view = seen_from(rig, tool_pose(rig, rng), rng, noise)
        if len(view.corners_px) >= 8:
            views.append(view._replace(name=f"view_{len(views):02d}"))
    return views


def held_board(rng: np.random.Generator, tilt_rad: float = 0.7) -> NDArray[np.float64]:
    """`T_cam_board` of a board that somebody holds before the lens."""
    far = rng.uniform(0.24, 0.45)
    pixel = rng.uniform(0.2, 0.8, 2) * (MODEL.width_px, MODEL.height_px)
    ray = np.array([(pixel[0] - MODEL.cx) / MODEL.fx, (pixel[1] - MODEL.cy) / MODEL.fy, 1.0])
    turn = frames.rotation_from_vector((*rng.uniform(-tilt_rad, tilt_rad, 2), 0.0))
    return frames.transform(far * ray, turn) @ frames.transform(-MIDDLE_M)


def lens_session(seed: int, num: int = 20, tilt_rad: float = 0.7, corner_px: float = 0.15) -> list[BoardView]:
    rng, points, views = np.random.default_rng(seed), corner_points_m(SPEC), []
    while len(views) < num:
        pixels = project(frames.apply(held_board(rng, tilt_rad), points)) + rng.normal(0.0, corner_px, (len(points), 2))
        inside = ((pixels > 0.0) & (pixels < (MODEL.width_px, MODEL.height_px))).all(axis=1)
        if inside.sum() >= 8:
            view = BoardView(f"view_{len(views):02d}", pixels[inside], points[inside], np.flatnonzero(inside))
            views.append(view)
    return views


def picture(T_cam_board: NDArray[np.float64], spec: BoardSpec = SPEC) -> NDArray[np.uint8]:
    """A picture (480, 640, 3) of a board, drawn field by field through the lens, blurred as a lens does."""
    fine = 4
    canvas = np.full((MODEL.height_px * fine, MODEL.width_px * fine), 120, dtype=np.uint8)
    for field in board_fields(spec, 0.01):
        (x0, y0), (x1, y1) = field.low_m, field.high_m
        corners = np.array([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])
        pixels = (project(frames.apply(T_cam_board, corners)) + 0.5) * fine - 0.5
        cv2.fillConvexPoly(canvas, np.rint(pixels * 16).astype(np.int32), 25 if field.is_black else 230, cv2.LINE_8, 4)
    small = cv2.resize(canvas, (MODEL.width_px, MODEL.height_px), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(cv2.GaussianBlur(small, (3, 3), 0.6), cv2.COLOR_GRAY2RGB)


def facing() -> NDArray[np.float64]:
    """A board in the middle, slightly tilted."""
    return frames.transform((0.0, 0.0, 0.32), frames.rotation_from_vector((0.2, -0.25, 0.1))) @ frames.transform(
        -MIDDLE_M
    )
