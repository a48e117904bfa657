"""A camera with what calibration knows of it: lens, and where it sits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal.camera_record import CameraRecord
from simtoreal.contracts import Camera, CameraImage, Picture
from simtoreal.controllers.hardware_settings import ArmFrames
from simtoreal.controllers.link_errors import LinkError, StalePicture

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MountedCamera:
    """One camera of a rig.

    Args:
        name: what datasets call it.
        device: its driver.
        record: its `camera.yaml`, with a mount.
        frames: where the arm's frames lie.
        max_age_s: older pictures are refused.
    """

    name: str
    device: Camera
    record: CameraRecord
    frames: ArmFrames
    max_age_s: float

    def read(self, now_s: float) -> Picture:
        """The newest picture.

        Raises:
            StalePicture: it is older than `max_age_s`.
            LinkError: it is none, or not of the size that was calibrated.
        """
        picture = self.device.read_latest(self.max_age_s)
        if now_s - picture.t_s > self.max_age_s:
            raise stale(self.name, now_s - picture.t_s, self.max_age_s)
        rgb, depth_m, model = picture.rgb, picture.depth_m, self.record.model
        if rgb is not None and (rgb.dtype != np.uint8 or rgb.shape != (model.height_px, model.width_px, 3)):
            raise LinkError(f"{self._expected('rgb', 'uint8')} x 3, it is {rgb.dtype} {rgb.shape}")
        if depth_m is not None and (depth_m.dtype != np.float32 or depth_m.shape != (model.height_px, model.width_px)):
            raise LinkError(f"{self._expected('depth_m', 'float32')}, it is {depth_m.dtype} {depth_m.shape}")
        if rgb is None and depth_m is None:
            raise LinkError(f"camera {self.name} gives neither colour nor depth")
        return picture

    def image(self, picture: Picture, T_robot_tool: FloatArray) -> CameraImage:
        """A picture with the lens and the pose of the camera when it was taken.

        A measured lens is believed before what the device says of itself.
        """
        assert self.record.mount is not None, "refused when the hardware file was read"
        T_mount_cam = self.record.mount.T
        T_base_cam = T_mount_cam
        if self.record.placement == "wrist":
            T_base_cam = self.frames.T_base_tcp(T_robot_tool) @ T_mount_cam
        model = self.record.model
        K, distortion = model.K, None if model.is_pinhole else np.array(model.distortion)
        if self.record.lens_fit is None and picture.K is not None:
            K, distortion = picture.K, picture.distortion
        return CameraImage(picture.t_s, picture.rgb, picture.depth_m, K, T_base_cam, distortion)

    def _expected(self, field: str, dtype: str) -> str:
        model = self.record.model
        return f"camera {self.name}: {field} must be {dtype}, {model.height_px} x {model.width_px} px as calibrated"


def stale(name: str, age_s: float, max_age_s: float) -> StalePicture:
    """The error for a picture that is too old."""
    return StalePicture(
        f"camera {name}: the newest picture is {age_s:.3f} s old, allowed is {max_age_s:g} s: is its cable loose, or "
        "the bus too slow for its rate?"
    )
