"""A recorded episode as a controller: observations come from the log, and what it is sent is compared with the log.

One action is one frame. The arm of a log cannot be moved; `differences` says how far a policy would have gone from it.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from simtoreal.contracts import Action, CameraImage, Observation
from simtoreal.controllers.registry import ControllerSettings
from simtoreal.schema import ConfigError

if TYPE_CHECKING:
    from simtoreal.episodes.records import CameraInfo, EpisodeFrame


class Difference(NamedTuple):
    """An action beside the recorded one of the same frame."""

    frame: int
    translation_m: float  # length of the difference
    rotation_rad: float
    width_m: float


class ReplayController:
    """Answers from the frames of one episode, which it holds in memory.

    Raises:
        ConfigError: the episode lacks what an observation must have.
    """

    def __init__(self, frames: "list[EpisodeFrame]", cameras: "dict[str, CameraInfo]", fps: float) -> None:
        if not frames or not cameras:
            raise ConfigError("the episode to replay has no frames or no camera")
        self._frames, self._cameras, self._fps = frames, cameras, fps
        self._main = next(iter(cameras))
        self._index = 0
        self.differences: list[Difference] = []
        self._observation(0)

    @property
    def control_hz(self) -> float:
        return self._fps

    @property
    def time_s(self) -> float:
        """Its clock: that of the log, and after its end one period per action."""
        return self._frames[self._at].t_s + (self._index - self._at) / self._fps

    @property
    def is_over(self) -> bool:
        return self._index >= len(self._frames)

    def connect(self) -> None:
        """Nothing to do: the log is in memory."""

    def disconnect(self) -> None:
        """Nothing to let go of."""

    def stop(self) -> None:
        """A log does not move."""

    def reset(self) -> Observation:
        """Goes back to the first frame."""
        self._index = 0
        self.differences.clear()
        return self._observation(0)

    def get_observation(self) -> Observation:
        return self._observation(self._at)

    def send_action(self, action: Action) -> Action:
        """Compares it, and goes to the next frame.

        Raises:
            ValueError: a component is not finite.
        """
        for name in ("delta_m", "delta_rotation_rad", "gripper_width_m"):
            if not np.isfinite(getattr(action, name)).all():
                raise ValueError(f"action: {name} must be finite, got {getattr(action, name)}")
        frame = self._frames[self._at]
        recorded = frame.commanded or frame.sent
        if recorded is not None and not self.is_over:
            self.differences.append(
                Difference(
                    self._index,
                    float(np.linalg.norm(action.delta_m - recorded.delta_m)),
                    float(np.linalg.norm(action.delta_rotation_rad - recorded.delta_rotation_rad)),
                    abs(action.gripper_width_m - recorded.gripper_width_m),
                )
            )
        self._index += 1
        return action

    def recorded(self) -> Action | None:
        """What was sent at the frame that is shown now."""
        frame = self._frames[self._at]
        return frame.sent or frame.commanded

    @property
    def _at(self) -> int:
        return min(self._index, len(self._frames) - 1)

    def _observation(self, index: int) -> Observation:
        frame, info = self._frames[index], self._cameras[self._main]
        if frame.T_base_tcp is None or frame.gripper_width_m is None or not math.isfinite(frame.gripper_width_m):
            raise ConfigError(f"frame {index} of the episode to replay has no tool pose or no opening of the jaws")
        image = frame.images.get(self._main)
        T_base_cam = None if image is None else image.T_base_cam
        if T_base_cam is None and info.T_mount_cam is not None:
            T_base_cam = frame.T_base_tcp @ info.T_mount_cam if info.mount == "wrist" else info.T_mount_cam
        if info.K is None or T_base_cam is None:
            raise ConfigError(f"camera {self._main} of the episode to replay has no K or no pose: calibrate it first")
        return Observation(
            t_s=self.time_s if index == self._at else frame.t_s,
            rgb=None if image is None or image.rgb is None else image.rgb.copy(),
            depth_m=None if image is None or image.depth_m is None else image.depth_m.copy(),
            K=np.array(info.K),
            T_base_cam=np.array(T_base_cam),
            T_base_tcp=np.array(frame.T_base_tcp),
            gripper_width_m=float(frame.gripper_width_m),
            joint_positions_rad=None if frame.joint_positions_rad is None else np.array(frame.joint_positions_rad),
            distortion=None if info.distortion is None else np.array(info.distortion),
            more_cameras=self._others(frame) or None,
        )

    def _others(self, frame: "EpisodeFrame") -> dict[str, CameraImage]:
        found = {}
        for name, image in frame.images.items():
            K = self._cameras[name].K
            if name != self._main and K is not None and image.T_base_cam is not None:
                found[name] = CameraImage(image.t_s, image.rgb, image.depth_m, K, image.T_base_cam)
        return found


def open_controller(settings: ControllerSettings) -> ReplayController:
    """The log of `controller=replay log=DIR episode=N`.

    Raises:
        ConfigError: no log is given, or there is no such episode in it.
        ModuleNotFoundError: reading datasets needs pyarrow and PyAV, which the robot's computer may lack.
    """
    if settings.log is None:
        raise ConfigError("controller=replay needs log=DIR, the folder of a recorded dataset")
    try:
        from simtoreal.episodes.reader import DatasetReader
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"replaying a dataset needs {error.name}: run it where simtoreal is installed as a whole (pip install simtoreal)"
        ) from error
    with DatasetReader(settings.log) as reader:
        if not 0 <= settings.episode < len(reader):
            raise ConfigError(f"episode={settings.episode}: {settings.log} holds the episodes 0 to {len(reader) - 1}")
        episode = reader[settings.episode]
        return ReplayController(list(episode), dict(episode.info.cameras), episode.info.fps)
