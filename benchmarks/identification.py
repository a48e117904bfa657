"""How near identified latencies come to the truth: episodes of both worlds with known delays, recorded and identified.

    python benchmarks/identification.py [--quick]        (pip install -e '.[mujoco]')

Four episodes of the oracle for every latency, world and seed; observation and action latency are the same, everything
else is as in randomization=default and reality=default. What is recorded and identified is kept in
runs/benchmarks/identification: delete it there after a change to identification.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
from pathlib import Path  # noqa: E402

import yaml  # noqa: E402
from record import Row, save  # noqa: E402

from simtoreal import cli  # noqa: E402
from simtoreal.identified import Identified, load_identified  # noqa: E402

FOLDER = Path("runs") / "benchmarks" / "identification"
LATENCIES_S = (0.04, 0.08, 0.12, 0.16, 0.2)
TICK_S = {"pybullet": 1.0 / 60.0, "mujoco": 0.002}  # what delays of a world resolve to
NAMES = ("observation_latency_s", "action_latency_s")
TARGET_MS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rows = [
        measure(arguments.folder, (world, latency_s, seed), arguments.episodes)
        for world in TICK_S
        for latency_s in (LATENCIES_S[:1] if arguments.quick else LATENCIES_S)
        for seed in range(1 if arguments.quick else arguments.seeds)
    ]
    save("identification", [*rows, *(worst(rows, name) for name in NAMES)], arguments.quick)


def measure(folder: Path, case: tuple[str, float, int], episodes: int) -> Row:
    """Records and identifies one dataset."""
    world, latency_s, seed = case
    found = identified(folder / f"{world}-{round(1e3 * latency_s)}-{seed}", case, episodes)
    truth_s = round(latency_s / TICK_S[world]) * TICK_S[world]
    numbers: dict[str, float] = {"truth_ms": 1e3 * truth_s}
    for name in NAMES:
        posterior = found.posterior[name]
        numbers[f"{name}_error_ms"] = 1e3 * (posterior.mean - truth_s)
        numbers[f"{name}_in_interval"] = float(posterior.low <= truth_s <= posterior.high)
    numbers |= {name: float(found.replay[name]) for name in ("before_mm", "after_mm")}
    errors = [numbers[f"{name}_error_ms"] for name in NAMES]
    measured = (
        f"observation {errors[0]:+.1f} ms, action {errors[1]:+.1f} ms; replay {numbers['before_mm']:.1f} mm, "
        f"then {numbers['after_mm']:.1f} mm"
    )
    what = f"{world}, truth {1e3 * truth_s:.1f} ms, seed {seed}, {episodes} episodes"
    return Row(what, measured, f"within {TARGET_MS:.0f} ms", max(map(abs, errors)) <= TARGET_MS, numbers)


def worst(rows: list[Row], name: str) -> Row:
    """The largest error of a quantity, and how many intervals hold the truth."""
    errors = [abs(row.numbers[f"{name}_error_ms"]) for row in rows]
    held = sum(row.numbers[f"{name}_in_interval"] for row in rows)
    measured = f"worst {max(errors):.1f} ms, mean {sum(errors) / len(errors):.1f} ms, n = {len(rows)}; " + (
        f"{held:.0f} of {len(rows)} intervals hold the truth"
    )
    return Row(name, measured, f"within {TARGET_MS:.0f} ms", max(errors) <= TARGET_MS, {"worst_ms": max(errors)})


def identified(folder: Path, case: tuple[str, float, int], episodes: int) -> Identified:
    """What `simtoreal identify` says of a dataset, which is recorded if it is not there."""
    world, latency_s, seed = case
    folder.mkdir(parents=True, exist_ok=True)
    group, key = ("timing", "randomization") if world == "pybullet" else ("clock", "reality")
    truth = {"base": "default", group: dict.fromkeys(NAMES, latency_s)}
    (folder / "truth.yaml").write_text(yaml.safe_dump(truth))
    run("record", f"controller={world}", f"{key}={folder / 'truth.yaml'}", f"episodes={episodes}", f"seed={seed}",
        "image_width_px=128", "image_height_px=96", f"out={folder / 'episodes'}")  # fmt: skip
    file = folder / "identified" / "identified.yaml"
    if not file.is_file():
        run("identify", f"episodes={folder / 'episodes'}", f"out={file.parent}")
    return load_identified(file)


def run(*words: str) -> None:
    status = cli.main(list(words))
    if status != 0:
        raise SystemExit(f"simtoreal {' '.join(words)} ended with {status}")


if __name__ == "__main__":
    main()
