"""What a calibrated camera leaves to chance: the ranges that both worlds draw its errors from.

A calibration says where the camera is and how sure that is. A simulator that plays this very camera therefore draws no
other lens and no other mount, and errs about the mount as much as the calibration may.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simtoreal.camera_record import CameraRecord, FloatArray

_SHARE_Z = 1.645  # 95 % of a normal distribution, one side


def camera_ranges(record: CameraRecord) -> dict[str, Any]:
    """The group `camera` of the domain randomization, as `Randomization.updated` reads it."""
    still = {"position_offset_m": 0.0, "rotation_offset_rad": 0.0, "fov_scale": 1.0}
    bent = {f"distortion_{name}": 0.0 for name in ("k1", "k2", "p", "k3")}
    return {"camera": {**still, **bent, **_errors(record, "mounting_error")}}


def optics_ranges(record: CameraRecord) -> dict[str, Any]:
    """The group `optics` of a reality, as `Reality.updated` reads it."""
    still = {"position_offset_m": 0.0, "rotation_offset_rad": 0.0, "fov_scale": 1.0, "principal_offset_frac": 0.0}
    bent = {f"distortion_{name}": 0.0 for name in ("k1", "k2", "p")}
    return {"optics": {**still, **bent, **_errors(record, "hand_eye_error")}}


def with_camera(plain: Mapping[str, Any], record: CameraRecord | None, *, reality: bool = False) -> dict[str, Any]:
    """Plain ranges with those of a camera whose mount was measured; of any other camera they stay as they are."""
    if record is None or record.mount_fit is None:
        return dict(plain)
    return {**plain, **(optics_ranges(record) if reality else camera_ranges(record))}


def _errors(record: CameraRecord, name: str) -> dict[str, str]:
    """Errors of the mount up to the length that 95 % of those of the calibration stay under."""
    assert record.mount_fit is not None
    covariance = record.mount_fit.matrix
    length_m, angle_rad = longest(covariance[:3, :3]), longest(covariance[3:, 3:])
    return {f"{name}_m": f"=U(0, {length_m:.6g})", f"{name}_rad": f"=U(0, {angle_rad:.6g})"}


def longest(covariance: FloatArray) -> float:
    """The length that 95 % of normal vectors with a covariance (3, 3) stay under.

    Squared lengths are taken to be a multiple of chi square (Satterthwaite 1946), whose quantile follows Wilson and
    Hilferty, 1931.

    Example:
        >>> round(longest(np.eye(3)), 1)
        2.8
    """
    first, second = float(np.trace(covariance)), float(np.trace(covariance @ covariance))
    if first <= 0.0:
        return 0.0
    degrees = first * first / second
    spread = 2.0 / (9.0 * degrees)
    return float(np.sqrt(first * (1.0 - spread + _SHARE_Z * np.sqrt(spread)) ** 3))
