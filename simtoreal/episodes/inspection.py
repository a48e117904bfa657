"""`simtoreal inspect episodes=DIR`: a page about a dataset: labels, paths, timing, and what is wrong with it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from simtoreal.config import InspectConfig, Viewer
from simtoreal.episodes.dataset_survey import Survey, summary_rows, survey, without_grasp
from simtoreal.episodes.findings import SEVERITIES, Finding, worst_first
from simtoreal.episodes.label_pictures import Sheet, path_plots, sheets
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.timeline import StreamTiming
from simtoreal.evaluation.charts import LineChart
from simtoreal.evaluation.inspection_tables import terminal_table
from simtoreal.evaluation.output_files import make_folder, write_text_atomic
from simtoreal.evaluation.report import Table, charts, render_page
from simtoreal.progress import Progress

PAGE, FIGURES, RECORDING = "report.html", "inspection.json", "episodes.rrd"
PICTURES_OF_A_KIND = 6  # further findings of the kind are listed without
MAX_ROWS = 500  # of the table of episodes; the figures of all are in `inspection.json`


class ShownEpisode(NamedTuple):
    """One episode on the page."""

    title: str
    success: bool | None
    about: str
    sheets: Sequence[Sheet]
    charts: Sequence[LineChart]
    timing: Table
    lags: Sequence[str]


class FindingGroup(NamedTuple):
    """All findings of one kind; the first ones bring their pictures."""

    kind: str
    severity: str
    findings: Sequence[Finding]
    pictured: Sequence[Finding]


def inspect_episodes(config: InspectConfig, folder: Path) -> int:
    """Prints a summary, writes `report.html` and `inspection.json`; returns 1 where episodes could not be read.

    Raises:
        DatasetError: the folder is not a dataset.
        ModuleNotFoundError: the viewer is not installed; says what to install.
        OSError: the run folder cannot be written.
    """
    if config.viewer is Viewer.RERUN:
        from simtoreal.episodes import rerun_recording

        rerun_recording.need_rerun()
    console, progress = Console(), Progress()
    out = make_folder(config.out)
    with DatasetReader(folder, skip_broken=True) as reader:
        surveys = _without_pictures(survey(reader, progress), reader, config.episodes_shown)
        found = worst_first([f for s in surveys if s.quality is not None for f in s.quality.findings])
        tables = [Table("What it is", ("", ""), summary_rows(reader, surveys)), finding_table(found)]
        for table in tables:
            console.print(terminal_table(table))
        broken = [str(error) for error in [*reader.broken, *(s.error for s in surveys if s.error is not None)]]
        for text in broken:
            console.print(f"cannot be read: {text}", highlight=False, markup=False, soft_wrap=True)
        shown = [s for s in surveys if s.position in shown_positions(len(reader), config.episodes_shown) and s.labels]
        page = render_page(
            "dataset.html.j2",
            title=f"Episodes in {folder}",
            tables=tables[:1],
            groups=_groups(found),
            broken=broken,
            shown=[_shown(reader, item) for item in shown],
            episodes=_episode_table(surveys),
            command=f"simtoreal inspect episodes={folder} episodes_shown={config.episodes_shown}",
        )
        write_text_atomic(out / PAGE, page)
        _write_figures(out / FIGURES, reader, surveys, found)
        if config.viewer is Viewer.RERUN:
            labelled = [(reader[item.position], item.labels) for item in shown if item.labels is not None]
            rerun_recording.write_recording(out / RECORDING, labelled, progress)
            console.print(f"viewer: rerun {out / RECORDING}", highlight=False, soft_wrap=True)
    console.print(f"report: {out / PAGE}", highlight=False, soft_wrap=True)
    return 1 if broken else 0


def shown_positions(num: int, shown: int) -> set[int]:
    """Positions spread over a dataset.

    >>> sorted(shown_positions(100, 3))
    [0, 50, 99]
    """
    return {round(position) for position in np.linspace(0, num - 1, min(num, shown))} if num and shown else set()


def finding_table(findings: Sequence[Finding]) -> Table:
    """How often each kind of finding was made."""
    rows = []
    for group in _groups(findings):
        episodes = sorted({item.episode for item in group.findings})
        listed = ", ".join(str(index) for index in episodes[:8]) + (" ..." if len(episodes) > 8 else "")
        rows.append((group.severity, group.kind.replace("_", " "), str(len(episodes)), listed))
    note = "" if rows else "Nothing was found to be wrong."
    return Table("Findings", ("severity", "what", "episodes", "which"), rows, note)


def _groups(findings: Sequence[Finding]) -> list[FindingGroup]:
    kinds = dict.fromkeys((item.severity, item.kind) for item in findings)
    groups = []
    for severity, kind in sorted(kinds, key=lambda pair: SEVERITIES.index(pair[0])):
        members = [item for item in findings if (item.severity, item.kind) == (severity, kind)]
        pictured = [item for item in members if item.picture is not None][:PICTURES_OF_A_KIND]
        groups.append(FindingGroup(kind, severity.value, members, pictured))
    return groups


def _without_pictures(surveys: Iterable[Survey], reader: DatasetReader, shown: int) -> list[Survey]:
    """All surveys; of pictures and labels what the page shows, so that memory does not grow with the dataset."""
    positions = shown_positions(len(reader), shown)
    kept, pictures = [], Counter[str]()
    for item in surveys:
        if item.quality is None:
            kept.append(item)
            continue
        findings = []
        for finding in item.quality.findings:
            pictures[finding.kind] += finding.picture is not None
            keeps = pictures[finding.kind] <= PICTURES_OF_A_KIND
            findings.append(finding if keeps else finding._replace(picture=None))
        slim = item._replace(quality=item.quality._replace(findings=findings))
        kept.append(slim if item.position in positions else slim.slim())
    return kept


# --- parts of the page


def _shown(reader: DatasetReader, item: Survey) -> ShownEpisode:
    episode, labels = reader[item.position], item.labels
    assert labels is not None
    assert item.quality is not None
    reasons = "; ".join(f"{why} ({count})" for why, count in without_grasp(labels).items())
    about = f"{len(episode)} frames, {labels.num_positive} with a grasp, {labels.num_negative} with a failed one."
    timing = item.quality.timing
    streams = [_stream_row(stream) for stream in timing.streams]
    columns = ("stream", "samples", "rate (Hz)", "jitter (ms)", "longest gap (ms)", "gaps")
    lags = [f"{pair}: {lag.text}" for pair, lag in timing.lags.items()] + list(timing.remarks)
    info = episode.info
    return ShownEpisode(
        f"Episode {item.entry.index}: {info.object_name or info.task}",
        episode.end.success,
        f"{about} Frames without a grasp: {reasons}." if reasons else about,
        sheets(episode, labels),
        charts(path_plots(episode, labels.attempts)) if len(episode) > 1 else (),
        Table("Timing", columns, streams),
        lags,
    )


def _stream_row(stream: StreamTiming) -> tuple[str, ...]:
    jitter, longest = f"{1e3 * stream.jitter_s:.1f}", f"{1e3 * stream.longest_gap_s:.0f}"
    return stream.name, str(stream.num), f"{stream.rate_hz:.2f}", jitter, longest, str(stream.num_gaps)


def _episode_table(surveys: Sequence[Survey]) -> Table:
    rows = []
    for item in surveys[:MAX_ROWS]:
        plain = item.to_plain()
        outcome = {True: "yes", False: f"no {plain['failure']}".strip(), None: ""}[plain["success"]]
        first = (str(plain["episode"]), plain["object_name"], plain["domain"], outcome, str(plain["frames"]))
        if item.error is not None:
            rows.append((*first, "cannot be read", "", "", ""))
            continue
        closings = ", ".join(attempt["outcome"] for attempt in plain["attempts"])
        counts = [str(plain[key]) for key in ("frames_with_grasp", "frames_with_failed_grasp")]
        num = len(item.quality.findings) if item.quality is not None else 0
        rows.append((*first, closings, *counts, str(num)))
    columns = ("episode", "object", "domain", "success", "frames", "closings", "with grasp", "with failed", "findings")
    note = f"The first {MAX_ROWS}; all are in {FIGURES}." if len(surveys) > MAX_ROWS else ""
    return Table("Every episode", columns, rows, note)


def _write_figures(path: Path, reader: DatasetReader, surveys: Sequence[Survey], found: Sequence[Finding]) -> None:
    content = {
        "dataset": str(reader.layout.root),
        "summary": dict(summary_rows(reader, surveys)),
        "broken": [str(error) for error in reader.broken],
        "findings": [item.to_plain() for item in found],
        "episodes": [item.to_plain() for item in surveys],
    }
    write_text_atomic(path, json.dumps(content, indent=1) + "\n")
