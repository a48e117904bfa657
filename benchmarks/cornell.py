"""What simulated pretraining is worth on real images: Cornell grasps, fine-tuned against from scratch.

    python benchmarks/cornell.py [--quick] [--cornell FOLDER] [--seeds 0 1 2]

Objects on tables are rendered as a camera from beside sees them, and a net learns from them with no real image. Then it
meets the Cornell images, object-wise: every fold is judged by nets that were fine-tuned, or trained from nothing, on
1, 3, 5, ... images of the other folds. All images are learned by a net that started from ImageNet, and it is asked
together with the one that only knows simulation. Images of a smaller draw are part of every larger one of the same
fold and seed, both arms get the same ones, and no training is stopped or chosen by the fold that judges. The recipes
of all arms were chosen after looking at results of all four folds.

Metrics: the first choice agrees with a positive rectangle, at IoU > 0.25 within 30 degrees (Jiang, Moseson, Saxena
2011), and strictly, at IoU > 0.5 within 15 degrees. Intervals are over the draws (fold and seed). Everything is kept in
runs/benchmarks/cornell: what was stopped goes on, and seeds can run side by side before one run makes the table.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from enum import Enum, auto  # noqa: E402
from pathlib import Path  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from cornell_pictures import AUGMENTATION, ENCODER, JAW_PX, METRICS, READ, VIEW, Pictures, load_pictures, outcomes  # noqa: E402
from cornell_pretraining import Pretraining, Simulation, load_simulation  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from record import Row, per_cent, save  # noqa: E402

from simtoreal.evaluation.statistics import paired_mean_difference, wilson  # noqa: E402
from simtoreal.policies.encoders import EncoderSpec, GraspNet, build_encoder  # noqa: E402
from simtoreal.policies.load import encoder_weights  # noqa: E402
from simtoreal.progress import Progress  # noqa: E402
from simtoreal.transfer.tuning.strategy import Anchors, Depths, Mixture, Start, Statistics, Strategy, load_strategy  # noqa: E402
from simtoreal.transfer.tuning.trainer import Trainer, hash_of  # noqa: E402
from simtoreal.transfer.tuning.training import Domain, Lesson  # noqa: E402

FOLDER = Path("runs") / "benchmarks" / "cornell"
CORNELL = Path(__file__).resolve().parents[2] / "shared" / "data" / "cornell"
SIZES = (1, 3, 5, 10, 25)
ALL = 435  # of the images of three folds
SIZE_OF_SAVING = 10  # images of fine-tuning; how many does training from nothing need for that?
FEW, MANY = 10, 400  # images
SECOND = 100  # from the seed of one net of simulation to that of another
PHOTOGRAPHS = EncoderSpec("efficientnet_lite", "rgb", 32)
CLASSICAL = 0.702  # background subtraction with the principal axis, on 726 images
Outcomes = NDArray[np.bool_]  # (draws, images of a fold, metrics)


class Begins(Enum):
    """What a net knows before the first real label."""

    NOTHING = auto()
    SIMULATION = auto()
    IMAGENET = auto()  # what things look like, and nothing of grasps


@dataclass(frozen=True)
class Recipe:
    """How a net learns from real images, and who is asked afterwards."""

    begins: Begins
    strategy: Strategy
    asks_simulation: bool = False  # two nets that only know simulation as well; together they count half as much


def scratch(num_images: int) -> Recipe:
    """From nothing."""
    steps = 1500 if num_images >= MANY else 600 if num_images > FEW else 300
    return Recipe(Begins.NOTHING, replace(load_strategy("scratch"), steps=steps, batch_size=8))


def imagenet(num_images: int) -> Recipe:
    """From photographs of anything: as from nothing, and the deeper a part lies the slower it moves."""
    strategy, depths = scratch(num_images).strategy, Depths(heads=1.0, body=1.0, decay=0.85, num_stages=1000)
    return Recipe(
        Begins.IMAGENET,
        replace(strategy, name="photographs", start=Start.SOURCE, learning_rate=1e-3, depths=depths),
    )


def tuned(num_images: int) -> Recipe:
    """Few pictures nudge the net from simulation; many are learned freely by another one, and all are asked."""
    if num_images >= MANY:
        return replace(imagenet(num_images), asks_simulation=True)
    few = num_images <= FEW
    sim_frac = 0.5 if few else 0.25
    strategy = Strategy(
        name="pictures",
        about="every weight moves, held back by the source and by simulated pictures",
        start=Start.SOURCE,
        steps=100 if few else 250,
        learning_rate=5e-4,
        batch_size=12 if few else 16,
        statistics=Statistics.KEEP,
        unknown_weight=0.0 if few else 0.5,
        depths=Depths(heads=1.0, body=1.0, num_stages=1000),
        anchors=Anchors(distillation=1.0),
        mixture=Mixture(start_frac=sim_frac, end_frac=sim_frac),
    )
    return Recipe(Begins.SIMULATION, strategy)


@dataclass(frozen=True)
class Draw:
    """The images of one fold, judged by what learned from some of the others."""

    fold: int
    seed: int

    def images(self, pictures: Pictures, num: int) -> NDArray[np.int64]:
        """What is learned from; a smaller draw is part of a larger one."""
        others = np.flatnonzero(pictures.fold != self.fold)
        return np.random.default_rng((self.seed, self.fold)).permutation(others)[:num]


class Study:
    """Trains what is missing, and tells how it does on the images that it has not seen."""

    def __init__(self, pictures: Pictures, simulation: Simulation, folder: Path, progress: Progress) -> None:
        self._pictures, self._simulation, self._folder, self._progress = pictures, simulation, folder, progress
        self._trainers: dict[tuple[Begins, int], Trainer] = {}

    def untouched(self, draw: Draw) -> Outcomes:
        """Of the net that only knows simulation, on the images of a fold: (images, metrics)."""
        return self._judge({self._pretrained(draw.seed): 1.0}, draw.fold)

    def outcomes(self, draw: Draw, recipe: Recipe, num_images: int) -> Outcomes:
        """Of what learned from images of the other folds, on those of a fold: (images, metrics)."""
        lesson = Lesson(draw.images(self._pictures, num_images), np.empty(0, np.int64), draw.seed)
        label = f"{recipe.strategy.name} {num_images}, fold {draw.fold}, seed {draw.seed}"
        nets = {self._trainer(recipe.begins, draw.seed).tune(recipe.strategy, lesson, label).net: 1.0}
        if recipe.asks_simulation:
            nets |= {self._pretrained(seed): 0.25 for seed in (draw.seed, draw.seed + SECOND)}
        return self._judge(nets, draw.fold)

    def _judge(self, nets: Mapping[GraspNet, float], fold: int) -> Outcomes:
        judged = np.flatnonzero(self._pictures.fold == fold)
        weights = [array for net in nets for array in encoder_weights(net).values()]
        how = f"{READ} {JAW_PX} {METRICS} {list(nets.values())}"
        made_of = hash_of(*weights, self._pictures.frames.rgb[judged], how)
        path = self._folder / "outcomes" / f"{made_of}.npy"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.npy")
            np.save(partial, outcomes(nets, self._pictures, judged), allow_pickle=False)
            partial.replace(path)
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.bool_)

    def _trainer(self, begins: Begins, seed: int) -> Trainer:
        if (begins, seed) not in self._trainers:
            frames, simulation = self._pictures.frames, self._simulation
            spec = PHOTOGRAPHS if begins is Begins.IMAGENET else ENCODER
            source = self._pretrained(seed) if begins is Begins.SIMULATION else _fresh(spec, seed)
            made_of = hash_of(frames.rgb, frames.grasps, str(AUGMENTATION))
            if begins is not Begins.NOTHING:
                made_of = hash_of(made_of, *encoder_weights(source).values(), simulation.digest)
            domain = Domain(spec, VIEW, source, frames, simulation.mixed_in, augmentation=AUGMENTATION)
            self._trainers[begins, seed] = Trainer(domain, made_of, self._folder / "trainings", self._progress)
        return self._trainers[begins, seed]

    def _pretrained(self, seed: int) -> GraspNet:
        return self._simulation.pretrained(seed, self._folder, self._progress)


def _fresh(spec: EncoderSpec, seed: int) -> GraspNet:
    """A net that knows nothing of grasps; PHOTOGRAPHS knows what things look like."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_encoder(spec, pretrained=spec == PHOTOGRAPHS).eval()


