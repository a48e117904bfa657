"""A ledger to look at: tables on the terminal, and a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from simtoreal.evaluation.grounding import grounding_table
from simtoreal.evaluation.report import Picture, ReportContent, Table, write_report
from simtoreal.transfer.ledger.gap_page import gap_tables
from simtoreal.transfer.trials.arms import ARMS

_ARM_NAMES = {"source": "source, as it is", "scratch": "from scratch, same frames", "fine_tuned": "fine-tuned"}
_COLOURS = {"improved": "green", "no evidence": "yellow", "harmed": "red"}
_Ledger = Mapping[str, Any]


def render_terminal(ledger: _Ledger) -> RenderableType:
    """Verdict, arms and what was tried, for the terminal."""
    verdict = Text(f"verdict: {ledger['verdict']}", style=f"bold {_COLOURS[ledger['verdict']]}")
    verdict.append(f"; {_shipped(ledger)}", style="not bold")
    tables = [_rich(table) for table in (_arms(ledger), _tried(ledger), *_online(ledger), *gap_tables(ledger))]
    return Group(*tables, verdict, *(Text(f"  {reason}") for reason in ledger["reasons"]))


def write_page(out_dir: Path, ledger: _Ledger, command: str, pictures: Sequence[Picture] = ()) -> Path:
    """Writes `report.html`, self-contained, and returns its path.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    tables = [_arms(ledger), _paired(ledger), *_online(ledger), *gap_tables(ledger), _tried(ledger), _guards(ledger),
              _slices(ledger), _episodes(ledger), _cost(ledger), *_grounding(ledger)]  # fmt: skip
    lead = " ".join([f"{_shipped(ledger).capitalize()}.", *(f"{reason}." for reason in ledger["reasons"])])
    content = ReportContent(
        title=f"Fine-tuning: {ledger['verdict']}", lead=lead, grasps=pictures,
        tables=[table for table in tables if table.rows],
        facts={key: str(ledger[key]) for key in ("bundle", "episodes_folder") if key in ledger}, command=command,
    )  # fmt: skip
    return write_report(out_dir, content)


def _shipped(ledger: _Ledger) -> str:
    if ledger["shipped"] == "source":
        return "the source policy is kept"
    return "the fine-tuned policy ships" + (", because force=true" if ledger["forced"] else "")


def _arms(ledger: _Ledger) -> Table:
    rows = []
    for arm in ARMS:
        found = ledger["arms"][arm]
        rows.append(
            (_ARM_NAMES[arm], f"{found['miss']['mean']:.3f}", f"{found['position_mm']['mean']:.1f}",
             f"{found['yaw_deg']['mean']:.1f}", f"{found['rank_pc']['mean']:.2f}", str(found["n_episodes"]))
        )  # fmt: skip
    note = (
        "Hindsight error against where something was held, averaged over episodes that the net has not seen. The miss "
        "decides: 0 for a net that knows the true grasp, 1 for one that has no idea; 1 cm across, 15 mm in height or "
        "15 degrees in its reading there are 0.4. The rank is the share of the map that it holds for better. Position "
        "and yaw are those of the grasp that it would choose, which may be another good one."
    )
    columns = ("arm", "miss", "position (mm)", "yaw (degrees)", "rank (%)", "held-out episodes")
    return Table("Held-out episodes", columns, rows, note)


def _paired(ledger: _Ledger) -> Table:
    names = {"miss": "miss", "position_mm": "position (mm)", "yaw_deg": "yaw (degrees)", "rank_pc": "rank (%)"}
    rows = [
        (f"fine-tuned against {_ARM_NAMES[pair.split(' - ')[0]]}", names[name], *_difference(found))
        for pair, errors in ledger["paired"].items()
        for name, found in errors.items()
    ]
    note = "Positive is better. Bootstrap over episodes, never narrower than Student's interval; sign-flip p."
    return Table("Gains", ("comparison", "error", "gain", "95 % interval", "p"), rows, note)


def _tried(ledger: _Ledger) -> Table:
    auto = ledger["auto"]
    rows = [
        (("→ " if found["strategy"] == auto["chosen"] else "") + found["strategy"], f"{found['miss']:.3f}",
         f"{found['num_trainable']:,}", ", ".join(map(str, found["steps"])), f"{found['seconds']:.0f}")
        for found in auto["tried"]
    ]  # fmt: skip
    rows += [(name, "-", "-", "-", why) for name, why in auto["skipped"].items()]
    columns = ("strategy", "validation miss", "weights that move", "steps in each fold", "time (s)")
    return Table("What was tried", columns, rows, auto["why"])


def _guards(ledger: _Ledger) -> Table:
    rows = []
    forgetting, fitting = ledger["forgetting"], ledger["over_fitting"]
    if forgetting is not None:
        before, after = (forgetting[arm]["miss"]["mean"] for arm in ("source", "fine_tuned"))
        rows.append(
            ("forgetting: miss on simulated frames", f"{before:.3f} → {after:.3f}", _interval(forgetting["rise"]))
        )
    inside, outside = fitting["held_in_miss"], fitting["held_out_miss"]
    gap = "-" if fitting["gap"] is None else _interval(fitting["gap"])
    rows.append(("over-fitting: miss on held-in and held-out episodes", f"{inside:.3f} → {outside:.3f}", gap))
    better, worse, alike = (fitting[f"n_{name}"] for name in ("better", "worse", "alike"))
    rows.append(("held-out episodes better, worse, alike", f"{better}, {worse}, {alike}", ""))
    return Table("What it cost in skill", ("guard", "from → to", "95 % interval of the rise"), rows)


