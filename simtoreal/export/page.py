"""A proof to look at: a table on the terminal, and a page with pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simtoreal.evaluation.pictures import quality_overlay
from simtoreal.evaluation.report import Picture, ReportContent, Table, write_report
from simtoreal.export.proof import Figure, Proof
from simtoreal.policies.learned_grasps import GraspMap
from simtoreal.policies.view import View

_NUM_PICTURED = 6
_SCALES = {"m": (1e3, "mm"), "s": (1e3, "ms"), "rad": (180.0 / np.pi, "degrees")}  # as people read them


def figure_table(proof: Proof) -> Table:
    """Every figure beside what it has to reach."""
    rows = [
        (figure.name, _number(figure.measured, figure), "" if figure.limit is None else _number(figure.limit, figure),
         "" if figure.limit is None else "yes" if figure.holds else "NO", figure.about)
        for figure in proof.figures
    ]  # fmt: skip
    return Table("Proof", ("figure", "measured", "at most", "holds", ""), rows, f"Frames: {proof.compared_on}.")


def say_failed(figure: Figure) -> str:
    """One failed figure, in words."""
    limit = _number(figure.limit or 0.0, figure)
    return f"{figure.name} is {_number(figure.measured, figure)}, and may be {limit} at most"


def write_page(folder: Path, proof: Proof, pictures: Sequence[Picture], command: str) -> Path:
    """Writes `report.html` and returns its path.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    failed = "; ".join(say_failed(figure) for figure in proof.failed)
    content = ReportContent(
        title="Export: " + ("the proof failed" if proof.failed else "the proof holds"),
        lead=f"{failed}." if failed else "Every figure is within its limit.",
        grasps=pictures,
        tables=[figure_table(proof)],
        command=command,
    )
    return write_report(folder, content)


def draw_pairs(source: GraspMap, exported: GraspMap, views: Sequence[View], proof: Proof) -> Iterator[Picture]:
    """Maps of both side by side: the frames that differ most, and as many that are spread over all."""
    worst = np.argsort([-shift.map_difference for shift in proof.parity.shifts], kind="stable")[: _NUM_PICTURED // 2]
    spread = np.linspace(0, len(views) - 1, _NUM_PICTURED // 2).round().astype(int)
    for index in dict.fromkeys([*worst.tolist(), *spread.tolist()]):
        view, shift = views[index], proof.parity.shifts[index]
        yield Picture(_overlay(source, view), f"frame {index}, source")
        yield Picture(
            _overlay(exported, view),
            f"frame {index}, export: {1e3 * shift.position_m:.1f} mm, quality {shift.quality:.3f} off",
        )


def _overlay(grasp_map: GraspMap, view: View) -> NDArray[np.uint8]:
    return quality_overlay(view.rgb, grasp_map(view)[:, 0].max(axis=0))


def _number(value: float, figure: Figure) -> str:
    scale, unit = _SCALES.get(figure.unit, (1.0, figure.unit))
    return f"{scale * value:.3g} {unit}".strip()
