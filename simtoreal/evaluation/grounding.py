"""Whether a policy looks at the picture: the same frame disturbed, and how the grasp moves against how it should.

Where the picture is hidden, nothing can be known of a grasp. Where it is another one, the grasp must be another. Blur
and brightness change nothing. And when the camera moves by a centimetre, the grasp stays where it is if the calibration
moves too, and moves by a centimetre the other way if it does not: that is geometry, whatever was learned.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.contracts import FloatArray
from simtoreal.evaluation.pictures import JAWS, Image, depth_picture, draw_grasp, upscale
from simtoreal.evaluation.report import Picture, Table
from simtoreal.evaluation.statistics import cluster_bootstrap
from simtoreal.policies.grasp_map import Candidate, decode, viewpoint_of
from simtoreal.policies.learned_grasps import GraspMap
from simtoreal.policies.view import View

SHIFT_M = 0.01  # of camera motion
STAYS_M = 0.01  # this near to where it should be, a grasp counts as there
_BLUR_PX, _BRIGHTER = 1.0, 1.3
_SURE = 0.8  # of the quality that it sees with the picture: so sure without it is not sight
_SEEN = 0.01  # quality below which nothing is seen
_MIN_FOLLOWED = 0.5  # of the way that geometry asks for
Colour = tuple[int, int, int]


class Disturbance(StrEnum):
    """What is done to a frame."""

    MASKED = "masked"
    SHUFFLED = "shuffled"
    BLURRED = "blurred"
    BRIGHTENED = "brightened"
    CAMERA_MOVED = "camera and calibration moved 1 cm"
    CALIBRATION_STAYED = "camera moved 1 cm, calibration did not"


EXPECTED = {
    Disturbance.MASKED: "no grasp, or a doubtful one",
    Disturbance.SHUFFLED: "moves: it is another picture",
    Disturbance.BLURRED: "stays",
    Disturbance.BRIGHTENED: "stays",
    Disturbance.CAMERA_MOVED: "stays",
    Disturbance.CALIBRATION_STAYED: "moves 10 mm, against the camera",
}
_STILL = (Disturbance.BLURRED, Disturbance.BRIGHTENED, Disturbance.CAMERA_MOVED, Disturbance.CALIBRATION_STAYED)


class Frame(NamedTuple):
    """A view to probe with, and the scene or episode that it is of."""

    view: View
    group: Hashable


class Response(NamedTuple):
    """How the grasp moved in the frames that showed one."""

    disturbance: Disturbance
    n_frames: int
    n_lost: int  # in which no grasp is left
    moved_mm: float  # median, in the base frame, across the table
    error_mm: float  # median, from where it should be; nan where no place follows
    there_frac: float  # share within `STAYS_M` of where it should be; nan likewise
    quality_ratio: float  # median, to that of the frame as it was; a lost grasp counts as 0


@dataclass(frozen=True)
class Grounding:
    """What a probe found."""

    responses: tuple[Response, ...]
    followed: float  # share of the way that the grasp went when the calibration stayed behind; 1 is right, 0 is blind
    followed_low: float
    followed_high: float
    n_frames: int
    n_without_grasp: int  # frames that showed none as they were
    complaints: tuple[str, ...]  # empty where the policy looks

    def to_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "n_frames": self.n_frames, "n_without_grasp": self.n_without_grasp, "complaints": list(self.complaints),
            "followed": [self.followed, self.followed_low, self.followed_high],
            "responses": [{**found._asdict(), "disturbance": found.disturbance.value} for found in self.responses],
        }  # fmt: skip


class _Seen(NamedTuple):
    before: Candidate
    after: Candidate | None
    expected_m: FloatArray | None  # (2,) where it should be


def probe(grasp_map: GraspMap, found: Sequence[Frame], rng: np.random.Generator) -> Grounding:
    """Disturbs frames in every way and measures how the best grasp of each moves.

    Args:
        grasp_map: the encoder.
        found: frames, of two scenes at least, so that pictures can be shuffled.
        rng: draws the directions of motion, which picture takes the place of which, and the bootstrap.

    Raises:
        ValueError: the frames are of fewer than two scenes.
    """
    if len({frame.group for frame in found}) < 2:
        raise ValueError("the probe shuffles pictures between scenes: give frames of at least two")
    seen: dict[Disturbance, list[_Seen]] = {kind: [] for kind in Disturbance}
    groups: list[Hashable] = []
    for frame in found:
        before = _best(grasp_map, frame.view, frame.view)
        if before is None:
            continue
        groups.append(frame.group)
        other = [one.view for one in found if one.group != frame.group]
        offset_m = SHIFT_M * _direction(rng)
        for kind in Disturbance:
            view, read_as, expected_m = _disturb(kind, frame.view, before, offset_m, other[rng.integers(len(other))])
            seen[kind].append(_Seen(before, _best(grasp_map, view, read_as), expected_m))
    responses = tuple(_response(kind, rows) for kind, rows in seen.items()) if groups else ()
    followed = _followed(seen[Disturbance.CALIBRATION_STAYED], groups, rng) if groups else (math.nan,) * 3
    return Grounding(responses, *followed, len(groups), len(found) - len(groups), _complaints(responses, followed))


def move_camera_across(view: View, offset_m: FloatArray, height_m: float) -> View:
    """What a camera sees that was moved by an offset (2,) in base x and y, exact for the plane at a height.

    What is higher or lower shifts as if it were in that plane: right for the object that is grasped there.
    """
    T_base_view = view.T_base_view.copy()
    T_base_view[:2, 3] += offset_m
    far = float(view.rgb.shape[0] - 1)
    corners = np.array([[0.0, 0.0], [far, 0.0], [far, far], [0.0, far]])
    points = camera.at_height(corners, np.full(4, height_m), view.K, view.T_base_view)
    moved = camera.project(points, view.K, T_base_view)
    forth = np.asarray(
        cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32)), dtype=np.float64
    )
    return View(
        _warp(view.rgb, forth, cv2.INTER_LINEAR, 0.0).astype(np.uint8),
        _warp(view.height_m, forth, cv2.INTER_NEAREST, math.nan).astype(np.float32),
        _warp(view.valid.astype(np.uint8), forth, cv2.INTER_NEAREST, 0.0).astype(np.bool_),
        view.K, T_base_view, view.edge_m,
    )  # fmt: skip


def _warp(image: NDArray[Any], forth: FloatArray, how: int, outside: float) -> NDArray[Any]:
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpPerspective(image, forth, size, flags=how, borderValue=(outside,) * 3))


def _disturb(
    kind: Disturbance, view: View, before: Candidate, offset_m: FloatArray, other: View
) -> tuple[View, View, FloatArray | None]:
    """The disturbed picture, the camera that it is read through, and where the grasp should be (2,)."""
    here = before.T_base_grasp[:2, 3]
    if kind is Disturbance.MASKED:
        return _hidden(view), view, None
    if kind is Disturbance.SHUFFLED:
        return view._replace(rgb=other.rgb, height_m=other.height_m, valid=other.valid), view, None
    if kind is Disturbance.BLURRED:
        return view._replace(rgb=_blurred(view.rgb)), view, here
    if kind is Disturbance.BRIGHTENED:
        return view._replace(rgb=np.clip(view.rgb * _BRIGHTER, 0, 255).astype(np.uint8)), view, here
    moved = move_camera_across(view, offset_m, float(before.T_base_grasp[2, 3]))
    if kind is Disturbance.CAMERA_MOVED:
        return moved, moved, here
    return moved, view, here - offset_m


def _hidden(view: View) -> View:
    return view._replace(
        rgb=np.zeros_like(view.rgb), height_m=np.full_like(view.height_m, np.nan), valid=np.zeros_like(view.valid)
    )


def _blurred(rgb: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), _BLUR_PX)).astype(np.uint8)


def _best(grasp_map: GraspMap, picture: View, camera_of: View) -> Candidate | None:
    found = decode(grasp_map(picture), viewpoint_of(camera_of), 1)
    return found[0] if found and found[0].quality >= _SEEN else None


def _direction(rng: np.random.Generator) -> FloatArray:
    angle_rad = rng.uniform(-math.pi, math.pi)
    return np.array([math.cos(angle_rad), math.sin(angle_rad)])


def _response(kind: Disturbance, rows: Sequence[_Seen]) -> Response:
    moved, errors = [], []
    for row in rows:
        if row.after is not None:
            place = row.after.T_base_grasp[:2, 3]
            moved.append(float(np.linalg.norm(place - row.before.T_base_grasp[:2, 3])))
            errors += [] if row.expected_m is None else [float(np.linalg.norm(place - row.expected_m))]
    lost = len(rows) - len(moved)
    there = sum(error <= STAYS_M for error in errors) / len(rows) if kind in _STILL else math.nan
    quality = [0.0 if row.after is None else row.after.quality / max(row.before.quality, 1e-6) for row in rows]
    return Response(kind, len(rows), lost, 1e3 * _median(moved), 1e3 * _median(errors), there, _median(quality))


def _followed(
    rows: Sequence[_Seen], groups: Sequence[Hashable], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Share of the way that geometry asks for, mean over frames, with its interval over scenes.

    A grasp that jumps to another object says nothing of it: a share counts as between -1 and 2.
    """
    shares = []
    for row in rows:
        assert row.expected_m is not None
        way = row.expected_m - row.before.T_base_grasp[:2, 3]
        gone = np.zeros(2) if row.after is None else row.after.T_base_grasp[:2, 3] - row.before.T_base_grasp[:2, 3]
        shares.append(float(np.clip(gone @ way / (way @ way), -1.0, 2.0)))
    totals = np.stack([shares, np.ones(len(shares))], axis=1)
    low, high = cluster_bootstrap(totals, groups, lambda sums: sums[:, 0] / sums[:, 1], rng=rng)
    return float(np.mean(shares)), low, high


