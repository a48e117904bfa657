"""Pictures without calibration: the image is taken for the plane that grasps lie in.

A picture with grasp rectangles (Cornell, Jacquard) says neither where the camera stood nor how large anything is. So it
counts as a view from straight above on a square of a fixed edge: an angle in the base frame is then the angle in the
picture, a width is a share of its edge, and everything that learns from labelled views learns from it as it is. A
simulated frame is read in the same way: where its grasps appear, how they lie in the picture, and how wide they look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from simtoreal import camera
from simtoreal.contracts import FloatArray
from simtoreal.episodes.grasp_rectangles import GraspRectangle
from simtoreal.frames import wrap_half_turn
from simtoreal.policies.encoders import GraspNet
from simtoreal.policies.grasp_map import FIELDS, NUM_FIELDS, NUM_YAWS, Candidate, decode, viewpoint_of
from simtoreal.policies.view import View
from simtoreal.pretraining.frame_sets import FrameSet
from simtoreal.transfer.data.real_frames import RealFrames, view_rows

# The unit that widths are given in. The map reads widths up to 96 mm: the widest rectangles are 0.4 of a region.
EDGE_M = 0.18
_WIDTH, _DU, _DV, _DYAW = (FIELDS.index(name) for name in ("width", "du", "dv", "dyaw"))
_EYE_M = 1.0  # above the plane; any height gives the same view
_GAP_M = 0.013  # between grasps of one thing at most
_SMALL_M = 0.011  # half the length of a thing that has no ends to speak of
_NEAR_FRAC = 0.5  # of half the length of a thing: there a grasp is 0.6 times as good as in the middle
_WIDE = 0.1  # so much better must a grasp be that is wider by 80 mm of the plane
_SHIFTS = (0.0, -0.2, 0.2, -0.4, 0.4)  # of the breadth of the jaws


@dataclass(frozen=True)
class Region:
    """The square of a picture that is looked at.

    Raises:
        ValueError: the edge is not positive.
    """

    left_px: int
    top_px: int
    edge_px: int

    def __post_init__(self) -> None:
        if self.edge_px <= 0:
            raise ValueError(f"region edge_px must be positive, got {self.edge_px}")


@dataclass(frozen=True)
class Labelled:
    """A picture, and the grasps that are known in it."""

    view: View
    grasps: FloatArray  # (G, 6): x, y, z, yaw, width in the plane, quality


def picture_view(rgb: NDArray[np.uint8], region: Region, pixels: int) -> View:
    """A region of a picture (H, W, 3) as the view from straight above; black where the picture does not reach."""
    top, left, edge = region.top_px, region.left_px, region.edge_px
    inside = rgb[max(top, 0) : max(top + edge, 0), max(left, 0) : max(left + edge, 0)]
    above, before = min(max(-top, 0), edge), min(max(-left, 0), edge)
    square, valid = np.zeros((edge, edge, 3), np.uint8), np.zeros((edge, edge), np.uint8)
    square[above : above + inside.shape[0], before : before + inside.shape[1]] = inside
    valid[above : above + inside.shape[0], before : before + inside.shape[1]] = 1
    how = cv2.INTER_AREA if edge > pixels else cv2.INTER_LINEAR
    return plane_view(
        np.asarray(cv2.resize(square, (pixels, pixels), interpolation=how), dtype=np.uint8),
        cv2.resize(valid, (pixels, pixels), interpolation=cv2.INTER_NEAREST) > 0,
    )


def plane_view(rgb: NDArray[np.uint8], valid: NDArray[np.bool_]) -> View:
    """A square picture (P, P, 3) as the view from straight above: right is base +X, down is base -Y."""
    pixels = rgb.shape[0]
    focal, middle = pixels * _EYE_M / EDGE_M, 0.5 * (pixels - 1)
    K = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
    T_base_view = np.diag([1.0, -1.0, -1.0, 1.0])
    T_base_view[2, 3] = _EYE_M
    return View(rgb, np.full(valid.shape, np.nan, np.float32), valid, K, T_base_view, EDGE_M)


def label_picture(
    rgb: NDArray[np.uint8], rectangles: Sequence[GraspRectangle], region: Region, pixels: int
) -> Labelled:
    """A picture with its positive rectangles as grasps of the plane."""
    scale = 1.0 / region.edge_px
    rows = np.zeros((len(rectangles), 6))
    for row, rectangle in zip(rows, rectangles, strict=True):
        u, v = rectangle.center_px
        row[0] = EDGE_M * ((u + 0.5 - region.left_px) * scale - 0.5)
        row[1] = -EDGE_M * ((v + 0.5 - region.top_px) * scale - 0.5)
        row[3:] = -rectangle.angle_rad, EDGE_M * rectangle.opening_px * scale, 1.0
    return Labelled(picture_view(rgb, region, pixels), rows)


def with_shifted(rectangles: Sequence[GraspRectangle]) -> list[GraspRectangle]:
    """Rectangles, each also shifted along its jaws by less than half of their breadth.

    Who draws rectangles leaves gaps between them that are as good, and a gap must not count as no grasp. GG-CNN fills
    the middle of each rectangle for the same reason (Morrison, Corke, Leitner, arXiv 1804.05172).
    """
    return [
        rectangle._replace(
            center_px=(
                rectangle.center_px[0] - share * rectangle.jaw_px * math.sin(rectangle.angle_rad),
                rectangle.center_px[1] + share * rectangle.jaw_px * math.cos(rectangle.angle_rad),
            )
        )
        for rectangle in rectangles
        for share in _SHIFTS
    ]


def best_rectangle(grasp_map: NDArray[np.float32], view: View, region: Region, jaw_px: float) -> GraspRectangle | None:
    """The rectangle, in pixels of the picture, of the best grasp of a map; how broad jaws are it does not say.

    Of grasps that look about as good the narrower one: where a thing can be held by its rim nobody spans it.
    """
    preferred = grasp_map.copy()
    preferred[:, 0] -= _WIDE * np.maximum(preferred[:, _WIDTH], 0.0)
    found = decode(preferred, viewpoint_of(view), 1)
    return _rectangle(found[0], view, region, jaw_px) if found else None


def _rectangle(found: Candidate, view: View, region: Region, jaw_px: float) -> GraspRectangle:
    scale = region.edge_px / view.rgb.shape[0]
    u, v = ((at + 0.5) * scale - 0.5 for at in found.pixel)
    angle = wrap_half_turn(-math.atan2(found.T_base_grasp[1, 0], found.T_base_grasp[0, 0]))
    opening = max(found.width_m / EDGE_M * region.edge_px, 1.0)
    return GraspRectangle((region.left_px + u, region.top_px + v), angle, opening, jaw_px)


def symmetric_maps(net: GraspNet, views: Tensor) -> NDArray[np.float32]:
    """Grasp maps (B, Y, F, h, w) of views (B, C, P, P), qualities in [0, 1]: the mean over eight ways to look.

    A picture has no up: its four quarter turns and their mirror images show the same grasps, turned and mirrored, and
    what the net says of each is turned back before it is averaged.
    """
    total = torch.zeros(())
    with torch.inference_mode():
        for quarters in range(4):
            for is_mirrored in (False, True):
                seen = torch.rot90(views.flip(-1) if is_mirrored else views, quarters, (-2, -1))
                total = total + _turned_back(net(seen).float(), quarters, is_mirrored)
        return np.asarray((total / 8.0).numpy())


def _turned_back(maps: Tensor, quarters: int, is_mirrored: bool) -> Tensor:
    """Maps of views that were mirrored and then turned counterclockwise, as maps of the views before."""
    maps = torch.cat([maps[:, :, :1].sigmoid(), maps[:, :, 1:]], 2)
    maps = torch.rot90(maps, -quarters, (-2, -1)).roll(quarters * NUM_YAWS // 2, 1)
    for _ in range(quarters):
        maps = torch.cat([maps[:, :, :_DU], -maps[:, :, _DV, None], maps[:, :, _DU, None], maps[:, :, _DYAW:]], 2)
    if is_mirrored:
        sign = torch.ones(NUM_FIELDS)
        sign[[_DU, _DYAW]] = -1.0
        maps = maps.flip(-1).flip(1) * sign[:, None, None]
    return maps


def simulated_pictures(frames: FrameSet, clearance_m: float, least_frac: float) -> list[Labelled]:
    """Simulated frames as pictures, their good grasps as they appear in them.

    A light thing can be held by its very end as well as by its middle, and whoever draws rectangles has the heavy ones
    in mind: the farther from the middle of what is grasped, the less good.

    Args:
        frames: frames of any camera.
        clearance_m: that the jaws are wider open than what they grasp, on either side.
        least_frac: grasps this good, of the best in the frame, are labels.
    """
    return [
        Labelled(plane_view(frames.rgb[i], frames.valid[i]), _apparent(frames, i, clearance_m, least_frac))
        for i in range(len(frames))
    ]


def _apparent(frames: FrameSet, index: int, clearance_m: float, least_frac: float) -> FloatArray:
    rows, viewpoint = frames.rows(index).astype(np.float64), frames.viewpoint(index)
    rows = rows[rows[:, 5] >= least_frac * rows[:, 5].max()] if len(rows) else rows
    points = camera.at_height(rows[:, :2], rows[:, 2], viewpoint.K, viewpoint.T_base_view)
    yaw = rows[:, 3] + viewpoint.yaw_rad
    reach = (0.5 * rows[:, 4] + clearance_m)[:, None] * np.column_stack([np.cos(yaw), np.sin(yaw), np.zeros(len(yaw))])
    ends = [camera.project(points + side * reach, viewpoint.K, viewpoint.T_base_view) for side in (-1.0, 1.0)]
    across, centre = ends[1] - ends[0], 0.5 * (ends[0] + ends[1])
    scale, middle = EDGE_M / viewpoint.pixels, 0.5 * (viewpoint.pixels - 1)
    found = np.column_stack(
        [
            scale * (centre[:, 0] - middle), -scale * (centre[:, 1] - middle), np.zeros(len(rows)),
            -np.arctan2(across[:, 1], across[:, 0]), scale * np.hypot(across[:, 0], across[:, 1]), np.ones(len(rows)),
        ]
    )  # fmt: skip
    found = found[np.isfinite(found).all(axis=1)]
    found[:, 5] = nearness(found[:, :2])
    return np.asarray(found)


def nearness(centres_m: FloatArray) -> FloatArray:
    """How near each grasp (G, 2) is to the middle of its thing, (G,) in (0, 1], against the nearest one there."""
    near = np.ones(len(centres_m))
    between = np.hypot(*(centres_m[:, None] - centres_m[None]).transpose(2, 0, 1))
    num_things, things = connected_components(between < _GAP_M)
    for thing in range(num_things):
        its = things == thing
        middle = 0.5 * (centres_m[its].min(axis=0) + centres_m[its].max(axis=0))
        away_m = np.hypot(*(centres_m[its] - middle).T)
        away = (away_m - away_m.min()) / max(float(away_m.max()), _SMALL_M)
        near[its] = np.exp(-0.5 * (away / _NEAR_FRAC) ** 2)
    return near


def as_frame_set(pictures: Sequence[Labelled]) -> FrameSet:
    """Pictures as simulated frames, to mix into batches of real ones."""
    frames, most = stack_pictures(pictures), max(len(picture.grasps) for picture in pictures)
    grasps, num = np.zeros((len(pictures), most, 6), np.float32), np.zeros(len(pictures), np.int32)
    for i, picture in enumerate(pictures):
        rows = view_rows(picture.grasps, picture.view)
        grasps[i, : len(rows)], num[i] = rows, len(rows)
    return FrameSet(
        frames.rgb, frames.height_m.astype(np.float16), frames.valid, frames.edge_m, frames.camera.astype(np.float32),
        np.full(len(pictures), _EYE_M, np.float32), grasps, num,
    )  # fmt: skip


def stack_pictures(pictures: Sequence[Labelled]) -> RealFrames:
    """Pictures as the frames of a dataset in which each is an episode of its own."""
    most = max(len(picture.grasps) for picture in pictures)
    grasps = np.zeros((len(pictures), most, 6))
    for row, picture in zip(grasps, pictures, strict=True):
        row[: len(picture.grasps)] = picture.grasps

    def column(values: list[Any], kind: Any = None) -> NDArray[Any]:
        return np.asarray(np.stack(values) if kind is None else np.array(values, dtype=kind))

    views = [picture.view for picture in pictures]
    return RealFrames(
        rgb=column([view.rgb for view in views]),
        height_m=column([view.height_m for view in views]),
        valid=column([view.valid for view in views]),
        edge_m=column([view.edge_m for view in views], np.float32),
        camera=column([view.camera_row for view in views]),
        grasps=grasps,
        num_grasps=column([len(picture.grasps) for picture in pictures], np.int32),
        episode=np.arange(len(pictures), dtype=np.int32),
        frame=np.zeros(len(pictures), dtype=np.int32),
    )
