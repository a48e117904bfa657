"""Whether the miss, which decides on logs, goes with success in closed loop.

    python benchmarks/miss_and_success.py --episodes DIR [--quick] [--bundle default] [--reality default]

Policies of every quality: the source, the source with noise on its weights, the source fine-tuned and trained from
scratch on few and on all of the episodes. Each has its miss on all recorded episodes (those trained on them on the half
that they were not trained on) and its success on the same scenes of `random_test` in the second world, n = 60. The rank
correlation over policies says whether the one foretells the other; its interval is bootstrapped over policies.

Every episode is kept in runs/benchmarks/miss_and_success as it ends: a run that was stopped goes on where it was.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
import copy  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import replace  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from record import Row, per_cent, save  # noqa: E402
from scipy import stats  # noqa: E402

from simtoreal.bundle import save_bundle  # noqa: E402
from simtoreal.config import World  # noqa: E402
from simtoreal.evaluation.statistics import wilson  # noqa: E402
from simtoreal.policies.encoders import GraspNet  # noqa: E402
from simtoreal.policies.load import encoder_weights  # noqa: E402
from simtoreal.progress import Progress  # noqa: E402
from simtoreal.transfer.data.labels import Hindsight  # noqa: E402
from simtoreal.transfer.online import Entrant, run_arm  # noqa: E402
from simtoreal.transfer.preparation import Job, prepare  # noqa: E402
from simtoreal.transfer.settings import FinetuneConfig  # noqa: E402
from simtoreal.transfer.trials.arms import scores_on, train_on  # noqa: E402
from simtoreal.transfer.tuning.grasp_score import mean_miss  # noqa: E402
from simtoreal.transfer.tuning.strategy import SCRATCH, load_strategy  # noqa: E402

FOLDER = Path("runs") / "benchmarks" / "miss_and_success"
NOISES = (0.05, 0.1, 0.15, 0.2, 0.3)  # standard deviation, of that of each weight tensor
_RESAMPLES = 2000


def policies(job: Job) -> Iterator[tuple[str, GraspNet]]:
    """Nets of every quality, by name; those that are trained see the first half of the episodes at most."""
    yield "source", job.trainer.domain.source
    half = job.data.judgeable[: len(job.data.judgeable) // 2]
    for noise in NOISES:
        yield f"noise {noise:g}", _noisy(job.trainer.domain.source, noise)
    few = len(half)
    for name, steps, num in (("heads", 80, few), (SCRATCH, 400, few), (SCRATCH, 400, 1), (SCRATCH, 100, few)):
        tuned = train_on(job.trainer, load_strategy(name), steps, half[:num], job.config.seed)
        yield f"{name}, {num} episodes, {steps} steps", tuned.net


def _noisy(net: GraspNet, noise: float) -> GraspNet:
    copied = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in copied.parameters():
            if parameter.dim() > 1:
                parameter.add_(noise * parameter.std() * torch.randn(parameter.shape, generator=generator))
    return copied


def measure(job: Job, name: str, net: GraspNet) -> Row:
    """Miss and success of one policy."""
    config = job.config
    judged = job.data.judgeable[len(job.data.judgeable) // 2 :]
    miss = mean_miss(scores_on(job.trainer, net, judged))
    folder = config.out / "policies" / name.replace(", ", "-").replace(" ", "_")
    save_bundle(replace(job.source, encoder_weights=encoder_weights(net)), folder)
    assert config.world is not None
    records = run_arm(config, config.world, Entrant(name, folder), job.progress)
    num, n = sum(record.success for record in records), len(records)
    low, high = wilson(num, n)
    text = f"miss {miss:.3f}, success {per_cent(num / n)} [{per_cent(low)}, {per_cent(high)}], n = {n}"
    return Row(name, text, numbers={"miss": miss, "success": num / n, "n": n, "n_judged": len(judged)})


def correlation(rows: list[Row]) -> Row:
    """Spearman's and Pearson's correlation of miss and success, with a bootstrap over policies."""
    miss, success = (np.array([row.numbers[name] for row in rows]) for name in ("miss", "success"))
    rng = np.random.default_rng(0)
    found = {"spearman": stats.spearmanr, "pearson": stats.pearsonr}
    numbers, told = {}, []
    for name, statistic in found.items():
        drawn = [rng.integers(len(rows), size=len(rows)) for _ in range(_RESAMPLES)]
        values = [float(statistic(miss[i], success[i])[0]) for i in drawn if np.ptp(miss[i]) and np.ptp(success[i])]
        low, high = np.quantile(values, [0.025, 0.975])
        numbers[name] = {"value": float(statistic(miss, success)[0]), "ci95": [float(low), float(high)]}
        told.append(f"{name} {numbers[name]['value']:+.2f} [{low:+.2f}, {high:+.2f}]")
    return Row(f"correlation of miss and success over {len(rows)} policies", ", ".join(told), numbers=numbers)


def main() -> None:
    """Measures every policy, writes benchmarks/results/miss_and_success.json and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="minutes, to see that it works; not a figure")
    parser.add_argument("--episodes", type=Path, required=True, help="dataset of recorded episodes of that reality")
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--reality", default="default")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    config = FinetuneConfig(
        bundle=arguments.bundle, episodes=arguments.episodes, out=FOLDER / arguments.reality, world=World.MUJOCO,
        reality=arguments.reality, online_episodes=4 if arguments.quick else arguments.scenes,
        workers=arguments.workers, simulated_frames=400,
    )  # fmt: skip
    job = prepare(config, Hindsight(), Progress())
    rows = []
    for name, net in policies(job):
        rows.append(measure(job, name, net))
        print(rows[-1].what, rows[-1].measured, flush=True)
    save("miss_and_success", [*rows, correlation(rows)], arguments.quick)


if __name__ == "__main__":
    main()
