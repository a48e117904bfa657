"""The report: one HTML file with everything in it, to look at, to print, and to send to somebody.

The same page serves `quickstart`, `evaluate` and `inspect`: every section is left out where there is nothing to show.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import cv2
import jinja2
import yaml
from rich.table import Table as RichTable
from rich.text import Text

from simtoreal.evaluation import findings, pictures
from simtoreal.evaluation.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, CurvePlot, LineChart, line_chart
from simtoreal.evaluation.output_files import make_folder, write_text_atomic
from simtoreal.evaluation.pictures import Image
from simtoreal.evaluation.records import MEDIUM_M, SMALL_M, THIN_M, to_plain
from simtoreal.evaluation.results import EvaluationResult, Summary

REPORT_NAME = "report.html"
MAX_SIDE_PX = 480  # larger pictures are shrunk, so that the page stays light enough to mail
MAX_STRIP_FRAMES = 8


class Picture(NamedTuple):
    """One picture with its caption; `success` adds how the episode ended."""

    rgb: Image
    caption: str
    success: bool | None = None


class FailureStrip(NamedTuple):
    """What the camera saw in an episode that failed."""

    frames: Sequence[Image]
    object_name: str
    failure: str
    what_happened: str = ""  # beyond the meaning of the failure kind, such as "held for 0.4 s"


class Video(NamedTuple):
    """An mp4 beside the report."""

    path: Path
    caption: str


class Table(NamedTuple):
    """A plain table, such as the contents of a bundle."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class ReportContent:
    """What a report shows; everything but the title may be left out.

    `eval_info` is what `EvaluationResult.to_eval_info` returns, or what `load_eval_info` read.
    """

    title: str
    lead: str = ""  # one or two sentences below the title: what was run
    eval_info: Mapping[str, Any] | None = None
    grasps: Sequence[Picture] = ()
    failures: Sequence[FailureStrip] = ()
    perception_plots: Sequence[CurvePlot] = ()
    training_plots: Sequence[CurvePlot] = ()
    videos: Sequence[Video] = ()
    tables: Sequence[Table] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # provenance and sizes, as name and value
    command: str = ""


def write_report(out_dir: Path, report: ReportContent) -> Path:
    """Writes `report.html`, self-contained but for the videos beside it, and returns its path.

    Raises:
        RunFolderError: the folder cannot be written.
        ValueError: a picture is not a uint8 RGB image, or a curve's columns differ in length.
    """
    path = make_folder(out_dir) / REPORT_NAME
    write_text_atomic(path, render_html(out_dir, report))
    return path


def render_page(template: str, **content: Any) -> str:
    """A page from one of the templates here, which share style, charts and the embedding of pictures."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("simtoreal.evaluation", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": findings.percent, "interval": findings.interval, "picture": _embed}
    environment.globals |= {"box": {"w": WIDTH, "h": HEIGHT, "l": LEFT, "r": RIGHT, "t": TOP, "b": BOTTOM}}
    return environment.get_template(template).render(**content)


def render_html(out_dir: Path, report: ReportContent) -> str:
    """The page as text; links to videos are relative to `out_dir`."""
    return render_page(
        "report.html.j2",
        report=report,
        info=None if report.eval_info is None else _view(dict(report.eval_info)),
        perception=charts(report.perception_plots),
        training=charts(report.training_plots),
        strips=[strip._replace(frames=_spread(strip.frames)) for strip in report.failures],
        videos=[(quote(_relative(video.path, out_dir)), video.caption) for video in report.videos],
        meaning=findings.FAILURE_MEANING,
        sizes_cm={"thin": 100 * THIN_M, "small": 100 * SMALL_M, "medium": 100 * MEDIUM_M},
    )


def render_terminal(result: EvaluationResult) -> RichTable:
    """The figures of an evaluation as a table for the terminal: arms, then groups, then sizes."""
    info = result.to_eval_info()
    table = RichTable(title="Success", caption="intervals: Wilson, 95 %", title_justify="left", caption_justify="left")
    table.add_column("")
    for heading in ("success", "95 % interval", "episodes"):
        table.add_column(heading, justify="right")
    for name, summary in _arms(info):
        _add_row(table, findings.ARM_NAMES.get(name, name), summary, bold=name == result.main_arm)
    if info["oracle"] and info["oracle"].get("pc_of_oracle") is not None:
        against = info["oracle"]
        cells = findings.percent(against["pc_of_oracle"]), findings.interval(against["pc_of_oracle_ci95"])
        table.add_row("policy, of the oracle", *cells, str(against["n_paired"]))
    for section in ("per_group", "per_size"):
        if len(info[section]) > 1:
            table.add_section()
            for name, summary in info[section].items():
                _add_row(table, name, summary)
    return table


def _add_row(table: RichTable, name: str, summary: Summary, bold: bool = False) -> None:
    cells = (
        name,
        findings.percent(summary["pc_success"]),
        findings.interval(summary["pc_success_ci95"]),
        f"{summary['n_success']}/{summary['n_episodes']}",
    )
    # Text, not markup: an object set may be called [anything].
    table.add_row(*(Text(cell) for cell in cells), style="bold" if bold else None)


def _view(info: dict[str, Any]) -> dict[str, Any]:
    """Adds to the content of `eval_info.json` what the template would otherwise compute."""
    oracle_objects = (info["oracle"] or {}).get("per_object", {})
    objects = [(name, summary, oracle_objects.get(name)) for name, summary in info["per_object"].items()]
    worst_first = sorted(objects, key=lambda row: (row[1]["pc_success"], -row[1]["n_episodes"], row[0]))
    config = yaml.safe_dump(to_plain(info["config"]), sort_keys=False) if info["config"] else ""
    return info | {
        "arms": [(findings.ARM_NAMES.get(name, name), name, summary) for name, summary in _arms(info)],
        "objects": worst_first,
        "findings": findings.findings(info),
        "num_failed": sum(info["failures"].values()),
        "config_text": config,
    }


def _arms(info: Mapping[str, Any]) -> list[tuple[str, Summary]]:
    """Overall figures of every arm that ran: the policy, its comparisons, then the ceiling and the floor."""
    others = {**(info.get("other_arms") or {}), "oracle": info["oracle"], "random": info.get("random")}
    return [("policy", info["overall"])] + [(name, other["overall"]) for name, other in others.items() if other]


def charts(plots: Sequence[CurvePlot]) -> list[LineChart]:
    """Plots laid out for `macros.html.j2`; without those that have nothing to show."""
    laid_out = (line_chart(plot) for plot in plots)
    return [chart for chart in laid_out if chart is not None]


def _spread(frames: Sequence[Image]) -> list[Image]:
    """At most `MAX_STRIP_FRAMES` frames, evenly spaced, with the first and the last."""
    num = min(len(frames), MAX_STRIP_FRAMES)
    return [frames[round(i * (len(frames) - 1) / max(1, num - 1))] for i in range(num)]


def _embed(rgb: Image) -> str:
    """A picture as the content of an `src` attribute, no larger than `MAX_SIDE_PX`."""
    scale = MAX_SIDE_PX / max(rgb.shape[:2])
    if scale < 1:
        size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(rgb.dtype)
    return pictures.data_uri(rgb)


def _relative(path: Path, out_dir: Path) -> str:
    """Path of a video as seen from the report: relative paths already are."""
    return Path(os.path.relpath(path, out_dir)).as_posix() if path.is_absolute() else path.as_posix()
