"""An episode as everything that records, imports, stores or reads one hands it on: what it is, its frames, its end.

A source yields one `EpisodeInfo`, any number of `EpisodeFrame` and one `EpisodeEnd`, in that order, so that an episode
of any length passes through bounded memory. What a source does not know is None, never a made-up number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Action

FloatArray = NDArray[np.float64]
Mount = Literal["wrist", "external", "unknown"]


@dataclass(frozen=True)
class CameraInfo:
    """What does not change about a camera during an episode.

    `T_mount_cam` is the calibrated pose (4, 4) of the optical frame in the tool frame (wrist) or base frame (external).
    """

    width_px: int
    height_px: int
    has_rgb: bool = True
    has_depth: bool = False
    mount: Mount = "unknown"
    K: FloatArray | None = None  # (3, 3), pixels
    distortion: FloatArray | None = None  # (5,) OpenCV k1 k2 p1 p2 k3
    T_mount_cam: FloatArray | None = None


@dataclass(frozen=True)
class EpisodeInfo:
    """What is known before the first frame."""

    fps: float
    cameras: Mapping[str, CameraInfo]
    task: str = "pick up the object"
    domain: str = "real"  # real, pybullet, mujoco, ...
    robot: str = ""
    object_name: str = ""
    source: str = ""  # where it was imported from: file and episode in it
    num_joints: int | None = None  # None is as many as the first frame of the dataset has


class FrameImage(NamedTuple):
    """One camera's picture in one frame."""

    t_s: float  # true capture time, on the clock of the episode
    rgb: NDArray[np.uint8] | None = None  # (H, W, 3)
    depth_m: NDArray[np.float32] | None = None  # (H, W), metres, nan is no return
    T_base_cam: FloatArray | None = None  # (4, 4), camera pose at capture as calibrated


class EpisodeFrame(NamedTuple):
    """One row: what was seen, where the arm was, and what it was told."""

    t_s: float  # when this control period began, on the clock of the episode
    images: Mapping[str, FrameImage]
    T_base_tcp: FloatArray | None = None  # (4, 4), measured tool pose
    gripper_width_m: float | None = None
    joint_positions_rad: FloatArray | None = None
    state_t_s: float | None = None  # when pose, width and joints were measured
    commanded: Action | None = None  # as the policy or the operator meant it
    sent: Action | None = None  # as the controller let it through


@dataclass(frozen=True)
class EpisodeEnd:
    """What is known after the last frame."""

    success: bool | None = None
    failure: str = ""  # kind of failure, empty on success or where nobody said
    note: str = ""  # the operator's
    world_sample: Mapping[str, Any] = field(default_factory=dict)  # the sampled reality, where it is simulated
    labels: Mapping[str, Any] = field(default_factory=dict)  # annotations of the source, such as grasp rectangles
