"""What is looked at before the first motion; whatever is wrong is refused with the reason and what to do about it."""

import math
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from simtoreal import frames
from simtoreal.bundle import load_bundle
from simtoreal.calibration.drift import look_for_drift
from simtoreal.camera_record import CameraRecord, load_camera
from simtoreal.contracts import Action, Observation, Policy
from simtoreal.controllers.replay import Difference, ReplayController
from simtoreal.safety.guard import Guard
from simtoreal.safety.limits import SafetyLimits
from simtoreal.schema import ConfigError

_REACH_M = 3.0  # no arm on a table reaches farther; more is millimetres
_WIDEST_M = 0.3
_TURNS_RAD = 4.0 * math.pi  # no joint turns farther; more is degrees
_FARTHEST_M = 20.0
_HZ_FRAC = 0.02
_OPENING_FRAC = 0.5
_FOCAL_FRAC = 0.05  # of K against the calibration
_STEP_M, _SETTLE_PERIODS = 0.01, 12
_OFF_M = 0.005
_DAY_S = 86400.0


class DeploymentRefused(ConfigError):
    """Something is not as it must be; nothing has moved."""


def check_observation(seen: Observation) -> None:
    """Shapes, types and units of what a controller gives.

    Raises:
        DeploymentRefused: names the field, the value, what is allowed, and the likely cause.
    """
    for name, shape in (("T_base_tcp", (4, 4)), ("T_base_cam", (4, 4)), ("K", (3, 3))):
        value = np.asarray(getattr(seen, name))
        if value.shape != shape or not np.isfinite(value).all():
            raise DeploymentRefused(f"the controller's {name} must be {shape} and finite, it is {value.shape}: {value}")
    for name in ("T_base_tcp", "T_base_cam"):
        _check_pose(name, getattr(seen, name))
    if not math.isfinite(seen.t_s):
        raise DeploymentRefused(f"the controller's t_s={seen.t_s} must be seconds on a monotonic clock")
    if not 0.0 <= seen.gripper_width_m <= _WIDEST_M:
        raise DeploymentRefused(
            f"gripper_width_m={seen.gripper_width_m:g} is out of range: allowed is 0 to {_WIDEST_M} m. Does the "
            "adapter give millimetres, or a reading from 0 to 1?"
        )
    joints = seen.joint_positions_rad
    if joints is not None and (np.ndim(joints) != 1 or not (np.abs(joints) <= _TURNS_RAD).all()):
        raise DeploymentRefused(
            f"joint_positions_rad={np.asarray(joints).tolist()} must be a list within {_TURNS_RAD:.1f} rad: does the "
            "adapter give degrees?"
        )
    _check_pictures(seen)


def _check_pose(name: str, T: Any) -> None:
    R = T[:3, :3]
    if float(np.abs(R @ R.T - np.eye(3)).max()) > 1e-3 or np.linalg.det(R) < 0:
        raise DeploymentRefused(f"the rotation of {name} is none: {R.tolist()}. Is it transposed or scaled?")
    if float(np.abs(T[:3, 3]).max()) > _REACH_M:
        raise DeploymentRefused(
            f"{name} lies at {T[:3, 3].tolist()}, allowed is {_REACH_M} m from the base: does the "
            "adapter give millimetres?"
        )


def _check_pictures(seen: Observation) -> None:
    rgb, depth_m = seen.rgb, seen.depth_m
    if rgb is None and depth_m is None:
        raise DeploymentRefused("the controller gives no picture: is the camera plugged in and named?")
    if rgb is not None and (rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3):
        raise DeploymentRefused(f"rgb must be uint8 (H, W, 3), it is {rgb.dtype} {rgb.shape}")
    if depth_m is None:
        return
    if depth_m.dtype != np.float32 or depth_m.ndim != 2 or (rgb is not None and depth_m.shape != rgb.shape[:2]):
        raise DeploymentRefused(f"depth_m must be float32 (H, W) like rgb, it is {depth_m.dtype} {depth_m.shape}")
    if np.isfinite(depth_m).any() and float(np.nanmedian(depth_m)) > _FARTHEST_M:
        raise DeploymentRefused(
            f"the median of depth_m is {np.nanmedian(depth_m):g}, allowed is {_FARTHEST_M} m: does the camera give "
            "millimetres?"
        )


