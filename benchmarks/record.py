"""Keeps what a benchmark measured, with machine and revision, and prints it as a Markdown table.

python benchmarks/record.py            # the tables of everything that lies in benchmarks/results
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simtoreal.provenance import provenance

RESULTS = Path(__file__).resolve().parent / "results"
QUICK_RESULTS = Path("runs") / "benchmarks" / "quick"  # a quick look is no figure and must not replace one


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured, as text for people and as numbers for everything else."""

    what: str
    measured: str
    must_reach: str = ""
    reached: bool | None = None  # None where there is nothing to reach
    numbers: Mapping[str, Any] = field(default_factory=dict)


def save(name: str, rows: Sequence[Row], quick: bool) -> Path:
    """Writes `NAME.json` and prints the table; what a quick run found goes to another folder."""
    folder = QUICK_RESULTS if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {"benchmark": name, "quick": quick, "rows": [asdict(row) for row in rows], "provenance": provenance()}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
    print(table(content))
    print(f"\n{path}", file=sys.stderr)
    return path


def table(content: Mapping[str, Any]) -> str:
    """The Markdown of one result file, with the machine and the revision below."""
    lines = ["| what | measured | must reach | reached |", "|---|---|---|---|"]
    words = {True: "yes", False: "**no**", None: ""}
    for row in content["rows"]:
        lines.append(f"| {row['what']} | {row['measured']} | {row['must_reach']} | {words[row['reached']]} |")
    origin = content["provenance"]
    machine = origin["hardware"]
    quick = "A quick look, not a figure. " if content["quick"] else ""
    revision, cores = origin["git_revision"] or "unknown", f"{machine['num_cores']} cores of {machine['processor']}"
    lines += [
        "",
        f"{quick}`python benchmarks/{origin['command']}`, revision {revision}, {origin['started'][:10]}, {cores}, "
        f"{machine['memory_gib']} GiB.",
    ]
    return "\n".join(lines)


def per_cent(rate: float) -> str:
    """A share as people read it."""
    return f"{100 * rate:.1f} %"


def main() -> None:
    """Prints every table that there is."""
    for path in sorted(RESULTS.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        print(f"## {content['benchmark']}\n\n{table(content)}\n")


if __name__ == "__main__":
    main()
