"""The timing of an episode: how regular its streams are, how late pictures and tool are, and what of it is wrong."""

from dataclasses import dataclass

import numpy as np

from simtoreal.episodes.arm_tracks import FloatArray, StoredEpisode
from simtoreal.episodes.findings import Finding, Severity, span_text
from simtoreal.episodes.grasp_rectangles import LABEL as RECTANGLES
from simtoreal.episodes.lag import PathSpeed, measure_lag
from simtoreal.episodes.timeline import StreamTiming, TimingReport, measure_stream

ROWS, STATE = "rows", "state"


@dataclass(frozen=True)
class TimingLimits:
    """How much irregularity is worth a word."""

    max_gap_periods: float = 3.0  # time missing between two rows
    max_jitter_frac: float = 0.25  # of the period
    max_rate_frac: float = 0.15  # between the rate that was measured and the one that the episode states
    max_age_s: float = 0.3  # of a picture, when the action was chosen


def measure_timing(episode: StoredEpisode) -> TimingReport:
    """What the importer measured on the recording itself, or else what the rows say.

    Where rows speak, a measurement that is handed on twice counts once, so that what a stream lacks shows as a gap.
    """
    known = episode.end.labels.get("timing")
    if known:
        return TimingReport.from_plain(known)
    period_s = 1.0 / episode.info.fps
    streams, remarks = [], []
    for name, column in _columns(episode).items():
        times = np.asarray(episode.column(column), dtype=np.float64)
        times = times[np.isfinite(times)]
        fresh = times if name == ROWS else times[np.concatenate([[True], np.diff(times) != 0])] if times.size else times
        if fresh.size > 1:
            streams.append(measure_stream(name, fresh, 2.0 * period_s))
        if name != ROWS and fresh.size < times.size:
            remarks.append(
                f"{name}: {times.size - fresh.size} of {times.size} rows hold the measurement before once more"
            )
    lags = {"tool after command": measure_lag(_commanded_speed(episode), _tool_speed(episode))}
    return TimingReport(streams, {}, lags if len(episode) > 2 else {}, remarks)


def ages_s(episode: StoredEpisode) -> dict[str, FloatArray]:
    """How old each measurement was when the action of its row was chosen (N,), by stream."""
    rows = np.asarray(episode.column("control_timestamp"), dtype=np.float64)
    return {
        name: rows - np.asarray(episode.column(column), dtype=np.float64)
        for name, column in _columns(episode).items() if name != ROWS
    }  # fmt: skip


def _columns(episode: StoredEpisode) -> dict[str, str]:
    cameras = {f"camera {name}": f"capture_timestamp.{name}" for name in episode.info.cameras}
    return {ROWS: "control_timestamp", STATE: "capture_timestamp.state", **cameras}


def _tool_speed(episode: StoredEpisode) -> tuple[FloatArray, FloatArray]:
    speed = PathSpeed()
    state = np.asarray(episode.column("observation.state"), dtype=np.float64)
    for t_s, position in zip(np.asarray(episode.column("capture_timestamp.state")), state[:, :3], strict=True):
        if np.isfinite(t_s) and np.isfinite(position).all():
            speed.add(float(t_s), position)
    return speed.speed


def _commanded_speed(episode: StoredEpisode) -> tuple[FloatArray, FloatArray]:
    """Of the setpoint, which moves within a period by what the row's action says."""
    times = np.asarray(episode.column("control_timestamp"), dtype=np.float64)
    steps_m = np.linalg.norm(np.asarray(episode.column("action"), dtype=np.float64)[:, :3], axis=1)
    known = np.isfinite(times) & np.isfinite(steps_m)
    return times[known], steps_m[known] * episode.info.fps


# --- findings


def timing_findings(report: TimingReport, episode: StoredEpisode, number: int, limits: TimingLimits) -> list[Finding]:
    """What is wrong with the timing."""
    if len(episode) < 3 or RECTANGLES in episode.end.labels:
        return []
    found = [finding for stream in report.streams for finding in _stream(stream, number, limits)]
    return (
        found + _gaps(episode, number, limits) + _rate(report, episode, number, limits) + _old(episode, number, limits)
    )


def _stream(stream: StreamTiming, number: int, limits: TimingLimits) -> list[Finding]:
    found = []
    if stream.num_backward:
        advice = (
            f"{stream.name}: time goes back {stream.num_backward} times: correct the clock, or cut the episode there."
        )
        numbers = {"backward": float(stream.num_backward)}
        found.append(Finding("time_goes_back", Severity.ERROR, number, (), numbers, advice))
    jitter_frac = stream.jitter_s * stream.rate_hz
    if jitter_frac > limits.max_jitter_frac:
        advice = (
            f"{stream.name}: half of the intervals differ from 1/{stream.rate_hz:.1f} s by more than "
            f"{1e3 * stream.jitter_s:.0f} ms: rely on capture times, not on the frame rate."
        )
        found.append(Finding("jitter", Severity.WARNING, number, (), {"jitter_s": stream.jitter_s}, advice))
    return found


def _gaps(episode: StoredEpisode, number: int, limits: TimingLimits) -> list[Finding]:
    times = np.asarray(episode.column("control_timestamp"), dtype=np.float64)
    intervals, limit_s = np.diff(times), limits.max_gap_periods / episode.info.fps
    where = [int(i) + 1 for i in np.flatnonzero(intervals > limit_s)]
    if not where:
        return []
    longest_s = float(np.nanmax(intervals))
    advice = (
        f"Up to {longest_s:.2f} s are missing before frames {span_text(where)}: what happened there was not recorded; "
        "split the episode there, or leave it out."
    )
    return [
        Finding("gap", Severity.WARNING, number, where, {"longest_s": longest_s, "gaps": float(len(where))}, advice)
    ]


def _rate(report: TimingReport, episode: StoredEpisode, number: int, limits: TimingLimits) -> list[Finding]:
    rows = next((stream for stream in report.streams if stream.name == ROWS), None)
    fps = episode.info.fps
    if rows is None or not rows.rate_hz or abs(rows.rate_hz / fps - 1.0) <= limits.max_rate_frac:
        return []
    advice = f"Rows come at {rows.rate_hz:.2f} Hz, and the dataset states {fps:g} Hz: import it anew with fps."
    return [Finding("rate", Severity.WARNING, number, (), {"rate_hz": rows.rate_hz, "fps": fps}, advice)]


def _old(episode: StoredEpisode, number: int, limits: TimingLimits) -> list[Finding]:
    found = []
    for name, ages in ages_s(episode).items():
        known = ages[np.isfinite(ages)]
        if known.size and float(np.median(np.abs(known))) > limits.max_age_s:
            median_s = float(np.median(known))
            advice = (
                f"{name} was measured {1e3 * median_s:.0f} ms before its row (median): check the clocks, or give the "
                "latency when importing."
            )
            found.append(Finding("old_measurement", Severity.WARNING, number, (), {"median_age_s": median_s}, advice))
    return found
