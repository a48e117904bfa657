"""Episodes as a Rerun recording (`.rrd`): cameras in space, pictures, path of the tool, jaws, and labels, over time."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal import camera, frames
from simtoreal.episodes.arm_tracks import ArmTracks, arm_tracks
from simtoreal.episodes.grasp_attempts import Attempt, Outcome
from simtoreal.episodes.grasp_views import PosedImage, Sight, posed
from simtoreal.episodes.hindsight import EpisodeLabels, FrameLabels
from simtoreal.episodes.label_pictures import FAILED
from simtoreal.episodes.reader import RecordedEpisode
from simtoreal.evaluation.output_files import explain_write_errors
from simtoreal.evaluation.pictures import JAWS
from simtoreal.progress import Progress

_JAW_M = 0.03  # length of the fingers that are drawn
_PLANE_M = 0.1  # distance at which pictures hang before their cameras
_TIMELINE = "time"


def need_rerun() -> None:
    """Makes sure that Rerun is there, before anything long is started.

    Raises:
        ModuleNotFoundError: it is not; says what to install.
    """
    if importlib.util.find_spec("rerun") is None:
        raise ModuleNotFoundError("viewer=rerun needs the Rerun SDK: pip install 'simtoreal[rerun]'")


def write_recording(path: Path, episodes: Sequence[tuple[RecordedEpisode, EpisodeLabels]], progress: Progress) -> None:
    """Writes episodes one after the other, each under its own name, into one file.

    Raises:
        ModuleNotFoundError: Rerun is not installed; says what to install.
        DatasetError: a frame cannot be read.
        RunFolderError: the file cannot be written.
    """
    need_rerun()
    import rerun

    stream = rerun.RecordingStream("simtoreal", recording_id=path.resolve().parent.name)
    with explain_write_errors(path):
        stream.save(path)
        with progress.task("rerun", len(episodes)) as bar:
            for episode, labels in episodes:
                _EpisodeLog(rerun, stream, episode).write(labels)
                bar.advance()
        stream.flush()
        stream.disconnect()


class _EpisodeLog:
    """Writes one episode."""

    def __init__(self, rerun: Any, stream: Any, episode: RecordedEpisode) -> None:
        self._rr, self._stream, self._episode = rerun, stream, episode
        self._root = f"episode_{episode.entry.index:04d}"

    def write(self, labels: EpisodeLabels) -> None:
        tracks = arm_tracks(self._episode)
        self._log("", self._rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self._path(tracks)
        for number, attempt in enumerate(labels.attempts):
            self._closing(number, attempt)
        for index, frame_labels in enumerate(labels.frames):
            self._frame(index, frame_labels, tracks)

    def _log(self, name: str, what: Any, static: bool = False) -> None:
        self._stream.log(f"{self._root}/{name}" if name else self._root, what, static=static)

    def _at(self, t_s: float) -> None:
        self._stream.set_time(_TIMELINE, duration=t_s)

    def _path(self, tracks: ArmTracks) -> None:
        points = [T[:3, 3] for t in tracks.width_t_s if (T := tracks.poses.at(float(t))) is not None]
        if points:
            self._log("path", self._rr.LineStrips3D([np.array(points)], radii=0.001), static=True)
        for t_s, width_m in zip(tracks.width_t_s, tracks.width_m, strict=True):
            self._at(float(t_s))
            self._log("jaws/measured_m", self._rr.Scalars(float(width_m)))
        for t_s, told_m in zip(tracks.told_t_s, tracks.told_m, strict=True):
            self._at(float(t_s))
            self._log("jaws/told_m", self._rr.Scalars(float(told_m)))

    def _closing(self, number: int, attempt: Attempt) -> None:
        colour = JAWS if attempt.outcome is Outcome.HELD else FAILED
        self._at(attempt.closes_s)
        jaws = self._rr.LineStrips3D([_jaws(attempt.T_base_tcp, attempt.width_m)], colors=[colour], radii=0.002)
        self._log(f"closings/{number}_{attempt.outcome.value}", jaws)

    def _frame(self, index: int, labels: FrameLabels, tracks: ArmTracks) -> None:
        frame = self._episode.frame(index)
        self._at(frame.t_s if frame.state_t_s is None else frame.state_t_s)
        if frame.T_base_tcp is not None:
            jaws = _jaws(frame.T_base_tcp, frame.gripper_width_m or 0.0)
            self._log("tool", self._rr.LineStrips3D([jaws], radii=0.002))
        for name, image in frame.images.items():
            self._at(image.t_s)
            at = posed(image, self._episode.info.cameras[name], tracks.poses)
            if at is not None:
                self._pose(name, at)
            if image.rgb is not None:
                self._log(f"cameras/{name}/rgb", self._rr.Image(image.rgb).compress(jpeg_quality=90))
            if image.depth_m is not None:
                depth = np.nan_to_num(image.depth_m, nan=0.0)
                self._log(f"cameras/{name}/depth", self._rr.DepthImage(depth, meter=1.0))
            self._labels(name, labels)

    def _pose(self, name: str, at: PosedImage) -> None:
        pose = self._rr.Transform3D(translation=at.T_base_cam[:3, 3], mat3x3=at.T_base_cam[:3, :3])
        self._log(f"cameras/{name}", pose)
        lens = self._rr.Pinhole(image_from_camera=at.K, resolution=at.size_px, image_plane_distance=_PLANE_M)
        self._log(f"cameras/{name}", lens)

    def _labels(self, name: str, labels: FrameLabels) -> None:
        """Where the grasps of a frame lie in a picture, or that there is none."""
        wanted = [*labels.failed, *([labels.grasp] if labels.grasp is not None else [])]
        seen = [(label, view) for label in wanted if (view := label.views.get(name)) and view.sight is Sight.VISIBLE]
        if not seen:
            self._log(f"cameras/{name}/rgb/grasps", self._rr.Clear(recursive=False))
            return
        strips = []
        for _, view in seen:
            half = 0.5 * view.width_px * np.array([np.cos(view.angle_rad), np.sin(view.angle_rad)])
            strips.append(np.array([view.pixel - half, view.pixel + half]) + 0.5)
        colours = [JAWS if label.positive else FAILED for label, _ in seen]
        self._log(f"cameras/{name}/rgb/grasps", self._rr.LineStrips2D(strips, colors=colours, radii=1.5))


def _jaws(T_base_tcp: camera.FloatArray, width_m: float) -> camera.FloatArray:
    """Points (4, 3) along one finger, across, and along the other."""
    half = 0.5 * width_m
    corners = [[-half, 0.0, 0.0], [-half, 0.0, -_JAW_M], [half, 0.0, -_JAW_M], [half, 0.0, 0.0]]
    return frames.apply(T_base_tcp, corners)
