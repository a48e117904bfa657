"""What a policy costs on the robot's computer, and what it loses on the way there: int8 beside its fp32 source.

    python benchmarks/export.py [--quick] [--bundle default]      (pip install -e '.[export]')

The figures are those of the proof that `simtoreal export` makes, with the limits of this table in place of its own:
- Image to action: the exported policy alone in a process bound to one core, on the observations of whole episodes;
  only steps that look at their image count. Processor time decides, wall time is given beside it: on a busy machine
  that says how busy the machine is.
- Memory: the peak of that process (`VmHWM`).
- Success: source and export meet the same scenes of `random_test`; the interval is that of the paired difference.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from record import Row, save  # noqa: E402

from simtoreal.export.command import PROOF_FILE, export  # noqa: E402
from simtoreal.export.settings import ExportConfig  # noqa: E402

MAX_STEP_S, MAX_SIZE_MB, MAX_MEMORY_MB, MAX_LOST_FRAC = 0.002, 1.0, 150.0, 0.01
EPISODES, QUICK_EPISODES = 500, 10
SEED = 11  # of scenes that no variant of the quantisation was compared on


def rows(proof: dict[str, Any], bundle: str) -> list[Row]:
    figures = {figure["name"]: figure for figure in proof["figures"]}
    step, size, memory, lost = (figures[name] for name in ("image to action", "size", "memory", "success lost"))
    trial, success = proof["trial"], proof["success"]
    before, after = (success[arm]["pc_success"] for arm in ("source", "exported"))
    low, high = -100 * success["difference"]["high"], -100 * success["difference"]["low"]
    wall = trial["wall_s"]
    return [
        Row(
            f"int8 of `{bundle}`, image to action on one core, 99th percentile",
            f"{1e3 * step['measured']:.2f} ms (median {1e3 * trial['processor_s']['p50']:.2f} ms; wall time "
            f"{1e3 * wall['p50']:.2f} and {1e3 * wall['p99']:.2f} ms; n = {trial['num_looks']})",
            f"{1e3 * MAX_STEP_S:g} ms", step["holds"], trial,
        ),
        Row("size of the model", f"{size['measured']:.2f} MB", f"{MAX_SIZE_MB:g} MB", size["holds"], size),
        Row(
            "memory of the deployed process", f"{memory['measured']:.0f} MB", f"{MAX_MEMORY_MB:g} MB", memory["holds"],
            memory,
        ),
        Row(
            "success lost by int8 against fp32, `random_test`, paired",
            f"{100 * lost['measured']:.1f} points [{low:.1f}, {high:.1f}], n = {success['source']['n_episodes']} "
            f"({before:.1f} % and {after:.1f} %)",
            f"{100 * MAX_LOST_FRAC:g} point", lost["holds"], success,
        ),
        Row(
            "grasps of int8 against fp32, 95 of 100 frames",
            f"{1e3 * figures['grasp position']['measured']:.1f} mm, {figures['grasp angle']['measured']:.3f} rad, "
            f"quality {figures['grasp quality']['measured']:.3f}, n = {proof['parity']['num_frames']}",
            numbers=proof["parity"],
        ),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few scenes, to see that it works")
    parser.add_argument("--bundle", default="default", help="shipped bundle or folder")
    options = parser.parse_args()
    out = Path("runs/benchmarks") / ("export-quick" if options.quick else "export")
    out.mkdir(parents=True, exist_ok=True)
    config = ExportConfig(
        bundle=options.bundle,
        out=out,
        seed=SEED,
        n=QUICK_EPISODES if options.quick else EPISODES,
        workers=len(os.sched_getaffinity(0)),
        max_step_s=MAX_STEP_S,
        max_size_mb=MAX_SIZE_MB,
        max_memory_mb=MAX_MEMORY_MB,
        max_lost_frac=MAX_LOST_FRAC,
    )
    export(config)
    proof = json.loads((out / PROOF_FILE).read_text(encoding="utf-8"))
    save("export", rows(proof, options.bundle), options.quick)


if __name__ == "__main__":
    main()
