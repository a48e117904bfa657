"""The gap as a table, for the page of a ledger."""

from collections.abc import Mapping
from typing import Any

from simtoreal.evaluation.report import Table


def gap_tables(ledger: Mapping[str, Any]) -> list[Table]:
    """Success of grasps x heads where a world was run, and what the logs say; nothing where nobody looked."""
    gap = ledger.get("gap")
    if not gap:
        return []
    tables = [_online(gap)] if gap["online"] else []
    head = ledger.get("head")
    return [*tables, _logs(gap), *([] if not head or "held_out_gain" not in head else [_head(head)])]


def _online(gap: Mapping[str, Any]) -> Table:
    online = gap["online"]
    rows = []
    for cell in online["table"]:
        low, high = cell["pc_success_ci95"]
        count = f"{cell['n_success']}/{cell['n_episodes']}"
        rows.append((cell["grasps"], cell["head"], f"{cell['pc_success']:.1f} %", f"{low:.1f} to {high:.1f}", count))
    gains = {"perfect grasps, source head": online["perception_gain"]}
    gains |= {f"{head} head, perfect grasps": gain for head, gain in online["control_gains"].items()}
    for name, gain in gains.items():
        mean, low, high = (100 * gain[key] for key in ("mean", "low", "high"))
        rows.append((f"gain of {name}", "", f"{mean:+.1f}", f"{low:+.1f} to {high:+.1f}", ""))
    columns = ("grasps", "head", "success", "95 % interval", "n")
    note = f"To fix first: {online['first']}. The same scenes in every row; the oracle head is the scripted servo."
    return Table("Perception or control, in closed loop", columns, rows, note)


def _logs(gap: Mapping[str, Any]) -> Table:
    logs = gap["logs"]
    rows = [
        ("perception", "miss of the source: logs, simulation", _pair(logs["miss"], logs["miss_in_simulation"])),
        ("control", "replay error in mm: as trained, as identified",
         _pair(logs["replay_mm"], logs["replay_mm_when_identified"])),
    ]  # fmt: skip
    rows += [("control", "outside of training", text) for text in logs["outside_of_training"]]
    note = " ".join(text for text in (f"{gap['advice']}.", gap["problem"]) if text)
    return Table("Perception or control, by the logs", ("side", "what", "how much"), rows, note)


def _head(head: Mapping[str, Any]) -> Table:
    gain = head["held_out_gain"]
    low, high = (gain[key] for key in ("low", "high"))
    interval = "unknown" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"
    rows = [(head["strategy"], str(head["n_episodes"]), str(head["n_transitions"]), str(head["steps"]),
             f"{gain['mean']:+.4f}", interval)]  # fmt: skip
    note = (
        "Gain in the error of actions on held-out episodes, by which training also stopped, so that it is no proof: "
        "the new head ships only where closed loop shows that it is better."
    )
    return Table("Head", ("strategy", "episodes", "transitions", "steps", "gain", "95 % interval"), rows, note)


def _pair(a: float | None, b: float | None) -> str:
    return ", ".join("unknown" if value is None else f"{value:.3g}" for value in (a, b))
