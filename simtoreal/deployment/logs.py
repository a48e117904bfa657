"""Recorded episodes for `controller=replay` and for the held-out check: from a dataset, frame by frame."""

import math
from typing import TYPE_CHECKING

import numpy as np

from simtoreal.contracts import CameraImage, Observation
from simtoreal.controllers.registry import ControllerSettings
from simtoreal.controllers.replay import LoggedFrame, ReplayController
from simtoreal.schema import ConfigError

if TYPE_CHECKING:
    from simtoreal.episodes.reader import RecordedEpisode
    from simtoreal.episodes.records import EpisodeFrame


def open_controller(settings: ControllerSettings) -> ReplayController:
    """The log of `controller=replay log=DIR episode=N`.

    Raises:
        ConfigError: no log is given, there is no such episode in it, or it lacks what an observation must have.
        ModuleNotFoundError: reading datasets needs pyarrow and PyAV, which the robot's computer may lack.
    """
    if settings.log is None:
        raise ConfigError("controller=replay needs log=DIR, the folder of a recorded dataset")
    try:
        from simtoreal.episodes.reader import DatasetReader
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"replaying a dataset needs {error.name}: do it where simtoreal is installed as a whole"
        ) from error
    with DatasetReader(settings.log) as reader:
        if not 0 <= settings.episode < len(reader):
            raise ConfigError(f"episode={settings.episode}: {settings.log} holds the episodes 0 to {len(reader) - 1}")
        episode = reader[settings.episode]
        return ReplayController([_logged(episode, index) for index in range(len(episode))], episode.info.fps)


def _logged(episode: "RecordedEpisode", index: int) -> LoggedFrame:
    frame, main = episode[index], next(iter(episode.info.cameras), "")
    if frame.T_base_tcp is None or frame.gripper_width_m is None or not math.isfinite(frame.gripper_width_m):
        raise ConfigError(f"frame {index} of the episode to replay has no tool pose or no opening of the jaws")
    images = {name: _image(episode, frame, name) for name in episode.info.cameras}
    seen = images.pop(main, None)
    if seen is None:
        raise ConfigError(f"camera {main or '(none)'} of the episode to replay has no K or no pose: calibrate it first")
    return LoggedFrame(
        Observation(
            t_s=frame.t_s,
            rgb=seen.rgb,
            depth_m=seen.depth_m,
            K=seen.K,
            T_base_cam=seen.T_base_cam,
            T_base_tcp=np.array(frame.T_base_tcp),
            gripper_width_m=float(frame.gripper_width_m),
            joint_positions_rad=frame.joint_positions_rad,
            distortion=seen.distortion,
            more_cameras={name: image for name, image in images.items() if image is not None} or None,
        ),
        frame.commanded,
        frame.sent,
    )


def _image(episode: "RecordedEpisode", frame: "EpisodeFrame", name: str) -> CameraImage | None:
    info, image = episode.info.cameras[name], frame.images.get(name)
    T_base_cam = None if image is None else image.T_base_cam
    if T_base_cam is None and info.T_mount_cam is not None and frame.T_base_tcp is not None:
        T_base_cam = frame.T_base_tcp @ info.T_mount_cam if info.mount == "wrist" else info.T_mount_cam
    if info.K is None or T_base_cam is None:
        return None
    rgb, depth_m, t_s = (None, None, frame.t_s) if image is None else (image.rgb, image.depth_m, image.t_s)
    return CameraImage(t_s, rgb, depth_m, info.K, T_base_cam, info.distortion)