def check_start(seen: Observation, limits: SafetyLimits) -> None:
    """Whether the arm stands where it may begin.

    Raises:
        DeploymentRefused: it is outside its limits, or its tool does not point down.
    """
    at_m = seen.T_base_tcp[:3, 3]
    outside = (at_m < np.array(limits.low_m) - 1e-6) | (at_m > np.array(limits.workspace_high_m) + 1e-6)
    if outside.any():
        raise DeploymentRefused(
            f"the tool starts at {np.round(at_m, 4).tolist()} m, outside of {list(limits.low_m)} to "
            f"{list(limits.workspace_high_m)} (limits {limits.name}): move it inside by hand, or give safety=FILE.yaml"
        )
    tilt_rad = math.acos(min(max(-float(seen.T_base_tcp[2, 2]), -1.0), 1.0))
    if tilt_rad > limits.max_tilt_rad:
        upside = " It points up: is the tool frame, or the base, upside down?" if tilt_rad > math.pi / 2 else ""
        raise DeploymentRefused(
            f"the tool is tilted by {tilt_rad:.2f} rad from straight down, allowed is {limits.max_tilt_rad:g}.{upside} "
            "Turn it by hand, or mend T_tool_tcp of the adapter"
        )
    joints = seen.joint_positions_rad
    bounds = zip(joints if joints is not None else (), limits.joint_low_rad, limits.joint_high_rad, strict=False)
    for number, (value, low, high) in enumerate(bounds, 1):
        if not low <= value <= high:
            raise DeploymentRefused(
                f"joint {number} starts at {value:.3f} rad, allowed is {low:g} to {high:g}: move it inside"
            )


def check_bundle(folder: Path, seen: Observation, control_hz: float, limits: SafetyLimits) -> None:
    """Whether a bundle was made for this camera, this gripper and this rate.

    Raises:
        DeploymentRefused: it was not.
        BundleError: it cannot be read.
    """
    bundle = load_bundle(folder)
    modality, placement = bundle.camera.modality, bundle.camera.placement
    trained_hz, opening_m = bundle.scale.control_hz, bundle.scale.max_opening_m
    if abs(control_hz - trained_hz) > _HZ_FRAC * trained_hz:
        raise DeploymentRefused(
            f"the bundle {folder} was made for {trained_hz:g} Hz and the controller runs at {control_hz:g} Hz: give "
            f"control_hz={trained_hz:g}, or train one for this rate"
        )
    for kind, picture in (("rgb", seen.rgb), ("depth", seen.depth_m)):
        needs = modality == kind or modality == "rgbd"
        if needs and picture is None:
            word = "colour" if kind == "rgb" else "depth"
            raise DeploymentRefused(
                f"the bundle {folder} looks at {modality} and the camera gives no {word}: use another camera, or a "
                f"bundle trained with modality={'depth' if kind == 'rgb' else 'rgb'}"
            )
    away_m = float(np.linalg.norm(seen.T_base_cam[:3, 3] - seen.T_base_tcp[:3, 3]))
    if placement == "wrist" and away_m > 0.5:
        raise DeploymentRefused(
            f"the bundle {folder} looks through a camera on the wrist, and this one is "
            f"{away_m:.2f} m away from the tool: use a bundle with camera=external, or mend the calibration"
        )
    if abs(limits.max_width_m - opening_m) > _OPENING_FRAC * opening_m:
        raise DeploymentRefused(
            f"the bundle {folder} was made for jaws that open {opening_m:g} m, these open {limits.max_width_m:g} m: it "
            "is for another robot"
        )


def check_calibration(path: Path | None, knows_its_camera: bool, max_age_days: float, seen: Observation) -> None:
    """Whether there is a calibration, whether it is recent, and whether it is of this camera.

    Raises:
        DeploymentRefused: one of them is not so.
        CameraFileError: the file cannot be read.
    """
    if path is None:
        if knows_its_camera:
            return
        raise DeploymentRefused(
            "camera=FILE is missing: a real camera needs its intrinsics and its pose on the robot. `simtoreal "
            "calibrate intrinsics`, then `hand-eye`, write them; give camera=camera.yaml"
        )
    camera = load_camera(path)
    age_days = (time.time() - _measured_s(camera, path)) / _DAY_S
    if age_days > max_age_days:
        raise DeploymentRefused(
            f"camera={path} is {age_days:.0f} days old, allowed is max_calibration_age_days={max_age_days:g}: "
            "calibrate again, or check it for drift (`simtoreal calibrate check`) and allow more days"
        )
    for name, known, value in (("fx", camera.model.fx, seen.K[0, 0]), ("fy", camera.model.fy, seen.K[1, 1])):
        if abs(known - value) > _FOCAL_FRAC * value:
            raise DeploymentRefused(
                f"camera={path} says {name}={known:.1f} px and the camera {value:.1f} px: it is of another "
                "camera, or of another resolution"
            )


