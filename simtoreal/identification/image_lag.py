"""How much later pictures are than their stamps say: tracked scene points against where forward kinematics puts them.

Between two pictures of a camera on the wrist, points of the still scene move as the camera did between the two moments
when they were taken. If the pictures are older than their stamps, the motion of a while before explains them better.
"""

from typing import NamedTuple

import numpy as np

from simtoreal import camera
from simtoreal.episodes.arm_tracks import FloatArray, arm_tracks
from simtoreal.episodes.calibration_drift import followed
from simtoreal.episodes.grasp_views import PosedImage, pixels_of, posed
from simtoreal.episodes.reader import RecordedEpisode
from simtoreal.episodes.timeline import Track

LAGS_S = np.arange(-0.1, 0.2501, 0.01)
MAX_PAIRS = 40
_MIN_MOVED_M, _MAX_MOVED_M = 0.006, 0.06
_MIN_POINTS = 8
_MIN_PAIRS = 6
_MIN_RISE = 1.15  # of the error at both ends of the curve over the least: flatter says nothing


class ImageLag(NamedTuple):
    """Of one episode; the curve is for pictures."""

    lag_s: float
    sd_s: float
    errors_px: FloatArray  # (len(LAGS_S),)


def image_lag(episode: RecordedEpisode, camera_name: str) -> ImageLag | str:
    """How late the pictures of a wrist camera are against the poses of the tool, or why it cannot be told."""
    info = episode.info.cameras[camera_name]
    if info.mount != "wrist" or info.T_mount_cam is None or info.K is None or not info.has_rgb:
        return "needs a calibrated colour camera on the wrist"
    tracks = arm_tracks(episode)
    until_s = _first_closing(tracks.told_t_s, tracks.told_m)
    curves = [
        curve
        for before, after in _pairs(episode, camera_name, tracks.poses, until_s)
        if (curve := _errors(before, after, tracks.poses, info.T_mount_cam)) is not None
    ]
    if len(curves) < _MIN_PAIRS:
        return f"{len(curves)} pairs of pictures show enough of a scene that stands still, and {_MIN_PAIRS} are needed"
    return _best(np.stack(curves))


def _best(curves: FloatArray) -> ImageLag | str:
    total = curves.mean(axis=0)
    best = int(np.argmin(total))
    if best in (0, len(LAGS_S) - 1) or min(total[0], total[-1]) < _MIN_RISE * total[best]:
        return "the camera moves too evenly: pictures fit its motion at any time"
    rng = np.random.default_rng(0)
    draws = [_vertex(curves[rng.integers(len(curves), size=len(curves))].mean(axis=0)) for _ in range(100)]
    return ImageLag(_vertex(total), max(float(np.std(draws)), 0.001), total)


def _vertex(curve: FloatArray) -> float:
    """Where the parabola through the least value and its neighbours is lowest."""
    best = int(np.clip(np.argmin(curve), 1, len(curve) - 2))
    before, at, after = curve[best - 1 : best + 2]
    bend = before - 2.0 * at + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(LAGS_S[best] + np.clip(shift, -1.0, 1.0) * (LAGS_S[1] - LAGS_S[0]))


def _first_closing(told_t_s: FloatArray, told_m: FloatArray) -> float:
    closing = np.flatnonzero(told_m < 0.5 * told_m.max(initial=0.0))
    return float(told_t_s[closing[0]]) if closing.size else float("inf")


def _pairs(
    episode: RecordedEpisode, name: str, poses: Track[FloatArray], until_s: float
) -> list[tuple[PosedImage, PosedImage]]:
    """Neighbouring pictures between which the camera moved, before the jaws close on anything."""
    info = episode.info.cameras[name]
    pairs: list[tuple[PosedImage, PosedImage]] = []
    last: PosedImage | None = None
    for index in range(len(episode)):
        frame = episode.frame(index, cameras=(name,))
        image = frame.images.get(name)
        if image is None or image.rgb is None or image.t_s >= until_s or len(pairs) >= MAX_PAIRS:
            continue
        picture = posed(image, info, poses)
        if picture is None or (last is not None and image.t_s <= last.image.t_s):
            continue
        if last is not None:
            moved_m = float(np.linalg.norm(picture.T_base_cam[:3, 3] - last.T_base_cam[:3, 3]))
            if _MIN_MOVED_M < moved_m < _MAX_MOVED_M:
                pairs.append((last, picture))
        last = picture
    return pairs


def _errors(
    before: PosedImage, after: PosedImage, poses: Track[FloatArray], T_tcp_cam: FloatArray
) -> FloatArray | None:
    """Median distance (len(LAGS_S),) in pixels between tracked points and where each lag puts them."""
    assert before.image.rgb is not None
    assert after.image.rgb is not None
    start_px, seen_px = followed(before.image.rgb, after.image.rgb)
    if len(start_px) < _MIN_POINTS:
        return None
    flow_px = np.linalg.norm(seen_px - start_px, axis=1)
    moves = flow_px > 0.3 * np.median(flow_px)  # the hand moves with the camera
    start_px, seen_px = start_px[moves], seen_px[moves]
    straight_px = (
        start_px if before.distortion is None else camera.undistort_pixels(start_px, before.K, before.distortion)
    )
    errors = []
    for lag_s in LAGS_S:
        ends = [poses.at(image.image.t_s - float(lag_s)) for image in (before, after)]
        if ends[0] is None or ends[1] is None:
            return None
        T_before, T_after = ends[0] @ T_tcp_cam, ends[1] @ T_tcp_cam
        points = _points(start_px, straight_px, before, T_before)
        apart = np.linalg.norm(pixels_of(points, after._replace(T_base_cam=T_after)) - seen_px, axis=1)
        known = apart[np.isfinite(apart)]
        if len(known) < _MIN_POINTS:
            return None
        errors.append(float(np.median(known)))
    return np.array(errors)


def _points(start_px: FloatArray, straight_px: FloatArray, at: PosedImage, T_base_cam: FloatArray) -> FloatArray:
    """The tracked points (N, 3): by depth where there is any, else as points of the nominal table."""
    if at.image.depth_m is None:
        return camera.at_height(straight_px, 0.0, at.K, T_base_cam)
    v, u = np.rint(start_px[:, 1]).astype(int), np.rint(start_px[:, 0]).astype(int)
    return camera.deproject(straight_px, at.image.depth_m[v, u].astype(np.float64), at.K, T_base_cam)
