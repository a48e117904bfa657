"""`simtoreal calibrate board|intrinsics|hand-eye|check`: pictures in, `camera.yaml` and a page out."""

import numpy as np
from rich.console import Console

from simtoreal.calibration import presentation
from simtoreal.calibration.board import page_png, page_svg
from simtoreal.calibration.diagnosis import is_suspicious, mix_up, wrong_board_size
from simtoreal.calibration.drift import DriftTolerance, check_drift
from simtoreal.calibration.errors import CalibrationError
from simtoreal.calibration.gathering import Gathered, check_size, gather
from simtoreal.calibration.hand_eye import HandEyeResult, fit_hand_eye
from simtoreal.calibration.intrinsics import fit_lens
from simtoreal.calibration.keeping import keep, with_lens, with_mount
from simtoreal.calibration.settings import CalibrateConfig, CalibrateMode
from simtoreal.camera_record import CAMERA_FILE, CameraRecord, load_camera
from simtoreal.evaluation.output_files import explain_write_errors, write_text_atomic
from simtoreal.progress import Progress

BOARD_NAME = "board"


def calibrate(config: CalibrateConfig) -> int:
    """Carries out one mode; returns 1 where a check finds that the camera is not where its file says.

    Raises:
        CalibrationError: the pictures make no calibration; nothing is written then.
        OSError: the run folder cannot be written.
    """
    modes = {
        CalibrateMode.BOARD: _board,
        CalibrateMode.INTRINSICS: _intrinsics,
        CalibrateMode.HAND_EYE: _hand_eye,
        CalibrateMode.CHECK: _check,
    }
    return modes[config.mode](config, Console())


def _board(config: CalibrateConfig, console: Console) -> int:
    svg, png = (config.out / f"{BOARD_NAME}{suffix}" for suffix in (".svg", ".png"))
    write_text_atomic(svg, page_svg(config.board, config.margin_m))
    with explain_write_errors(png):
        png.write_bytes(page_png(config.board, config.margin_m, config.dpi))
    size = f"{1e3 * config.board.square_m:g} mm"
    _say(console, f"board: {svg} and {png}. Print at 100 %, and measure: a square must have {size}")
    return 0


def _intrinsics(config: CalibrateConfig, console: Console) -> int:
    gathered = gather(config, Progress())
    result = fit_lens(gathered.views, *gathered.size_px)
    record = with_lens(result, config.placed, config.board)
    _keep(config, record, console)
    presentation.show_lens(config, gathered, result, console)
    return 0


def _hand_eye(config: CalibrateConfig, console: Console) -> int:
    camera = load_camera(config.camera_file)
    gathered = gather(config, Progress())
    check_size(gathered, camera, config.camera_file)
    result = _fitted(config, gathered, camera)
    record = with_mount(camera, result, config.board)
    _keep(config, record, console)
    presentation.show_mount(config, gathered, result, console)
    return 0


def _fitted(config: CalibrateConfig, gathered: Gathered, camera: CameraRecord) -> HandEyeResult:
    """The fit, or an error that says which mix-up explains why there is none."""
    views, placement = gathered.posed(), config.placed
    try:
        result = fit_hand_eye(views, camera, placement, np.random.default_rng(config.seed))
    except CalibrationError as error:
        explained = mix_up(views, camera.model, placement) if len(views) > 3 else ""
        raise CalibrationError(explained or str(error)) from None
    if is_suspicious(result):
        noise = result.fit.noise
        raise CalibrationError(
            mix_up(views, camera.model, placement)
            or f"the views fit one another to {1e3 * noise.tool_m:.1f} mm and {np.degrees(noise.tool_rad):.1f} degrees "
            "only: check that every picture belongs to its pose, and that arm and board stand still in every picture"
        )
    resized = wrong_board_size(views, camera.model, placement)
    if resized:
        raise CalibrationError(resized)
    return result


def _check(config: CalibrateConfig, console: Console) -> int:
    camera = load_camera(config.camera_file)
    board = camera.board or config.board
    gathered = gather(config, Progress(), board)
    check_size(gathered, camera, config.camera_file)
    drift = check_drift(
        camera,
        gathered.posed(),
        board_where_it_was=config.board_fixed,
        tolerance=DriftTolerance(config.tolerance_m, config.tolerance_rad),
    )
    _say(console, drift.verdict)
    return 0 if drift.within else 1


def _keep(config: CalibrateConfig, record: CameraRecord, console: Console) -> None:
    path = config.out / CAMERA_FILE
    previous = keep(record, path, config.force)
    _say(console, f"camera: {path}" + (f" (the one before: {previous})" if previous is not None else ""))


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
