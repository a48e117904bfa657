"""What a calibration shows: tables in the terminal, and a page with coverage, error map and residuals."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from rich.console import Console

from simtoreal import frames
from simtoreal.calibration.coverage import GOOD_COVERAGE_FRAC, coverage_picture
from simtoreal.calibration.detection import Image
from simtoreal.calibration.gathering import Gathered
from simtoreal.calibration.hand_eye import HandEyeResult
from simtoreal.calibration.intrinsics import LensResult, error_picture
from simtoreal.calibration.reprojection import residual
from simtoreal.calibration.settings import CalibrateConfig
from simtoreal.camera_record import lens_parameters
from simtoreal.evaluation.charts import Curve, CurvePlot
from simtoreal.evaluation.inspection_tables import terminal_table
from simtoreal.evaluation.output_files import write_text_atomic
from simtoreal.evaluation.report import Picture, Table, charts, render_page

PAGE = "calibration.html"
_MAX_SIDE_PX = 960
_ENLARGED = 30.0  # residuals as arrows


class _Page(NamedTuple):
    """What goes on the page."""

    title: str
    findings: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    plots: Sequence[CurvePlot]


def show_lens(config: CalibrateConfig, gathered: Gathered, result: LensResult, console: Console) -> None:
    """Prints the lens and writes the page."""
    model, std = result.model, result.std
    values = dict(zip(std, lens_parameters(model), strict=True))
    lens = Table(
        "Lens",
        ("parameter", "value", "standard deviation"),
        [(name, f"{values[name]:.5g}", f"{std[name]:.2g}") for name in std],
        f"{len(result.views)} views, {result.error_px:.3f} px error, {100 * result.coverage.frac:.0f} % of the image",
    )
    findings = [*_left_out(gathered, result.rejected), *(f"to do better: {text}" for text in result.coverage.missing)]
    if result.coverage.frac < GOOD_COVERAGE_FRAC:
        findings.append("the lens is known where corners were seen, and guessed elsewhere")
    names = [view.name for view in result.views]
    pictures = [
        Picture(_shrunk(coverage_picture(result.coverage, result.views, model)), "coverage: red has too few corners"),
        Picture(_shrunk(error_picture(result)), "error map, arrows 50 times as long; grey has no corner"),
    ]
    plot = _view_plot(result.view_errors_px)
    _show(config, _Page("Lens", findings, [lens, _view_table(names, result.view_errors_px)], pictures, [plot]), console)


def show_mount(config: CalibrateConfig, gathered: Gathered, result: HandEyeResult, console: Console) -> None:
    """Prints the mount and writes the page."""
    x, y, z = 1e3 * result.rig.T_mount_cam[:3, 3]
    qx, qy, qz, qw = frames.rotation_to_quat(result.rig.T_mount_cam[:3, :3])
    sd = np.sqrt(np.diag(result.covariance)) * np.repeat([1e3, np.degrees(1.0)], 3)
    noise, frame = result.fit.noise, "tool" if result.rig.placement == "wrist" else "base"
    mount = Table(
        "Mount",
        ("what", "value"),
        [
            (f"position in the {frame} frame", f"{x:.2f} {y:.2f} {z:.2f} mm"),
            ("rotation, quaternion x y z w", f"{qx:.5f} {qy:.5f} {qz:.5f} {qw:.5f}"),
            ("standard deviation along the camera's axes", f"{sd[0]:.2f} {sd[1]:.2f} {sd[2]:.2f} mm"),
            ("about the camera's axes", f"{sd[3]:.3f} {sd[4]:.3f} {sd[5]:.3f} degrees"),
            ("focal lengths, fitted along", f"{result.rig.model.fx:.1f} {result.rig.model.fy:.1f} px"),
            ("views, left out", f"{len(result.views)}, {len(result.rejected)}"),
            ("error on the views, on unseen views", f"{result.error_px:.2f} px, {result.held_out_px:.2f} px"),
            ("noise of a corner", f"{noise.corner_px:.2f} px"),
            ("noise of the reported tool", f"{1e3 * noise.tool_m:.2f} mm, {np.degrees(noise.tool_rad):.3f} degrees"),
        ],
    )
    solvers = Table(
        "Closed forms beside the fit",
        ("solver", "median error", "from the fit"),
        [
            (
                row.name,
                f"{row.error_px:.2f} px",
                f"{1e3 * row.offset_m:.2f} mm, {np.degrees(row.offset_rad):.3f} degrees",
            )
            for row in result.solvers
        ],
    )
    names = [view.name for view in result.views]
    pictures = [Picture(_shrunk(_residual_picture(result)), "residuals of all views, arrows 30 times as long")]
    page = _Page(
        "Mount", _left_out(gathered, result.rejected), [mount, solvers, _view_table(names, result.view_errors_px)],
        pictures, [_view_plot(result.view_errors_px)],
    )  # fmt: skip
    _show(config, page, console)


def _show(config: CalibrateConfig, page: _Page, console: Console) -> None:
    for table in page.tables[:-1]:
        console.print(terminal_table(table))
    for text in page.findings:
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    text = render_page(
        "calibration.html.j2",
        title=f"{page.title} of the camera",
        findings=page.findings,
        tables=page.tables,
        pictures=page.pictures,
        charts=charts(page.plots),
        command=f"simtoreal calibrate {config.mode} source={config.source} out={config.out}",
    )
    write_text_atomic(config.out / PAGE, text)
    console.print(f"page: {config.out / PAGE}", highlight=False, markup=False, soft_wrap=True)


def _left_out(gathered: Gathered, rejected: Sequence[str]) -> list[str]:
    found = []
    if rejected:
        found.append(f"left out because they contradict the others: {', '.join(rejected)}")
    if gathered.unseen:
        found.append(f"{len(gathered.unseen)} pictures do not show the board: {', '.join(gathered.unseen[:5])}")
    return found


def _view_table(names: Sequence[str], errors_px: Sequence[float]) -> Table:
    rows = [(str(i), name, f"{error:.3f} px") for i, (name, error) in enumerate(zip(names, errors_px, strict=True))]
    return Table("Views", ("number", "picture", "error"), rows)


def _view_plot(errors_px: Sequence[float]) -> CurvePlot:
    return CurvePlot(
        "Error of each view", "view", "error (px)", [Curve("error", list(range(len(errors_px))), errors_px)]
    )


def _residual_picture(result: HandEyeResult) -> Image:
    model = result.rig.model
    canvas = np.full((model.height_px, model.width_px, 3), 34, dtype=np.uint8)
    for view in result.views:
        left = residual(view, result.rig).r.reshape(-1, 2)
        for start, end in zip(view.corners_px, view.corners_px + _ENLARGED * left, strict=True):
            a, b = (int(round(start[0])), int(round(start[1]))), (int(round(end[0])), int(round(end[1])))
            cv2.line(canvas, a, b, (255, 214, 10), 1, cv2.LINE_AA)
            cv2.circle(canvas, a, 1, (250, 248, 240), -1, cv2.LINE_AA)
    return canvas


def _shrunk(rgb: Image) -> Image:
    factor = _MAX_SIDE_PX / max(rgb.shape[:2])
    if factor >= 1.0:
        return rgb
    return np.asarray(cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8)