def _complaints(responses: Sequence[Response], followed: tuple[float, float, float]) -> tuple[str, ...]:
    by_kind = {found.disturbance: found for found in responses}
    if not by_kind:
        return ("it sees a grasp in none of the frames",)
    said = []
    masked, shuffled = by_kind[Disturbance.MASKED], by_kind[Disturbance.SHUFFLED]
    if shuffled.moved_mm < 1e3 * STAYS_M and shuffled.n_lost < 0.5 * shuffled.n_frames:
        said.append(f"it ignores the picture: with that of another scene the grasp moves by {shuffled.moved_mm:.0f} mm")
    if followed[2] < _MIN_FOLLOWED:
        said.append(
            f"it does not follow what it sees: the camera moved by 10 mm, and the grasp went {10 * followed[0]:.1f} mm "
            "of them"
        )
    if masked.quality_ratio > _SURE:
        said.append(f"it is as sure without a picture ({100 * masked.quality_ratio:.0f} % of its quality) as with one")
    for kind, what in ((Disturbance.BLURRED, "a slight blur"), (Disturbance.BRIGHTENED, "30 % more light")):
        if by_kind[kind].there_frac < 0.5:
            said.append(f"{what} moves the grasp by more than 10 mm in most frames")
    return tuple(said)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan


# --- to look at


def grounding_table(found: Mapping[str, Any], title: str = "Does it look at the picture?") -> Table:
    """A probe, as `to_plain` of `records` made it, as a table."""
    rows = [
        (row["disturbance"], EXPECTED[Disturbance(row["disturbance"])], _number(row["moved_mm"]),
         _number(row["error_mm"]), _number(row["there_frac"], 100), _number(row["quality_ratio"], 100),
         f"{row['n_lost']}/{row['n_frames']}")
        for row in found["responses"]
    ]  # fmt: skip
    columns = ("what was done", "the grasp should", "moved (mm)", "off by (mm)", "within 10 mm (%)", "quality (%)",
               "no grasp left")  # fmt: skip
    note = " ".join(f"{text[:1].upper()}{text[1:]}." for text in found["complaints"]) or "Nothing speaks against it."
    if rows:
        followed, low, high = found["followed"]
        note = (
            f"Medians. When the camera moved and the calibration stayed, the grasp went {followed:.2f} "
            f"[{low:.2f}, {high:.2f}] of the way that geometry asks for (1 is right, 0 is blind). {note}"
        )
    return Table(title, columns, rows, note)


def grounding_pictures(grasp_map: GraspMap, frame: Frame, other: Frame) -> list[Picture]:
    """One frame as it is and disturbed in every way, with the grasp that is seen in each."""
    before = _best(grasp_map, frame.view, frame.view)
    pictures = [Picture(_drawn(frame.view, before), "as it is")]
    if before is None:
        return pictures
    for kind in Disturbance:
        if kind is Disturbance.CALIBRATION_STAYED:
            continue  # the same picture as when it moved
        view, read_as, _ = _disturb(kind, frame.view, before, np.array([0.0, SHIFT_M]), other.view)
        pictures.append(Picture(_drawn(view, _best(grasp_map, view, read_as)), kind.value))
    return pictures


def _drawn(view: View, found: Candidate | None) -> Image:
    picture = upscale(view_picture(view))
    return picture if found is None else draw_in_view(picture, view, (found.T_base_grasp, found.width_m))


def view_picture(view: View) -> Image:
    """What a view shows: colour, or shaded height where there is none."""
    return view.rgb if view.rgb.any() else depth_picture(-view.height_m)


def draw_in_view(picture: Image, view: View, grasp: tuple[FloatArray, float], jaws: Colour = JAWS) -> Image:
    """A grasp, its pose in the base frame and its width, drawn on the picture of a view; nothing if it is outside."""
    T_base_grasp, width_m = grasp
    tips = frames.apply(T_base_grasp, [[-0.5 * width_m, 0.0, 0.0], [0.5 * width_m, 0.0, 0.0]])
    left, right = camera.project(tips, view.K, view.T_base_view)
    middle, across = 0.5 * (left + right), right - left
    if not np.isfinite(middle).all() or not (middle >= 0).all() or not (middle < view.rgb.shape[0]).all():
        return picture
    factor = picture.shape[0] / view.rgb.shape[0]
    pixel = (float(middle[0] + 0.5) * factor - 0.5, float(middle[1] + 0.5) * factor - 0.5)
    return draw_grasp(picture, pixel, math.atan2(across[1], across[0]), factor * float(np.hypot(*across)), jaws=jaws)


def _number(value: float | None, factor: float = 1.0) -> str:
    return "-" if value is None else f"{factor * value:.0f}"
