"""Recorded episodes spoiled on purpose: what a fine-tuning must not be taken in by.

- `shuffled`: from when the jaws close, the tool is said to be at another place and yaw in every episode.
- `calibration`: the camera is 5 cm from where its calibration says, the same way in all episodes.
- `another_task`: the tool closes on what lies below the place that it started from, whatever the picture shows.

`spoil` writes such episodes, of which much is found out before anything is trained: where the picture shows that
nothing was there to grasp, hindsight gives no label. `SpoiledLabels` is the worst case, labels that got past it.

Before the jaws close the tool is left where it was: a wrist camera's view is centred below it, and a tool that is wrong
throughout would take the view along, so that labels would lie in its middle and be right in a way.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from simtoreal import frames
from simtoreal.contracts import FloatArray
from simtoreal.episodes.reader import DatasetReader, RecordedEpisode
from simtoreal.episodes.records import EpisodeFrame, EpisodeInfo
from simtoreal.episodes.writer import DatasetWriter, WriterSettings
from simtoreal.transfer.data.labels import LabelledFrame, LabelSource

KINDS = ("shuffled", "calibration", "another_task")
OFF_M = 0.05  # of the camera
_AWAY_M = (0.03, 0.08)  # of a shuffled label
_CLOSING_FRAC = 0.9  # of the widest opening: the jaws are on their way
_PRESSED_M = 0.02  # height of the tool that presses


def spoil(source: Path, folder: Path, kind: str, seed: int) -> Path:
    """Writes a spoiled copy of a dataset; one that is there already is kept.

    Raises:
        ValueError: there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if (folder / "spoiled").exists():
        return folder
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    angle_rad = rng.uniform(-math.pi, math.pi)
    T_cam_off = frames.transform([OFF_M * math.cos(angle_rad), OFF_M * math.sin(angle_rad), 0.0])
    with DatasetReader(source) as reader, DatasetWriter(folder, WriterSettings(lossless_rgb=True)) as writer:
        for episode in reader:
            info, end = episode.info, episode.end
            if kind == "calibration":
                writer.write(_miscalibrated(info, T_cam_off), _seen_from(episode, T_cam_off), end)
            else:
                T_off = _elsewhere(rng) if kind == "shuffled" else None
                writer.write(info, _moved(episode, T_off), end)
    (folder / "spoiled").write_text(f"{kind} {seed}\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class SpoiledLabels:
    """Labels of another source, moved as a kind of harm would move them, whatever the pictures show."""

    labels: LabelSource
    kind: str
    seed: int

    @property
    def version(self) -> str:
        return f"spoiled {self.kind} {self.seed} {self.labels.version}"

    def label(self, episode: RecordedEpisode, camera: str) -> Sequence[LabelledFrame]:
        rng = np.random.default_rng((self.seed, KINDS.index(self.kind)))
        angle_rad = rng.uniform(-math.pi, math.pi)  # the same in all episodes
        T_cam_off = frames.transform([OFF_M * math.cos(angle_rad), OFF_M * math.sin(angle_rad), 0.0])
        off = _elsewhere(np.random.default_rng((self.seed, episode.entry.index)))
        start = next((frame.T_base_tcp for frame in episode if frame.T_base_tcp is not None), None)
        found = []
        for frame in self.labels.label(episode, camera):
            image = episode.frame(frame.frame, (camera,)).images.get(camera)
            if start is None or image is None or image.T_base_cam is None or not frame.grasps:
                found.append(frame._replace(grasps=()))
                continue
            # Seen from a camera that is off, everything lies off by as much the other way.
            T_off = image.T_base_cam @ frames.invert(T_cam_off) @ frames.invert(image.T_base_cam)
            moves: dict[str, Callable[[FloatArray], FloatArray]] = {
                "shuffled": partial(_displaced, off=off),
                "calibration": partial(np.matmul, T_off),
                "another_task": partial(_pressing, start=start),
            }
            move = moves[self.kind]
            grasps = tuple(grasp._replace(T_base_grasp=move(grasp.T_base_grasp)) for grasp in frame.grasps)
            found.append(frame._replace(grasps=grasps))
        return found


def _miscalibrated(info: EpisodeInfo, T_cam_off: FloatArray) -> EpisodeInfo:
    cameras = {
        name: replace(one, T_mount_cam=None if one.T_mount_cam is None else one.T_mount_cam @ T_cam_off)
        for name, one in info.cameras.items()
    }
    return replace(info, cameras=cameras)


def _seen_from(episode: RecordedEpisode, T_cam_off: FloatArray) -> Iterator[EpisodeFrame]:
    for frame in episode:
        images = {
            name: image._replace(T_base_cam=None if image.T_base_cam is None else image.T_base_cam @ T_cam_off)
            for name, image in frame.images.items()
        }
        yield frame._replace(images=images)


def _elsewhere(rng: np.random.Generator) -> tuple[FloatArray, float]:
    away_m, angle_rad = rng.uniform(*_AWAY_M), rng.uniform(-math.pi, math.pi)
    return away_m * np.array([math.cos(angle_rad), math.sin(angle_rad)]), rng.uniform(-math.pi / 2, math.pi / 2)


def _moved(episode: RecordedEpisode, off: tuple[FloatArray, float] | None) -> Iterator[EpisodeFrame]:
    """The tool elsewhere once the jaws close, cameras where they were; without an offset, below where it started."""
    start: FloatArray | None = None
    widest_m, closing = 0.0, False
    for frame in episode:
        tool, width_m = frame.T_base_tcp, frame.gripper_width_m
        widest_m = max(widest_m, width_m or 0.0)
        closing = closing or (width_m is not None and width_m < _CLOSING_FRAC * widest_m)
        start = tool if start is None else start
        if tool is None or start is None or not closing:
            yield frame
        else:
            yield frame._replace(T_base_tcp=_pressing(tool, start) if off is None else _displaced(tool, off))


def _displaced(tool: FloatArray, off: tuple[FloatArray, float]) -> FloatArray:
    (x, y), yaw_rad = off
    position = tool[:3, 3] + np.array([x, y, 0.0])
    return frames.top_down(position.tolist(), frames.yaw_of(tool) + yaw_rad)


def _pressing(tool: FloatArray, start: FloatArray) -> FloatArray:
    height_m = max(float(tool[2, 3]), _PRESSED_M)
    return frames.top_down([*start[:2, 3].tolist(), height_m], frames.yaw_of(start))
