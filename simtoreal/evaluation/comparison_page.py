"""A comparison to look at: sentences, tables on the terminal, and a page."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from simtoreal.evaluation import findings
from simtoreal.evaluation.inspection_tables import terminal_table
from simtoreal.evaluation.report import Picture, ReportContent, Table, write_report

_COLOURS = {"better": "green", "worse": "red", "no evidence": "yellow"}
_Summary = Mapping[str, Any]


def render_terminal(summary: _Summary) -> RenderableType:
    """Rates, differences, and a sentence for each comparison."""
    lines = [Text(sentence(row), style=_COLOURS[row["verdict"]]) for row in summary["comparisons"]]
    return Group(terminal_table(_rates(summary)), terminal_table(_differences(summary)), *lines)


def write_page(out_dir: Path, summary: _Summary, pictures: Sequence[Picture]) -> Path:
    """Writes `report.html` and returns its path.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    rows = summary["comparisons"]
    content = ReportContent(
        title=f"Comparison: {rows[0]['verdict']}" if len(rows) == 1 else "Comparison",
        lead=" ".join(sentence(row) for row in rows),
        tables=[_rates(summary), _differences(summary), *_groups(summary)],
        grasps=pictures,
        command=shlex.join(["simtoreal", "compare", *(run["folder"] for run in summary["runs"])]),
    )
    return write_report(out_dir, content)


def sentence(row: _Summary) -> str:
    """What may be concluded from one comparison."""
    points = f"{row['pc_difference']:+.1f} points {_interval(row['pc_difference_ci95_corrected'])}"
    how = f"on the same {row['n_paired']} scenes with {row['n_objects']} objects"
    if not row["paired"]:
        how = f"on independent scenes, because {row['why_independent']}"
    if row["verdict"] != "no evidence":
        return f"{row['b']} is {row['verdict']} than {row['a']}: {points}, {how}."
    text = f"No evidence that {row['b']} differs from {row['a']}: {points}, {how}."
    if row["n_to_tell_apart"] is not None:
        text += f" Independent runs of these rates need about {row['n_to_tell_apart']:,} scenes each to be told apart."
    return text


def _rates(summary: _Summary) -> Table:
    rows = [
        (run["name"], findings.percent(run["pc_success"]), findings.interval(run["pc_success_ci95"]),
         f"{run['n_success']}/{run['n_episodes']}")
        for run in summary["runs"]
    ]  # fmt: skip
    return Table("Success", ("run", "success", "95 % interval", "episodes"), rows, "Intervals: Wilson.")


def _differences(summary: _Summary) -> Table:
    rows = [
        (f"{row['b']} against {row['a']}", f"{row['pc_difference']:+.1f}", _interval(row["pc_difference_ci95"]),
         _interval(row["pc_difference_ci95_corrected"]), _p(row["p_corrected"]), _p(row["p_mcnemar"]),
         f"{row['only_b']} : {row['only_a']}" if row["paired"] else "independent", row["verdict"])
        for row in summary["comparisons"]
    ]  # fmt: skip
    looks = summary["n_comparisons"]
    note = "Paired: Newcombe's interval, widened by a bootstrap over objects; p by sign flips over objects"
    note += ", and McNemar's exact one, which takes scenes for independent. Independent runs: Newcombe and Boschloo."
    if looks > 1:
        note += f" Corrected for {looks} comparisons: intervals by Bonferroni, p by Holm."
    columns = ("success", "points", "95 % interval", "corrected", "p", "p, McNemar", "only b : only a", "verdict")
    return Table("Differences", columns, rows, note)


def _groups(summary: _Summary) -> Iterator[Table]:
    for row in summary["comparisons"]:
        if row["per_group"]:
            rows = [
                (part["group"], f"{part['pc_difference']:+.1f}", _interval(part["pc_difference_ci95"]),
                 _p(part["p_corrected"]), str(part["n_paired"]))
                for part in row["per_group"]
            ]  # fmt: skip
            columns = ("shape group", "points", "95 % interval", "p, corrected", "scenes")
            yield Table(
                f"{row['b']} against {row['a']}, by shape", columns, rows, "p corrected by Holm for all groups."
            )


def _interval(bounds: Sequence[float]) -> str:
    return f"[{bounds[0]:+.1f}, {bounds[1]:+.1f}]"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"
