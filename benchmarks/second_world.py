"""How far one can get in the second world, and how far the shipped policy does.

    python benchmarks/second_world.py [--quick] [--bundle default] [--realities mild default harsh] [--workers 2]

- The oracle (privileged grasps, scripted servo) on `random_test` and `household_test` in every reality, n = 300,
  counted where something fits the gripper.
- The policy on `random_test` in every reality, n = 200, beside it: the gap that transfer has to close.

Every episode is kept in runs/benchmarks/second_world as it ends: a run that was stopped goes on where it was.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from pathlib import Path  # noqa: E402

from record import Row, per_cent, save  # noqa: E402

from simtoreal.envs.assets import default_cache_dir  # noqa: E402
from simtoreal.envs.reality import REALITIES, load_reality  # noqa: E402
from simtoreal.evaluation.arena import ArenaSpec  # noqa: E402
from simtoreal.evaluation.records import EpisodeRecord  # noqa: E402
from simtoreal.evaluation.runner import EvaluationPlan, run_evaluation  # noqa: E402
from simtoreal.evaluation.statistics import wilson  # noqa: E402
from simtoreal.preflight import find_bundle  # noqa: E402
from simtoreal.progress import Progress  # noqa: E402

SETS = ("random_test", "household_test")
TARGETS = {"mild": 0.95, "default": 0.95, "harsh": 0.90}  # of the oracle, where something fits the gripper
FOLDER = Path("runs") / "benchmarks" / "second_world"


@dataclass(frozen=True)
class Effort:
    """How much to run."""

    oracle_episodes: int
    policy_episodes: int
    folder: Path
    workers: int = 2


FULL = Effort(300, 200, FOLDER)
QUICK = Effort(6, 4, FOLDER / "quick")


def records_of(arm: str, objects: str, reality: str, bundle: Path | None, effort: Effort) -> Sequence[EpisodeRecord]:
    """The episodes of one arm on one set in one reality."""
    spec = ArenaSpec(
        bundle=bundle,
        objects=objects,
        randomization={},
        robot="panda",
        seed=0,
        cache_dir=default_cache_dir(),
        world="mujoco",
        reality=load_reality(reality).to_plain(),
    )
    episodes = effort.policy_episodes if arm == "policy" else effort.oracle_episodes
    label = f"{arm} {objects} {reality}"
    plan = EvaluationPlan(
        episodes, (arm,), workers=effort.workers, out=effort.folder / label.replace(" ", "-"), resume=True, label=label
    )
    return run_evaluation(spec, plan, Progress()).records[arm]


def oracle_row(objects: str, reality: str, effort: Effort) -> Row:
    records = records_of("oracle", objects, reality, None, effort)
    fitting = [record for record in records if record.fits_gripper]
    target = TARGETS.get(reality)
    return _row(f"oracle, {objects}, {reality}, where something fits", fitting, records, target)


def policy_row(bundle: Path, reality: str, effort: Effort) -> Row:
    records = records_of("policy", "random_test", reality, bundle, effort)
    return _row(f"bundle {bundle.name}, random_test, {reality}", records, records, None)


def _row(what: str, counted: Sequence[EpisodeRecord], drawn: Sequence[EpisodeRecord], target: float | None) -> Row:
    num, succeeded = len(counted), sum(record.success for record in counted)
    low, high = wilson(succeeded, num)
    rate, invalid = succeeded / num, sum(record.invalid_redraws for record in drawn)
    return Row(
        what,
        f"{per_cent(rate)} [{per_cent(low)}, {per_cent(high)}], n = {num}; {invalid} scenes drawn again",
        "" if target is None else per_cent(target),
        None if target is None else rate >= target,
        {"success": rate, "ci95": [low, high], "n": num, "n_drawn": len(drawn), "invalid": invalid},
    )


def main() -> None:
    """Runs everything, writes benchmarks/results/second_world.json and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="minutes, to see that it works; not a figure")
    parser.add_argument("--bundle", default="default", help="bundle that is measured beside the oracle")
    parser.add_argument("--realities", nargs="+", default=list(REALITIES), help="shipped realities or YAML files")
    parser.add_argument("--workers", type=int, default=FULL.workers, help="processes")
    arguments = parser.parse_args()
    effort = replace(QUICK if arguments.quick else FULL, workers=arguments.workers)
    bundle = find_bundle(arguments.bundle)
    rows = [oracle_row(objects, reality, effort) for objects in SETS for reality in arguments.realities]
    rows += [policy_row(bundle, reality, effort) for reality in arguments.realities]
    save("second_world", rows, arguments.quick)


if __name__ == "__main__":
    main()