def rates(found: Outcomes, draws: Sequence[Draw], metric: int) -> str:
    """Mean success with Wilson's interval over images: one is no more than one, however many seeds judged it."""
    values = found[:, :, metric]
    seeds = len({draw.seed for draw in draws})
    low, high = wilson(round(values.sum() / seeds), values.size // seeds)
    return f"{per_cent(float(values.mean()))} [{100 * low:.1f}, {100 * high:.1f}]"


def table(study: Study, draws: Sequence[Draw], sizes: Sequence[int], only_scratch: Sequence[int]) -> list[Row]:
    """Every row, once all is trained."""
    zero = np.stack([study.untouched(draw) for draw in draws])
    tuned_at = {n: np.stack([study.outcomes(draw, tuned(n), n) for draw in draws]) for n in sizes}
    scratch_sizes = sorted({*sizes, *only_scratch})
    scratch_at = {n: np.stack([study.outcomes(draw, scratch(n), n) for draw in draws]) for n in scratch_sizes}
    photographs = {n: np.stack([study.outcomes(draw, imagenet(n), n) for draw in draws]) for n in sizes if n >= MANY}
    rows = []
    for metric, name in enumerate(METRICS):
        rows.append(level(f"no real label, {name} metric", zero, draws, metric, CLASSICAL if metric == 0 else None))
        rows += [
            level(f"fine-tuned on {n}, {name} metric", tuned_at[n], draws, metric,
                  {25: 0.90, ALL: 0.95}.get(n) if metric == 0 else None)
            for n in sizes
        ]  # fmt: skip
        rows += [level(f"from scratch on {n}, {name} metric", scratch_at[n], draws, metric) for n in scratch_sizes]
        rows += [level(f"from ImageNet on {n}, {name} metric", photographs[n], draws, metric) for n in photographs]
        for n in sizes:
            rows.append(compared(f"from scratch, {n} images", tuned_at[n], scratch_at[n], draws, metric))
            others = {"the source": zero} | ({"from ImageNet": photographs[n]} if n in photographs else {})
            for other, found in others.items():
                gain = compared(f"{other}, {n} images", tuned_at[n], found, draws, metric)
                rows.append(replace(gain, must_reach="", reached=None))
        if SIZE_OF_SAVING in tuned_at:
            rows.append(saved(tuned_at[SIZE_OF_SAVING], scratch_at, metric))
    return rows


def level(what: str, found: Outcomes, draws: Sequence[Draw], metric: int, goal: float | None = None) -> Row:
    """One arm, at one number of images."""
    rate = float(found[:, :, metric].mean())
    numbers = {"rate": rate, "of_each_draw": found[:, :, metric].mean(axis=1).tolist(), "images": found.shape[1]}
    reached = None if goal is None else rate >= goal
    return Row(what, rates(found, draws, metric), "" if goal is None else per_cent(goal), reached, numbers)


def compared(other: str, a: Outcomes, b: Outcomes, draws: Sequence[Draw], metric: int) -> Row:
    """Fine-tuned minus another arm: the same images judge, and where it learned, the same ones taught."""
    shared = [draw for draw in draws for _ in range(a.shape[1])]
    difference = paired_mean_difference(
        a[:, :, metric].ravel(), b[:, :, metric].ravel(), shared, rng=np.random.default_rng(0)
    )
    mean, low, high = (100 * value for value in difference[:3])
    what = f"fine-tuned minus {other}, {list(METRICS)[metric]} metric"
    said = f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]"
    return Row(what, said, "above 0", low > 0, {"mean": mean, "low": low, "high": high, "p": difference[3]})


