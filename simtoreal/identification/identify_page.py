"""What was identified, for the terminal and as a page."""

from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from simtoreal.evaluation.charts import Curve, CurvePlot
from simtoreal.evaluation.report import ReportContent, Table, write_report
from simtoreal.identification.image_lag import LAGS_S, ImageLag
from simtoreal.identification.study import Study
from simtoreal.identified import Identified, Posterior

_MEANING = {
    "observation_latency_s": "from capture until a control period can use it",
    "observation_age_s": "age of a new measurement when a period begins",
    "image_lag_s": "pictures later than their stamps",
    "action_latency_s": "from command to the beginning of the motion",
    "round_trip_s": "observation and action latency together",
    "jitter_s": "spread of the observation latency",
    "dropped_frame_frac": "periods without a new measurement",
    "response_lag_s": "tool behind its setpoint, dead time left out",
    "response_frequency_rad_s": "natural frequency of the response",
    "response_damping": "damping ratio of the response",
    "tracking_lag_s": "lag of the simulator's arm that matches",
    "standing_error_m": "tool at rest minus setpoint",
    "gripper_speed_m_s": "speed of the opening",
    "gripper_dead_time_s": "from command to the jaws' motion",
    "opening_error_m": "measured minus commanded opening, wide open",
}
_MILLI = {"s": "ms", "m": "mm"}


def render_terminal(identified: Identified) -> RenderableType:
    """Posteriors, what is unknown, and the replay error."""
    tables = [_rich(_posterior_table(identified)), _rich(_unknown_table(identified))]
    return Group(*tables, Text(_replay_text(identified)))


def write_page(out_dir: Path, study: Study, identified: Identified, command: str) -> Path:
    """Writes `report.html` and returns its path.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    content = ReportContent(
        title="Identified from logs",
        lead=f"{identified.num_episodes} episodes of {identified.robot or 'some arm'}. {_replay_text(identified)}",
        tables=[
            _posterior_table(identified), _unknown_table(identified), _range_table(identified), _episode_table(study),
        ],
        training_plots=_plots(study),
        facts={"episodes": identified.episodes, "control rate": f"{identified.control_hz:.1f} Hz"},
        command=command,
    )  # fmt: skip
    return write_report(out_dir, content)


def _posterior_table(identified: Identified) -> Table:
    rows = [(name, *_numbers(name, found), str(found.num_episodes), _MEANING.get(name, ""), found.how)
            for name, found in identified.posterior.items()]  # fmt: skip
    note = "Random effects over episodes: mean with 95 % interval, and how much one episode differs from another."
    columns = ("quantity", "mean", "95 % interval", "between episodes", "unit", "episodes", "meaning", "found by")
    return Table("What the logs say", columns, rows, note)


def _numbers(name: str, found: Posterior) -> tuple[str, str, str, str]:
    unit = name.rsplit("_", 1)[-1] if not name.endswith(("_rad_s", "_m_s")) else ""
    scale, text = (1e3, _MILLI[unit]) if unit in _MILLI else (1.0, {"_m_s": "m/s", "ad_s": "rad/s"}.get(name[-4:], "1"))
    mean, low, high, spread = (f"{scale * value:.3g}" for value in (found.mean, found.low, found.high, found.spread))
    return mean, f"{low} to {high}", spread, text


def _unknown_table(identified: Identified) -> Table:
    return Table("What they do not say", ("quantity", "why"), list(identified.unidentified.items()))


def _range_table(identified: Identified) -> Table:
    groups = {key: value for key, value in identified.randomization.items() if isinstance(value, dict)}
    rows = [(f"{group}.{key}", str(value)) for group, found in groups.items() for key, value in found.items()]
    note = f"As randomization=identified.yaml has it; the rest is that of {identified.randomization.get('base')}."
    return Table("Randomization", ("parameter", "range"), rows, note)


def _episode_table(study: Study) -> Table:
    rows = []
    fits = {log.episode: found for log, found in zip(study.logs, study.fitted.responses, strict=True)}
    for found in study.episodes:
        fit = found.log if isinstance(found.log, str) else fits[found.index]
        told = (
            (fit, "", "") if isinstance(fit, str)
            else (f"{1e3 * fit.dead_time_s:.0f}", f"{1e3 * fit.lag_s:.0f}", f"{1e3 * fit.error_m:.2f}")
        )  # fmt: skip
        age = found.image_age if not isinstance(found.image_age, str) else found.state_age
        rows.append((str(found.index), age if isinstance(age, str) else f"{1e3 * age.latency_s:.0f}", *map(str, told)))
    columns = ("episode", "observation latency (ms)", "action latency (ms)", "response lag (ms)", "model error (mm)")
    return Table("Every episode", columns, rows)


def _plots(study: Study) -> list[CurvePlot]:
    plots = []
    pairs = study.responses()
    if pairs:
        log, found = pairs[0]
        axis = int(np.argmax(np.ptp(log.position_m, axis=0)))
        t = (log.state_t_s - log.state_t_s[0]).tolist()
        told = log.setpoint_m[np.maximum(np.searchsorted(log.told_t_s, log.state_t_s, side="right") - 1, 0), axis]
        curves = [Curve("told", t, told.tolist()), Curve("measured", t, log.position_m[:, axis].tolist()),
                  Curve("model", t, found.positions(log)[:, axis].tolist())]  # fmt: skip
        title = f"Command, tool and model, episode {log.episode}"
        plots.append(CurvePlot(title, "time (s)", f"position along {'xyz'[axis]} (m)", curves, from_zero=False))
    lags = [found.image_lag for found in study.episodes if isinstance(found.image_lag, ImageLag)]
    if lags:
        errors = np.mean([lag.errors_px for lag in lags], axis=0)
        curve = Curve("mean of episodes", LAGS_S.tolist(), errors.tolist())
        title, x_label = "Pictures against forward kinematics", "pictures later than their stamps (s)"
        plots.append(CurvePlot(title, x_label, "distance of scene points (px)", [curve]))
    return plots


def _replay_text(identified: Identified) -> str:
    replay = identified.replay
    if not replay:
        return "No log was replayed in the simulator."
    num = len(replay["held_out_episodes"])
    return (
        f"Replay in the simulator, {num} held-out episode{'s' if num != 1 else ''}: the tool is "
        f"{replay['before_mm']:.1f} mm from the log with the middle of the base ranges, {replay['after_mm']:.1f} mm "
        "with what was identified (root mean square)."
    )


def _rich(table: Table) -> RichTable:
    rich = RichTable(title=table.title, title_justify="left")
    for index, column in enumerate(table.columns[:6]):
        rich.add_column(column, justify="left" if index == 0 else "right")
    for row in table.rows:
        rich.add_row(*(Text(cell) for cell in row[:6]))
    return rich