def _measured_s(camera: CameraRecord, path: Path) -> float:
    """When the older of lens and mount was measured, seconds since 1970; that of the file where it does not say."""
    fits = [fit for fit in (camera.lens_fit, camera.mount_fit) if fit is not None]
    try:
        times = [datetime.fromisoformat(fit.measured_at).timestamp() for fit in fits]
    except ValueError as error:
        raise DeploymentRefused(f"{path}: measured_at must be a date and time in ISO 8601 ({error})") from error
    return min(times, default=path.stat().st_mtime)


def check_drift(path: Path | None, seen: Observation) -> str | None:
    """Looks for the board of the calibration and says whether the camera is where it was; None without a file.

    Raises:
        DeploymentRefused: it has moved.
        CameraFileError: the file cannot be read.
    """
    if path is None:
        return None
    drift = look_for_drift(load_camera(path), seen)
    if drift is None:
        return "camera drift not checked: the board of the calibration is not in view, or the file does not name one"
    if drift.drifted:
        raise DeploymentRefused(f"camera={path}: {drift.verdict}")
    return f"camera drift: {drift.verdict}"


def check_conventions(guard: Guard, seen: Observation) -> float:
    """Moves the tool 1 cm up and back; returns how far it was off, in metres. It is the first motion that there is.

    Raises:
        DeploymentRefused: it went elsewhere; the arm is held.
        SafetyStop: a limit acted.
    """
    width_m = seen.gripper_width_m
    parts = 4
    step = np.array([0.0, 0.0, _STEP_M / parts])
    if seen.T_base_tcp[2, 3] + _STEP_M > guard.limits.workspace_high_m[2]:
        step = -step
    worst_m = 0.0
    for direction in (1.0, -1.0):
        before = seen.T_base_tcp[:3, 3].copy()
        sent = np.zeros(3)
        for index in range(parts + _SETTLE_PERIODS):
            delta = direction * step if index < parts else np.zeros(3)
            sent += guard.send_action(Action(delta, np.zeros(3), width_m)).delta_m
            guard.times.sleep(1.0 / guard.control_hz)
            seen = guard.get_observation()
        moved = seen.T_base_tcp[:3, 3] - before
        worst_m = max(worst_m, float(np.linalg.norm(moved - sent)))
        if worst_m > _OFF_M:
            guard.stop()
            raise DeploymentRefused(
                f"the tool was sent {np.round(1e3 * sent, 1).tolist()} mm and went {np.round(1e3 * moved, 1).tolist()} "
                f"mm, allowed is a difference of {1e3 * _OFF_M:g} mm: are base frame, tool frame and units those of "
                "docs/conventions.md?"
            )
    guard.stop()
    return worst_m


def check_replay(policy: Policy, log: ReplayController, tolerance_m: float) -> float:
    """Runs the policy over a held-out log; returns the median distance to the recorded motion per period, metres.

    Raises:
        DeploymentRefused: it is more than the tolerance.
    """
    policy.reset()
    seen = log.reset()
    while not log.is_over:
        policy.sent(log.send_action(policy.act(seen)))
        seen = log.get_observation()
    if not log.differences:
        raise DeploymentRefused(
            "the held-out episode holds no recorded actions to compare with: record one with deploy"
        )
    median_m = _median_m(log.differences)
    if median_m > tolerance_m:
        raise DeploymentRefused(
            f"on the held-out episode the policy is {1e3 * median_m:.1f} mm per period from what was recorded in the "
            f"median, allowed is replay_tolerance_m={tolerance_m:g}: is it the right bundle, camera and log?"
        )
    return median_m


def _median_m(differences: Sequence[Difference]) -> float:
    return float(np.median([difference.translation_m for difference in differences]))


def setpoint_text(action: Action, T_base_tcp: Any) -> str:
    """One action in words, for a dry run."""
    goal = frames.moved(T_base_tcp, action.delta_m, action.delta_rotation_rad)[:3, 3]
    x, y, z = 1e3 * np.asarray(action.delta_m)
    turn_deg = float(np.degrees(np.linalg.norm(action.delta_rotation_rad)))
    return (
        f"move {x:+6.1f} {y:+6.1f} {z:+6.1f} mm, turn {turn_deg:4.1f} deg, "
        f"jaws {1e3 * action.gripper_width_m:4.0f} mm; from there to {np.round(goal, 3).tolist()} m"
    )
