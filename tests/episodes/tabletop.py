"""Made-up episodes over a table: a box on it, a camera on the wrist that sees it, a tool that goes down and closes.

Pictures are computed from the geometry, so that what labels and findings must say is known exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from simtoreal import camera, frames
from simtoreal.contracts import Action
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeFrame, EpisodeInfo, FrameImage
from simtoreal.episodes.writer import DatasetWriter, WriterSettings

WIDTH_PX, HEIGHT_PX, FPS = 160, 120, 20.0
K = np.array([[140.0, 0.0, 79.5], [0.0, 140.0, 59.5], [0.0, 0.0, 1.0]])
T_TCP_CAM = frames.transform([0.0, -0.03, -0.22])
OPEN_M, BOX_M, BOX_HEIGHT_M = 0.08, 0.04, 0.04
GRASP_Z_M = 0.02
_TEXTURE = cv2.resize(
    np.random.default_rng(3).integers(60, 200, (32, 32), dtype=np.uint8), (400, 400), interpolation=cv2.INTER_NEAREST
)
Changed = Callable[[int, EpisodeFrame], EpisodeFrame]


@dataclass(frozen=True)
class Closing:
    """The tool goes to a place from above, closes, and rises."""

    x_m: float
    y_m: float
    width_m: float  # at which the jaws stop
    yaw_rad: float = 0.0


@dataclass(frozen=True)
class Story:
    """What happens in an episode."""

    closings: Sequence[Closing] = (Closing(0.5, 0.0, BOX_M),)
    box_m: tuple[float, float] = (0.5, 0.0)  # centre of the box
    moved_at: int | None = None  # frame from which the box lies elsewhere
    moved_to_m: tuple[float, float] = (0.5, 0.0)
    pushed_m: tuple[float, float] = (0.0, 0.0)  # by which the first closing moves the box
    has_depth: bool = True
    lag_s: float = 0.0  # of pictures and state behind the rows
    success: bool | None = True
    cameras: dict[str, object] = field(default_factory=dict)  # changes of the camera's description


def picture(T_base_cam: np.ndarray, box_m: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Colour (H, W, 3) and depth (H, W) of the table with the box."""
    u, v = np.meshgrid(np.arange(WIDTH_PX), np.arange(HEIGHT_PX))
    pixels = np.stack([u, v], axis=-1).astype(np.float64)
    depth = np.zeros(u.shape)
    shade = np.zeros(u.shape)
    for height_m in (0.0, BOX_HEIGHT_M):  # the higher one hides the lower one
        points = camera.at_height(pixels, height_m, K, T_base_cam)
        z = frames.apply(frames.invert(T_base_cam), points)[..., 2]
        offset = points[..., :2] - np.asarray(box_m)
        on_box = np.abs(offset).max(axis=-1) <= 0.5 * BOX_M
        there = on_box if height_m else np.isfinite(z)
        index = np.nan_to_num(points[..., :2] * 500, nan=0.0).astype(int) % 400
        stripes = 128 + 90 * np.sign(np.sin(250 * offset[..., 0] + 1)) * np.sign(np.sin(200 * offset[..., 1] + 1))
        value = stripes if height_m else _TEXTURE[index[..., 0], index[..., 1]]
        depth, shade = np.where(there, z, depth), np.where(there, value, shade)
    rgb = np.repeat(np.nan_to_num(shade, nan=0.0).astype(np.uint8)[..., None], 3, axis=2)
    return rgb, depth.astype(np.float32)


def _motion(closing: Closing) -> list[tuple[np.ndarray, float, float]]:
    """Tool pose, width and told width of every frame: two seconds down, one to close, one and a half up."""
    rows = []
    for share in np.linspace(0.0, 1.0, 40):
        z = 0.25 + (GRASP_Z_M - 0.25) * share
        aside = 0.06 * (1.0 - share)
        rows.append((frames.top_down([closing.x_m + aside, closing.y_m + aside, z], closing.yaw_rad), OPEN_M, OPEN_M))
    T = frames.top_down([closing.x_m, closing.y_m, GRASP_Z_M], closing.yaw_rad)
    rows += [(T, max(closing.width_m, OPEN_M - 0.01 * step), 0.0) for step in range(1, 16)]
    for share in np.linspace(0.0, 1.0, 30):
        up = frames.top_down([closing.x_m, closing.y_m, GRASP_Z_M + 0.12 * share], closing.yaw_rad)
        rows.append((up, closing.width_m, 0.0))
    return rows


def _box_m(story: Story, index: int) -> tuple[float, float]:
    """Where the box lies in a frame; the jaws push it for as long as they close."""
    share = float(np.clip((index - 39) / round((OPEN_M - story.closings[0].width_m) / 0.01), 0.0, 1.0))
    return story.box_m[0] + share * story.pushed_m[0], story.box_m[1] + share * story.pushed_m[1]


def closes_at_s(closing: Closing, before: int = 0) -> float:
    """When the width stops shrinking, if `before` closings came earlier."""
    steps = round((OPEN_M - closing.width_m) / 0.01)
    return (before * (85 + 10) + 39 + steps) / FPS


def frames_of(story: Story) -> list[EpisodeFrame]:
    """All frames of a story; between two closings the jaws open for half a second."""
    rows: list[tuple[np.ndarray, float, float]] = []
    for number, closing in enumerate(story.closings):
        if number:
            rows += [(rows[-1][0], OPEN_M, OPEN_M)] * 10
        rows += _motion(closing)
    made = []
    for index, (T_base_tcp, width_m, told_m) in enumerate(rows):
        moved = story.moved_at is not None and index >= story.moved_at
        t_s = index / FPS
        T_base_cam = T_base_tcp @ T_TCP_CAM
        rgb, depth_m = picture(T_base_cam, story.moved_to_m if moved else _box_m(story, index))
        image = FrameImage(t_s, rgb, depth_m if story.has_depth else None, T_base_cam)
        action = Action(np.zeros(3), np.zeros(3), told_m)
        made.append(
            EpisodeFrame(
                t_s + story.lag_s, {"wrist": image}, T_base_tcp, width_m, state_t_s=t_s, commanded=action, sent=action
            )
        )
    return made


def write_story(folder: Path, story: Story, change: Changed | None = None) -> DatasetReader:
    """A dataset of one episode; `change` spoils frames before they are written."""
    about: dict[str, object] = {
        "width_px": WIDTH_PX, "height_px": HEIGHT_PX, "has_depth": story.has_depth, "mount": "wrist", "K": K,
        "T_mount_cam": T_TCP_CAM, **story.cameras,
    }  # fmt: skip
    info = EpisodeInfo(FPS, {"wrist": CameraInfo(**about)}, object_name="box")  # type: ignore[arg-type]
    made = frames_of(story)
    if change is not None:
        made = [change(index, frame) for index, frame in enumerate(made)]
    with DatasetWriter(folder, WriterSettings(lossless_rgb=True)) as writer:
        writer.write(info, iter(made), EpisodeEnd(success=story.success))
    return DatasetReader(folder)
