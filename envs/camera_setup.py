"""Which camera a cell has: where it sits, its lens, and what it delivers. The same in every world."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord, MountPose
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import WORKSPACE_CENTRE_M

_EXTERNAL_EYE_M = (1.05, 0.0, 0.70)


@dataclass(frozen=True)
class CameraSetup:
    """A camera, on the wrist or fixed beside the cell, and what it delivers.

    `mount` is where calibration found it; None is the place that the robot's file (wrist) or the cell gives it.
    """

    placement: Literal["wrist", "external"]
    model: CameraModel
    rgb: bool = True
    depth: bool = True
    mount: MountPose | None = None

    @classmethod
    def of(cls, record: CameraRecord) -> "CameraSetup":
        """The camera that a record describes."""
        return cls(record.placed, record.model, record.modality != "depth", record.modality != "rgb", record.mount)

    @classmethod
    def default(cls, placement: Literal["wrist", "external"], image_px: int, modality: str = "rgbd") -> "CameraSetup":
        """A square camera: 60 degrees on the wrist, 40 degrees from beside the cell."""
        fov_rad = math.radians(60.0 if placement == "wrist" else 40.0)
        model = CameraModel.from_fov(image_px, image_px, fov_rad)
        return cls(placement, model, rgb=modality != "depth", depth=modality != "rgb")


def nominal_mount(setup: CameraSetup, robot: RobotSpec) -> NDArray[np.float64]:
    """Pose (4, 4) of the optical frame: in the tool frame on the wrist, in the base frame beside the cell."""
    if setup.mount is not None:
        return setup.mount.T
    if setup.placement == "wrist":
        return robot.T_tcp_cam
    return frames.look_at(_EXTERNAL_EYE_M, (*WORKSPACE_CENTRE_M, 0.02))
