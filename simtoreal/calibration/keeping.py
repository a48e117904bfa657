"""A measured camera as a record, and the rule that a better one is never lost to a worse one."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.hand_eye import HandEyeResult
from simtoreal.calibration.intrinsics import LensResult
from simtoreal.camera_record import (
    BoardSpec,
    CameraRecord,
    FloatArray,
    LensFit,
    MountFit,
    MountPose,
    Rows,
    lens_parameters,
    load_camera,
    save_camera,
)

_MUCH_WORSE = 1.5


def with_lens(result: LensResult, placement: str, board: BoardSpec) -> CameraRecord:
    """A camera whose lens is known, and whose mount is not yet."""
    fit = LensFit(
        covariance=_rows(result.covariance),
        num_views=len(result.views),
        num_rejected=len(result.rejected),
        error_px=result.error_px,
        measured_at=_now(),
        coverage_frac=result.coverage.frac,
        measured=tuple(lens_parameters(result.model).tolist()),
    )
    return CameraRecord(placement, "rgb", result.model, lens_fit=fit, board=board)


def with_mount(camera: CameraRecord, result: HandEyeResult, board: BoardSpec) -> CameraRecord:
    """A camera with its measured mount, and the lens that was fitted with it: each is right with the other only."""
    best = min(result.solvers, key=lambda row: row.error_px)
    noise = result.fit.noise
    fit = MountFit(
        covariance=_rows(result.covariance),
        num_views=len(result.views),
        num_rejected=len(result.rejected),
        error_px=result.error_px,
        measured_at=_now(),
        held_out_px=result.held_out_px,
        corner_noise_px=noise.corner_px,
        tool_noise_m=noise.tool_m,
        tool_noise_rad=noise.tool_rad,
        solver=best.name,
        board_pose=MountPose.of(result.rig.T_far_board),
    )
    return CameraRecord(
        result.rig.placement, camera.modality, result.rig.model, MountPose.of(result.rig.T_mount_cam), camera.lens_fit,
        fit, board,
    )  # fmt: skip


def keep(record: CameraRecord, path: Path, force: bool) -> Path | None:
    """Writes a camera file; one that was there is kept beside it and its new place returned.

    Raises:
        CalibrationError: the one that is there is better, or of another camera, and `force` is off.
        OSError: the folder cannot be written.
    """
    previous = None
    if path.exists():
        old = None if force else load_camera(path)
        reason = worse(record, old) if old is not None else ""
        if reason:
            raise CalibrationError(
                f"{path} is not replaced: {reason}. Give another out=, or force=true to replace it all the same"
            )
        previous = path.with_name(f"{path.stem}.previous{path.suffix}")
        previous.write_bytes(path.read_bytes())
    save_camera(record, path)
    return previous


def worse(new: CameraRecord, old: CameraRecord) -> str:
    """Why a camera file should not take the place of another; empty if it may."""
    sizes = [(record.model.width_px, record.model.height_px) for record in (new, old)]
    if sizes[0] != sizes[1]:
        return "it is of a camera with {} x {} pixels, and the new one has {} x {}".format(*sizes[1], *sizes[0])
    if old.mount_fit is not None and new.mount_fit is None:
        return "it holds a hand-eye calibration, which a new lens makes void"
    if new.mount_fit is not None and old.placement != new.placement and old.mount_fit is not None:
        return f"it is of a camera with placement={old.placement}, the new one has placement={new.placement}"
    return _less_certain(new, old)


def _less_certain(new: CameraRecord, old: CameraRecord) -> str:
    if new.mount_fit is not None and old.mount_fit is not None:
        now, before = new.mount_fit.position_std_m, old.mount_fit.position_std_m
        if now > _MUCH_WORSE * before:
            return f"its mount is known to {1e3 * before:.2f} mm and the new one to {1e3 * now:.2f} mm"
        now, before = new.mount_fit.held_out_px, old.mount_fit.held_out_px
        if now > _MUCH_WORSE * before:
            return f"its error on unseen views is {before:.2f} px and that of the new one {now:.2f} px"
    elif new.lens_fit is not None and old.lens_fit is not None:
        now, before = (float(np.sqrt(fit.matrix[0, 0])) for fit in (new.lens_fit, old.lens_fit))
        if now > _MUCH_WORSE * before:
            return f"its focal length is known to {before:.2f} px and the new one to {now:.2f} px"
    return ""


def _rows(matrix: FloatArray) -> Rows:
    return tuple(tuple(float(value) for value in row) for row in 0.5 * (matrix + matrix.T))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