def saved(a: Outcomes, scratch_at: dict[int, Outcomes], metric: int) -> Row:
    """Between which numbers of images training from nothing comes to do as well as fine-tuning on ten.

    Only the sizes that were trained on are known: the factor is proven as far as the largest one that was too small.
    """
    goal = float(a[:, :, metric].mean())
    rate = {n: float(found[:, :, metric].mean()) for n, found in sorted(scratch_at.items())}
    enough = next((n for n, reached in rate.items() if reached >= goal), None)
    short = max((n for n in rate if enough is None or n < enough), default=0)
    low, high = short / SIZE_OF_SAVING, None if enough is None else enough / SIZE_OF_SAVING
    said = f"more than {low:.1f} x" + ("" if high is None else f", at most {high:.1f} x")
    what = f"images from scratch for what fine-tuning reaches with {SIZE_OF_SAVING}, {list(METRICS)[metric]} metric"
    return Row(what, said, "10 x", low >= 10, {"more_than": low, "at_most": high, "score": goal})


def main() -> None:
    """Renders and trains what is missing, judges, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="minutes, to see that it works; not a figure")
    parser.add_argument("--cornell", type=Path, default=CORNELL, help="folder of the images, with folds.json")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where trainings are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES, ALL], help="images to learn from")
    parser.add_argument("--only-scratch", type=int, nargs="*", default=[10 * SIZE_OF_SAVING], help="the same, one arm")
    parser.add_argument("--name", default="cornell", help="of the results file; another one for a part of the sizes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    progress, quick = Progress(), arguments.quick
    plan = Pretraining((24, 8), 30) if quick else Pretraining((6000, 4000), 1200)
    study = Study(load_pictures(arguments.cornell), load_simulation(plan, 1, progress), arguments.folder, progress)
    seeds, folds = (arguments.seeds[:1], arguments.folds[:2]) if quick else (arguments.seeds, arguments.folds)
    draws = [Draw(fold, seed) for seed in seeds for fold in folds]
    if len(draws) < 2:
        parser.error("an interval over draws needs two folds or two seeds at least")
    sizes, only_scratch = ([1], []) if quick else (arguments.sizes, arguments.only_scratch)
    save(arguments.name, table(study, draws, sizes, only_scratch), quick)


if __name__ == "__main__":
    main()
