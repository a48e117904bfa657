"""What the parts of the system hand to one another: records, and the protocols of controllers and policies.

A simulator, a real arm, a recorded log, a fake: each is a `Controller`; `simtoreal.runtime` is the one loop over them.
Frames: `base` (robot base, +Z up), `tcp` (between the finger tips, +Z approach, +X the direction the jaws close in),
`cam` (optical: +Z forward, +X right, +Y down), `grasp` (a tool pose to close at).
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class CameraImage(NamedTuple):
    """One picture, with what is known of its camera at that moment."""

    t_s: float  # capture time on the controller's monotonic clock
    rgb: NDArray[np.uint8] | None  # (H, W, 3)
    depth_m: NDArray[np.float32] | None  # (H, W), metres, nan is no return
    K: FloatArray  # (3, 3), pixels
    T_base_cam: FloatArray  # (4, 4), camera pose at capture as calibrated
    distortion: FloatArray | None = None  # (5,) OpenCV k1 k2 p1 p2 k3; None is a pinhole


class Picture(NamedTuple):
    """What a camera driver gives: a picture, and the lens where the device knows it."""

    t_s: float  # capture time on `time.monotonic`
    rgb: NDArray[np.uint8] | None  # (H, W, 3)
    depth_m: NDArray[np.float32] | None  # (H, W), metres along the optical axis, aligned with rgb, nan is no return
    K: FloatArray | None = None  # (3, 3), pixels, as the device says
    distortion: FloatArray | None = None  # (5,) OpenCV k1 k2 p1 p2 k3, as the device says; None is a pinhole


class Observation(NamedTuple):
    """What a real robot can measure, and nothing else."""

    t_s: float  # capture time on the controller's monotonic clock
    rgb: NDArray[np.uint8] | None  # (H, W, 3)
    depth_m: NDArray[np.float32] | None  # (H, W), metres, nan is no return
    K: FloatArray  # (3, 3), pixels
    T_base_cam: FloatArray  # (4, 4), camera pose at capture as calibrated
    T_base_tcp: FloatArray  # (4, 4), measured tool pose
    gripper_width_m: float
    joint_positions_rad: FloatArray | None
    distortion: FloatArray | None = None  # (5,) OpenCV k1 k2 p1 p2 k3; None is a pinhole
    more_cameras: Mapping[str, CameraImage] | None = None  # others by name; policies look through the one above


class Action(NamedTuple):
    """One control period of motion; translations and rotations move the commanded tool pose, the setpoint."""

    delta_m: FloatArray  # (3,), tool translation in the base frame
    delta_rotation_rad: FloatArray  # (3,), rotation vector in the base frame
    gripper_width_m: float  # commanded opening


class GraspEstimate(NamedTuple):
    """Where to close the jaws, as perception (or a planner that knows the scene) sees it."""

    T_base_grasp: FloatArray  # (4, 4), tool pose at closing
    width_m: float  # extent of what will be between the jaws
    quality: float  # in [0, 1], chance that closing there holds the object
    age_s: float = 0.0  # time since the image it was read from
    quality_map: NDArray[np.float32] | None = None  # (h, w) best quality per cell of the view, for pictures
    view_rgb: NDArray[np.uint8] | None = None  # (H, W, 3) the view the map lies over, for pictures
    pixel: tuple[float, float] | None = None  # (u, v) of the grasp in that view


class LinkLost(ConnectionError):
    """What is needed to go on is out of reach: a server, a robot, or an answer in time. The arm has to be stopped."""


@runtime_checkable
class Camera(Protocol):
    """Anything that takes pictures."""

    def connect(self) -> None:
        """Returns once pictures come."""
        ...

    def read_latest(self, max_age_s: float) -> Picture:
        """The newest picture, at once.

        Raises:
            ConnectionError: it is older than `max_age_s`, or the camera is gone.
        """
        ...

    def disconnect(self) -> None:
        """Lets go of the device. Safe to call again."""
        ...


@runtime_checkable
class Controller(Protocol):
    """Anything that can be observed and commanded. Names follow lerobot's `Robot` where the meaning is the same."""

    @property
    def control_hz(self) -> float: ...
    def connect(self) -> None: ...
    def reset(self) -> Observation: ...
    def get_observation(self) -> Observation: ...
    def send_action(self, action: Action) -> Action:
        """Sends one action and returns the action really sent, after limits."""
        ...

    def stop(self) -> None:
        """Stops all motion; safe at any time, from any state. Later actions move on from where the tool then stands."""
        ...

    def disconnect(self) -> None: ...


@runtime_checkable
class Policy(Protocol):
    """Observation in, action out, once per control period."""

    def reset(self) -> None: ...
    def act(self, observation: Observation) -> Action: ...
    def sent(self, action: Action) -> None:
        """Told what the controller really sent, so that the policy's idea of its setpoint stays true."""
        ...


class GraspSource(Protocol):
    """Turns observations into grasp estimates: a learned encoder, or a planner that knows the scene."""

    def reset(self) -> None: ...
    def estimate(self, observation: Observation) -> GraspEstimate | None:
        """The grasp to aim at now, or None while none has been seen."""
        ...

    def missed(self, T_base_tcp: FloatArray, slipped: bool = False) -> None:
        """Told that the jaws hold nothing at this tool pose, so that the next estimate can differ.

        `slipped` says that they did hold something, which did not come along.
        """
        ...
