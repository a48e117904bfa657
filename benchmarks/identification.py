"""How near identified latencies come to the truth: episodes of both worlds with known delays, recorded and identified.

    python benchmarks/identification.py --out runs/identification

Every cell of the table is one dataset of its own scenes. Sizes that are done already are not done again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import yaml

from simtoreal import cli
from simtoreal.identified import load_identified
from simtoreal.provenance import provenance

LATENCIES_S = (0.04, 0.08, 0.12, 0.16, 0.2)
TICK_S = {"pybullet": 1.0 / 60.0, "mujoco": 0.002}  # what delays of a world resolve to
RESULT = Path(__file__).parent / "results" / "identification.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/identification"))
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows = [
        measure(arguments.out, world, latency_s, seed, arguments.episodes)
        for seed in range(arguments.seeds)
        for latency_s in LATENCIES_S
        for world in TICK_S
    ]
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    arguments.result.write_text(
        json.dumps({"rows": rows, **summary(rows), "provenance": provenance()}, indent=1) + "\n"
    )
    print(table(rows))


def measure(out: Path, world: str, latency_s: float, seed: int, episodes: int) -> dict[str, object]:
    """Records and identifies one dataset whose observation and action latency are the same."""
    folder = out / f"{world}-{round(1e3 * latency_s)}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    timing = {"observation_latency_s": latency_s, "action_latency_s": latency_s}
    group, key = ("timing", "randomization") if world == "pybullet" else ("clock", "reality")
    (folder / "truth.yaml").write_text(yaml.safe_dump({"base": "default", group: timing}))
    run("record", f"controller={world}", f"{key}={folder / 'truth.yaml'}", f"episodes={episodes}", f"seed={seed}",
        "image_width_px=128", "image_height_px=96", f"out={folder / 'episodes'}")  # fmt: skip
    run("identify", f"episodes={folder / 'episodes'}", f"out={folder / 'identified'}")
    found = load_identified(folder / "identified" / "identified.yaml")
    truth_s = round(latency_s / TICK_S[world]) * TICK_S[world]
    errors = {
        f"{name}_error_ms": 1e3 * (posterior.mean - truth_s)
        for name in ("observation_latency_s", "action_latency_s")
        if (posterior := found.posterior.get(name)) is not None
    }
    held = {
        f"{name}_in_interval": bool(posterior.low <= truth_s <= posterior.high)
        for name in ("observation_latency_s", "action_latency_s")
        if (posterior := found.posterior.get(name)) is not None
    }
    return {"world": world, "latency_ms": 1e3 * latency_s, "truth_ms": 1e3 * truth_s, "seed": seed, **errors, **held,
            "replay": {name: found.replay.get(name) for name in ("before_mm", "after_mm")}}  # fmt: skip


def run(*words: str) -> None:
    status = cli.main(list(words))
    if status != 0:
        raise SystemExit(f"simtoreal {' '.join(words)} ended with {status}")


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    found = {}
    for name in ("observation_latency_s", "action_latency_s"):
        errors = [abs(float(str(row[f"{name}_error_ms"]))) for row in rows if f"{name}_error_ms" in row]
        found[name] = {
            "n": len(errors), "of": len(rows), "mean_abs_ms": float(np.mean(errors)), "worst_ms": float(np.max(errors)),
            "in_interval": sum(bool(row.get(f"{name}_in_interval")) for row in rows),
        }  # fmt: skip
    return {"summary": found}


def table(rows: list[dict[str, object]]) -> str:
    lines = ["| world | truth (ms) | seed | observation error (ms) | action error (ms) | replay before, after (mm) |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        errors = [row.get(f"{name}_error_ms") for name in ("observation_latency_s", "action_latency_s")]
        told = ["unknown" if error is None else f"{float(str(error)):+.1f}" for error in errors]
        replay = row["replay"]
        assert isinstance(replay, dict)
        lines.append(
            f"| {row['world']} | {float(str(row['truth_ms'])):.1f} | {row['seed']} | {told[0]} | {told[1]} "
            f"| {replay['before_mm']}, {replay['after_mm']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
