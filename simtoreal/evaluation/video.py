"""Short videos of episodes: what the camera saw beside what the policy made of it, with the outcome at the end."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer

from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.episodes.video_files import PictureShape, add_h264_stream
from simtoreal.evaluation import pictures
from simtoreal.evaluation.output_files import explain_write_errors, make_folder
from simtoreal.evaluation.pictures import Image
from simtoreal.runtime import Step

PANEL_PX = 320
BAR_PX = 40
BACKGROUND = (28, 28, 30)
SUCCESS = (86, 180, 233)  # blue and orange: told apart by every kind of colour vision
FAILURE = (230, 140, 20)
HOLD_S = 1.2  # how long the outcome stays on the screen


def no_estimate() -> GraspEstimate | None:
    """For policies that do not say what they see."""
    return None


class VideoWriter:
    """An mp4 (H.264, yuv420p, starts before it is downloaded whole) that grows with the episodes it is told of.

    A `simtoreal.runtime.Subscriber`. Set `title` before an episode and call `show_outcome` after it. The file has a
    temporary name until `close`, so a video that can be seen can be played. Use as a context manager; after an error
    what was filmed so far is still closed and kept.

    Args:
        path: of the mp4; its folder is made if absent.
        fps: frames per second, the control rate for real time.
        latest_estimate: asked after each step for what the policy aims at, such as `lambda: policy.estimate`.

    Raises:
        ValueError: `fps` is not positive.
        RunFolderError: the file cannot be written.
    """

    def __init__(
        self, path: Path, fps: float, latest_estimate: Callable[[], GraspEstimate | None] = no_estimate
    ) -> None:
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        self.path = path
        self.fps = fps
        self.title = ""
        self.num_frames = 0
        self._latest_estimate = latest_estimate
        self._last: Image | None = None
        self._temporary = make_folder(path.parent) / f".{path.name}.partial"
        with explain_write_errors(path):
            self._container: OutputContainer | None = av.open(
                str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"}
            )
        shape = PictureShape(fps, 2 * PANEL_PX, PANEL_PX + BAR_PX)
        self._stream = add_h264_stream(self._container, shape, {"crf": "23", "preset": "veryfast"})

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def episode_start(self) -> None:
        """Forgets the frame of the episode before."""
        self._last = None

    def step(self, step: Step) -> None:
        """Films one control period."""
        self.add(step.observation, self._latest_estimate())

    def episode_end(self) -> None:
        """Nothing to film: the outcome is not known yet, see `show_outcome`."""

    def add(self, observation: Observation, estimate: GraspEstimate | None) -> None:
        """Films one observation, with what the policy makes of it."""
        self._last = compose(observation, estimate)
        self._write(with_bar(self._last, self.title))

    def show_outcome(self, success: bool, note: str = "") -> None:
        """Holds the last frame with the outcome written below; `note` says how it failed."""
        if self._last is None:
            return
        outcome = "GRASPED" if success else "FAILED"
        text = f"{outcome}: {note}" if note else outcome
        frame = with_bar(self._last, f"{self.title}   {text}", SUCCESS if success else FAILURE)
        for _ in range(max(1, round(HOLD_S * self.fps))):
            self._write(frame)

    def close(self) -> None:
        """Finishes the file and gives it its name; without a single frame there is no file. Safe to call again."""
        if self._container is None:
            return
        container, self._container = self._container, None
        with explain_write_errors(self.path):
            try:
                if self.num_frames:
                    container.mux(self._stream.encode(None))
                container.close()
                if self.num_frames:
                    self._temporary.replace(self.path)
            finally:
                self._temporary.unlink(missing_ok=True)

    def _write(self, rgb: Image) -> None:
        if self._container is None:
            raise ValueError(f"{self.path} is closed")
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        with explain_write_errors(self.path):
            self._container.mux(self._stream.encode(frame))
        self.num_frames += 1


def compose(observation: Observation, estimate: GraspEstimate | None) -> Image:
    """The camera image with the grasp drawn on it beside the quality map, (PANEL_PX, 2 * PANEL_PX, 3).

    Without a map the right side shows the plain camera image.
    """
    seen = pictures.camera_picture(observation)
    left = seen if estimate is None else pictures.draw_estimate(observation, estimate)
    overlay = None if estimate is None else pictures.estimate_overlay(estimate)
    panels = [pictures.fit(panel, PANEL_PX, PANEL_PX) for panel in (left, seen if overlay is None else overlay)]
    frame: Image = np.concatenate(panels, axis=1)
    return frame


def with_bar(frame: Image, text: str, colour: tuple[int, int, int] = BACKGROUND) -> Image:
    """Adds a bar with one line of text below a frame."""
    bar = np.full((BAR_PX, frame.shape[1], 3), colour, dtype=np.uint8)
    ink = (240, 240, 240) if colour == BACKGROUND else (20, 20, 20)
    pictures.write_caption(bar, text, (12, BAR_PX - 14), frame.shape[1] - 24, ink)
    return np.concatenate([frame, bar], axis=0)
