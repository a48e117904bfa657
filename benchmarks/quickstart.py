"""How long `simtoreal quickstart` takes on this machine, and how good the policy is that comes out.

    python benchmarks/quickstart.py [--quick]

Measured as somebody meets it who has just installed the package: an empty run folder, an empty cache of objects, grasps
and frames, and nothing compiled yet. `--quick` shrinks everything to see that it works; it says nothing about success.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import Row, per_cent, save

from simtoreal.evaluation.results import load_eval_info

TARGET_MIN, TARGET_SUCCESS = 15.0, 0.92
_SMALL = (
    "preset.perception.num_scenes=40",
    "preset.perception.frames_per_scene=2",
    "preset.perception.batch_size=16",
    "preset.perception.epochs=1",
    "preset.control.total_steps=400",
    "preset.control.cloning_steps=100",
    "preset.evaluation.episodes=4",
)


def run(folder: Path, settings: tuple[str, ...]) -> float:
    """Wall time in seconds of a quickstart that finds nothing prepared.

    Raises:
        subprocess.CalledProcessError: it failed; its messages are on the terminal.
    """
    fresh = {"SIMTOREAL_CACHE": str(folder / "cache"), "NUMBA_CACHE_DIR": str(folder / "compiled")}
    command = [sys.executable, "-m", "simtoreal.cli", "quickstart", f"out={folder / 'run'}", *settings]
    started_s = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, **fresh}, stdout=sys.stderr)
    return time.monotonic() - started_s


def rows_of(wall_s: float, info: dict[str, Any], load: float) -> list[Row]:
    overall, oracle = info["overall"], info["oracle"]
    rate = overall["pc_success"] / 100
    low, high = overall["pc_success_ci95"]
    return [
        Row(
            "quickstart, wall time after installation",
            f"{wall_s / 60:.1f} min",
            f"{TARGET_MIN:g} min",
            wall_s <= 60 * TARGET_MIN,
            {"wall_s": wall_s, "load_before": load},
        ),
        Row(
            "its success on random_test, default randomization",
            f"{per_cent(rate)} ({low:.1f} to {high:.1f}, n = {overall['n_episodes']})",
            per_cent(TARGET_SUCCESS),
            rate >= TARGET_SUCCESS,
            {**overall, "failures": info["failures"]},
        ),
        Row(
            "the oracle on the same scenes",
            per_cent(oracle["overall"]["pc_success"] / 100),
            numbers={"pc_of_oracle": oracle["pc_of_oracle"], **oracle["overall"]},
        ),
    ]


def main() -> None:
    """Runs it, writes benchmarks/results/quickstart.json and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shrunk, to see that it works; not a figure")
    parser.add_argument("--keep", type=Path, help="folder for the run, instead of one that is removed")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    if load > 1.0:
        print(f"the load of this machine is {load:.1f}: this will take longer than it should", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="simtoreal-quickstart-") as temporary:
        folder = arguments.keep or Path(temporary)
        wall_s = run(folder, _SMALL if arguments.quick else ())
        info = load_eval_info(folder / "run" / "evaluation")
    save("quickstart", rows_of(wall_s, info, load), arguments.quick)


if __name__ == "__main__":
    main()
