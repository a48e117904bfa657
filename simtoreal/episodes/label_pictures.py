"""Frames with their labels drawn on them, and the paths of the tool as plots."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from simtoreal.episodes import grasp_rectangles
from simtoreal.episodes.arm_tracks import arm_tracks
from simtoreal.episodes.grasp_attempts import Attempt
from simtoreal.episodes.grasp_rectangles import GraspRectangle
from simtoreal.episodes.grasp_views import Sight
from simtoreal.episodes.hindsight import EpisodeLabels, FrameLabels, GraspLabel
from simtoreal.episodes.reader import RecordedEpisode
from simtoreal.evaluation.charts import Curve, CurvePlot
from simtoreal.evaluation.pictures import EDGE, JAWS, Image, depth_picture, draw_grasp, upscale

FAILED, HIDDEN = (235, 90, 60), (170, 170, 170)
FRAMES_SHOWN = 8
_MAX_RECTANGLES = 40


class FramePicture(NamedTuple):
    """One frame of one camera with its labels."""

    rgb: Image
    caption: str


class Sheet(NamedTuple):
    """Frames of one camera of an episode."""

    camera: str
    pictures: Sequence[FramePicture]


def sheets(episode: RecordedEpisode, labels: EpisodeLabels, num: int = FRAMES_SHOWN) -> list[Sheet]:
    """Frames spread over the episode, of each camera.

    Raises:
        DatasetError: a frame cannot be read.
    """
    chosen = sorted({round(i) for i in np.linspace(0, len(episode) - 1, min(num, len(episode)))})
    shown: dict[str, list[FramePicture]] = {name: [] for name in episode.info.cameras}
    for index in chosen:
        frame = episode.frame(index)
        for name, image in frame.images.items():
            picture = image.rgb if image.rgb is not None else None
            if picture is None and image.depth_m is not None:
                picture = depth_picture(image.depth_m)
            if picture is not None:
                drawn = draw_labels(picture, name, labels.frames[index])
                drawn = draw_rectangles(drawn, picture.shape[1], episode, name, index)
                shown[name].append(FramePicture(drawn, f"frame {index}, {frame.t_s:.2f} s"))
    return [Sheet(name, pictures) for name, pictures in shown.items() if pictures]


def draw_labels(rgb: Image, camera: str, labels: FrameLabels) -> Image:
    """Grasps in yellow, failed ones in red, and in grey those that the camera does not see."""
    canvas, width_px = rgb, rgb.shape[1]
    wanted: list[GraspLabel] = [*labels.failed, *([labels.grasp] if labels.grasp is not None else [])]
    for label in wanted:
        view = label.views.get(camera)
        if view is None or view.sight is Sight.OUTSIDE:
            continue
        factor = canvas.shape[1] / width_px
        colour = HIDDEN if view.sight is Sight.HIDDEN else JAWS if label.positive else FAILED
        pixel = ((view.pixel[0] + 0.5) * factor - 0.5, (view.pixel[1] + 0.5) * factor - 0.5)
        canvas = draw_grasp(canvas, pixel, view.angle_rad, view.width_px * factor, jaws=colour)
    return canvas


def draw_rectangles(canvas: Image, width_px: int, episode: RecordedEpisode, camera: str, frame: int) -> Image:
    """Grasp rectangles of the source: those of a grasp in yellow, others in red; thick edges are the jaws."""
    labels = [label for label in episode.end.labels.get(grasp_rectangles.LABEL, ())
              if label.get("camera") == camera and label.get("frame", 0) == frame]  # fmt: skip
    if not labels:
        return canvas
    canvas = upscale(canvas)
    factor = canvas.shape[1] / width_px
    for label in labels[:_MAX_RECTANGLES]:
        _rectangle(canvas, grasp_rectangles.from_label(label), factor, JAWS if label.get("positive", True) else FAILED)
    return canvas


def _rectangle(canvas: Image, rectangle: GraspRectangle, factor: float, colour: tuple[int, int, int]) -> None:
    corners = np.rint((rectangle.corners() + 0.5) * factor).astype(np.int32)
    thick = max(1, round(canvas.shape[1] / 320))
    for shade, extra in ((EDGE, 2), (colour, 0)):
        cv2.polylines(canvas, [corners.reshape(-1, 1, 2)], True, shade, thick + extra - 1 or 1, cv2.LINE_AA)
        for start, end in ((1, 2), (3, 0)):
            ends = [tuple(int(value) for value in corners[i]) for i in (start, end)]
            cv2.line(canvas, ends[0], ends[1], shade, 2 * thick + extra, cv2.LINE_AA)


# --- plots


def path_plots(episode: RecordedEpisode, attempts: Sequence[Attempt]) -> list[CurvePlot]:
    """Top view and height of the tool, and width of the jaws, each with the closings marked."""
    state = np.asarray(episode.column("observation.state"), dtype=np.float64)
    tracks = arm_tracks(episode)
    plots = []
    if np.isfinite(state[:, :3]).any():
        closings = [(f"closing: {a.outcome.value}", a) for a in attempts]
        seen_x, seen_y = state[:, 0].tolist(), state[:, 1].tolist()
        top = [Curve("tool", seen_x, seen_y)]
        top += [Curve(name, [a.T_base_tcp[0, 3]], [a.T_base_tcp[1, 3]]) for name, a in closings]
        plots.append(CurvePlot("Path from above", "x (m)", "y (m)", top, from_zero=False))
        height = [Curve("tool", tracks.width_t_s.tolist(), tracks.heights_m.tolist())]
        height += [Curve(name, [a.closes_s], [a.T_base_tcp[2, 3]]) for name, a in closings]
        plots.append(CurvePlot("Height", "time (s)", "z (m)", height))
    if tracks.width_m.size > 1:
        widths = [Curve("measured", tracks.width_t_s.tolist(), (1e3 * tracks.width_m).tolist())]
        if tracks.told_m.size:
            widths.append(Curve("told", tracks.told_t_s.tolist(), (1e3 * tracks.told_m).tolist()))
        widths += [Curve(f"closing: {a.outcome.value}", [a.closes_s], [1e3 * a.width_m]) for a in attempts]
        plots.append(CurvePlot("Jaws", "time (s)", "width (mm)", widths))
    return plots