def _slices(ledger: _Ledger) -> Table:
    rows = [
        (f"{row['kind']}: {row['slice']}", str(row["n_episodes"]), *_difference(row)[:2], f"{row['p_corrected']:.3f}")
        for row in ledger["slices"]
    ]
    note = "Gain in miss, positive is better; p is corrected for the number of slices looked at (Holm)."
    return Table("Who gained, who lost", ("slice", "episodes", "gain", "95 % interval", "p, corrected"), rows, note)


def _online(ledger: _Ledger) -> list[Table]:
    online = ledger["online"]
    if online is None:
        return []
    worlds = [(f"{online['world']} {online.get('reality', '')}".strip(), online)]
    if online["source_simulator"] is not None:
        worlds.append(("source simulator", online["source_simulator"]))
    rows = []
    for name, found in worlds:
        for arm, result in found["arms"].items():
            low, high = result["pc_success_ci95"]
            count = f"{result['n_success']}/{result['n_episodes']}"
            rows.append((name, _ARM_NAMES[arm], f"{result['pc_success']:.1f} %", f"{low:.1f} to {high:.1f}", count))
        for other, gain in (("source", found["gain"]), ("scratch", found.get("gain_over_scratch"))):
            if gain is not None:
                points = {key: 100 * value if key != "p" else value for key, value in gain.items()}
                rows.append((name, f"gain over {other} in points", *_difference(points, 1)))
    return [Table("Closed loop, unseen objects", ("world", "arm", "success", "95 % interval", "n, or p"), rows)]


def _episodes(ledger: _Ledger) -> Table:
    rows = [
        (str(row["episode"]), row["object"], *(f"{row['miss'][arm]:.2f}" for arm in ARMS),
         *(f"{row['position_mm'][arm]:.0f}" for arm in ARMS))
        for row in ledger["per_episode"]
    ]  # fmt: skip
    rows += [
        (str(note["position"]), note["object_name"], note["problem"], "", "", "", "", "")
        for note in ledger["data"]["episodes"] if note["problem"]
    ]  # fmt: skip
    columns = ["episode", "object", *(f"miss, {arm}" for arm in ARMS), *(f"mm, {arm}" for arm in ARMS)]
    return Table("Every episode", [name.replace("_", "-") for name in columns], rows)


def _cost(ledger: _Ledger) -> Table:
    cost = ledger["cost"]
    rows = [
        ("weights that move, of all", f"{cost['num_trainable']:,} of {cost['num_parameters']:,}"),
        ("steps, time of the training that ships", f"{cost['steps']}, {cost['final_training_s']:.0f} s"),
        ("time for trying strategies", f"{cost['search_s']:.0f} s"),
        ("time of the whole run", f"{cost['wall_s']:.0f} s"),
        ("frames, labelled ones of them", f"{cost['n_frames']}, {cost['n_labelled_frames']}"),
        ("steps from scratch in each fold", ", ".join(map(str, cost["scratch_steps"]))),
        *_saved(ledger),
    ]
    return Table("Cost", ("what", "how much"), rows)


def _saved(ledger: _Ledger) -> list[tuple[str, str]]:
    saved = ledger.get("saved")
    if saved is None:
        return []
    more, where = (
        "at least " if saved["at_least"] else "",
        f"at the miss that {saved['at_size']} episodes reach from scratch",
    )
    return [
        (f"{name} saved by starting from the source, {where}",
         f"{more}{found['value']:.1f} x [{found['low']:.1f}, {found['high']:.1f}]")
        for name, found in (("real episodes", saved["data"]), ("training time", saved["time"]))
    ]  # fmt: skip


def _grounding(ledger: _Ledger) -> list[Table]:
    found = ledger.get("grounding") or {}
    return [
        grounding_table(part, f"Does it look at the picture? {_ARM_NAMES[arm].capitalize()}")
        for arm, part in found.items()
    ]


def _difference(found: Mapping[str, float | None], digits: int = 3) -> tuple[str, str, str]:
    mean, p = found["mean"], found["p"]
    return f"{mean:+.{digits}f}", _interval(found, digits), "-" if p is None else f"{p:.3f}"


def _interval(found: Mapping[str, float | None], digits: int = 3) -> str:
    low, high = found["low"], found["high"]
    if low is None or high is None:
        return "unknown: one episode"
    return f"{low:+.{digits}f} to {high:+.{digits}f}"


def _rich(table: Table) -> RichTable:
    rich = RichTable(title=table.title, title_justify="left")
    for index, column in enumerate(table.columns):
        rich.add_column(column, justify="left" if index == 0 else "right")
    for row in table.rows:
        rich.add_row(*(Text(cell) for cell in row))
    return rich
