"""A learning curve to look at: sentences, tables on the terminal, and a page with the plot."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from simtoreal.evaluation.charts import Curve, CurvePlot
from simtoreal.evaluation.inspection_tables import terminal_table
from simtoreal.evaluation.report import ReportContent, Table, write_report
from simtoreal.transfer.curve.learning_curve import MIN_GAIN

_ARM_NAMES = {"fine_tuned": "fine-tuned", "scratch": "from scratch"}
_Found = Mapping[str, Any]


def render_terminal(found: _Found) -> RenderableType:
    """Tables and sentences of every score that was taken."""
    shown: list[RenderableType] = []
    for part in _parts(found):
        shown += [terminal_table(_table(part)), *(Text(f"  {line}") for line in sentences(part))]
    return Group(*shown)


def write_page(out_dir: Path, found: _Found, command: str) -> Path:
    """Writes `report.html` and returns its path.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    parts = list(_parts(found))
    content = ReportContent(
        title="Learning curve", lead=" ".join(sentences(parts[-1])), training_plots=[_plot(part) for part in parts],
        tables=[_table(part) for part in parts],
        facts={key: str(found[key]) for key in ("bundle", "episodes_folder", "seeds", "world", "reality")},
        command=command,
    )  # fmt: skip
    return write_report(out_dir, content)


def sentences(part: _Found) -> list[str]:
    """What pretraining saved, and how many more episodes are worth recording."""
    saved, later, what = part["saved"], part["outlook"], part["loss"]
    more = "at least " if saved["at_least"] else ""
    data, time, gain = saved["data"], saved["time"], later["gain_of_doubling"]
    worth = f"about {later['num_worth']['value']:.0f}" + (" or more" if later["capped"] else "")
    if later["num_worth"]["value"] < 1:
        worth = "no"
    return [
        f"Real data saved: {more}{data['value']:.1f} x {_interval(data)}, at a {what} of {saved['loss']:.3f}, which "
        f"training from scratch reaches with {saved['at_size']} episodes.",
        f"Training time saved: {more}{time['value']:.1f} x {_interval(time)}.",
        f"Twice as many episodes as the {later['size']} there are would lower the {what} by {gain['value']:.3f} "
        f"{_interval(gain, 3)}: {worth} more are worth recording, until doubling them gains less than {MIN_GAIN:g}.",
    ]


def _parts(found: _Found) -> Iterator[_Found]:
    yield found
    if "online" in found:
        yield found["online"]


def _title(part: _Found) -> str:
    return "Miss on held-out episodes" if part["loss"] == "miss" else "Closed-loop failures on the same scenes"


def _table(part: _Found) -> Table:
    rows = []
    for arm, name in _ARM_NAMES.items():
        found = part["arms"][arm]
        measured = found["measured"]
        for i, size in enumerate(found["sizes"]):
            bounds = f"{measured['low'][i]:.3f} to {measured['high'][i]:.3f}"
            rows.append((name, str(size), f"{measured['value'][i]:.3f}", bounds, f"{found['seconds'][i]:.0f}"))
    note = "Bootstrap over seeds, and over what judged within each. At 0 the source is as it is; scratch has nothing."
    return Table(_title(part), ("arm", "episodes", part["loss"], "95 % interval", "training (s)"), rows, note)


def _plot(part: _Found) -> CurvePlot:
    curves = []
    for arm, name in _ARM_NAMES.items():
        fitted, found = part["arms"][arm]["fitted"], part["arms"][arm]
        curves.append(Curve(f"{name}, fitted", fitted["sizes"], fitted["value"], fitted["low"], fitted["high"]))
        curves.append(Curve(f"{name}, measured", found["sizes"], found["measured"]["value"]))
    note = "Fitted: floor + drop * (n + 1) ** -rate; drawn to twice of what was measured."
    return CurvePlot(_title(part), "real episodes", part["loss"], curves, note)


def _interval(found: _Found, digits: int = 1) -> str:
    low, high = ("unknown" if found[end] is None else f"{found[end]:.{digits}f}" for end in ("low", "high"))
    return f"[{low}, {high}]"
