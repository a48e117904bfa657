"""One fine-tuning: a strategy carried out on some episodes, stopped by others."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simtoreal.policies.encoders import EncoderSpec, GraspNet, build_encoder
from simtoreal.policies.view import ViewSpec
from simtoreal.pretraining.frame_sets import FrameSet
from simtoreal.pretraining.perception import grasp_loss, make_batch
from simtoreal.transfer.data.augmentation import Augmentation
from simtoreal.transfer.data.batches import Batch, BatchMaker, draw_balanced
from simtoreal.transfer.data.real_frames import RealFrames
from simtoreal.transfer.tuning import normalisation
from simtoreal.transfer.tuning.adapters import add_adapters, merged
from simtoreal.transfer.tuning.anchors import Anchor, anchor_at, as_targets, ewc, fisher, l2sp
from simtoreal.transfer.tuning.grasp_score import mean_miss, score_real
from simtoreal.transfer.tuning.stages import Mover, freeze_all_but, make_optimizer, movers, still_waiting
from simtoreal.transfer.tuning.strategy import Start, Statistics, Strategy, Unlabelled

_LOOKS = 8  # at the validation episodes, during a training
_SURE = 0.7  # of a grasp, or that there is none below a tenth: what self-training believes
_SCRATCH_DECAY = 1e-4
_MAX_ADAPT_FRAMES = 256
_WARM_FRAC = 0.1


@dataclass(frozen=True)
class Domain:
    """What a training can draw from."""

    spec: EncoderSpec
    view: ViewSpec
    source: GraspNet  # never changed
    real: RealFrames
    simulated: FrameSet | None = None
    device: str = "cpu"
    augmentation: Augmentation | None = None  # of the real frames; None is what suits the camera of the view


@dataclass(frozen=True)
class Lesson:
    """Which episodes to learn from, which to stop by, and for how long at most."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]  # none: trained for all of the steps
    seed: int
    steps: int | None = None  # instead of the strategy's; the schedule of rates stays that of the strategy
    on_step: Callable[[], None] = field(default=lambda: None, compare=False)


class Tuned(NamedTuple):
    """What came of it."""

    net: GraspNet  # on the CPU, for inference, without adapters
    steps: int  # taken until the validation episodes were best
    validation_miss: float  # then; nan without validation episodes
    num_trainable: int
    num_parameters: int
    seconds: float


def tune(strategy: Strategy, domain: Domain, lesson: Lesson) -> Tuned:
    """Carries out a strategy; the source is left as it is.

    Raises:
        ValueError: no frame to learn from carries a label, or simulated frames are needed and there are none.
    """
    started_s = time.monotonic()
    training = _Training(strategy, domain, lesson)
    steps, miss = training.run()
    return Tuned(
        training.net.cpu().eval(), steps, miss, training.num_trainable,
        sum(parameter.numel() for parameter in domain.source.parameters()), time.monotonic() - started_s,
    )  # fmt: skip


def start_net(strategy: Strategy, domain: Domain, seed: int) -> GraspNet:
    """The net before the first step: a copy of the source, or fresh weights."""
    if strategy.start is Start.SOURCE:
        return copy.deepcopy(domain.source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_encoder(domain.spec)


class _Training:
    """Net, optimizer and streams of random numbers of one training."""

    def __init__(self, strategy: Strategy, domain: Domain, lesson: Lesson) -> None:
        self._strategy, self._domain, self._lesson = strategy, domain, lesson
        self._maker = BatchMaker(
            domain.real, domain.view, strategy.augment, strategy.unknown_weight, domain.augmentation
        )
        self._frames = domain.real.of_episodes(lesson.train)
        self._validation = domain.real.of_episodes(lesson.validation)
        labelled = domain.real.is_labelled[self._frames]
        self._labelled, self._bare = self._frames[labelled], self._frames[~labelled]
        self._check()
        self.net = start_net(strategy, domain, lesson.seed).to(domain.device)
        self._source = copy.deepcopy(domain.source).to(domain.device).eval().requires_grad_(False)
        self._source_statistics = normalisation.statistics_of(self._source) if strategy.mixture.separate_norm else None
        if strategy.statistics is Statistics.ADAPT:
            index = self._frames[np.linspace(0, len(self._frames) - 1, _MAX_ADAPT_FRAMES).round().astype(int)]
            normalisation.adapt_statistics(self.net.eval(), self._maker.inputs(np.unique(index)).to(domain.device))
        self._anchor = self._make_anchor()
        self._moving = self._make_movers()
        self.num_trainable = sum(p.numel() for mover in self._moving for p in mover.parameters)

    def run(self) -> tuple[int, float]:
        """Trains; leaves the net as it was when the validation episodes were best."""
        steps = self._strategy.steps if self._lesson.steps is None else self._lesson.steps
        judged = len(self._validation) > 0
        from_nothing = self._strategy.start is Start.SCRATCH  # whose beginning is no candidate
        best_miss = math.inf if from_nothing and steps else self._look()
        best_steps, best = 0, copy.deepcopy(self.net.state_dict())
        optimizer = make_optimizer(self._moving, self._strategy.learning_rate, self._weight_decay) if steps else None
        for step in range(steps):
            assert optimizer is not None
            self._step(step, optimizer)
            self._lesson.on_step()
            if judged and ((step + 1) % max(1, steps // _LOOKS) == 0 or step + 1 == steps):
                miss = self._look()
                if miss < best_miss - 1e-9:
                    best_miss, best_steps, best = miss, step + 1, copy.deepcopy(self.net.state_dict())
        if judged:
            self.net.load_state_dict(best)
        self.net = merged(self.net, self._source).requires_grad_(False)
        return (best_steps, best_miss) if judged else (steps, math.nan)

    def _step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        progress = step / max(self._strategy.steps, 1)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * _schedule(progress)
        rng = np.random.default_rng((self._lesson.seed, step))
        self.net.train(self._strategy.statistics is Statistics.LEARN)
        optimizer.zero_grad(set_to_none=True)
        self._loss(progress, rng).backward()  # type: ignore[no-untyped-call]
        for parameter in still_waiting(self._moving, step):
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_([p for p in self.net.parameters() if p.grad is not None], 5.0)
        optimizer.step()

    def _loss(self, progress: float, rng: np.random.Generator) -> Tensor:
        share = self._strategy.mixture.frac_at(progress)
        num_simulated = round(share * self._strategy.batch_size)
        num_real = max(self._strategy.batch_size - num_simulated, 1)
        total = (1.0 - share) * self._real_loss(num_real, rng)
        if num_simulated:
            total = total + share * self._simulated_loss(num_simulated, rng)
        anchors = self._strategy.anchors
        if anchors.l2sp:
            total = total + anchors.l2sp * l2sp(self.net, self._anchor)
        if anchors.ewc:
            total = total + anchors.ewc * ewc(self.net, self._anchor)
        if self._strategy.unlabelled is not Unlabelled.NONE and len(self._bare):
            total = total + self._strategy.unlabelled_weight * self._unlabelled_loss(num_real, rng)
        return total

    def _real_loss(self, num: int, rng: np.random.Generator) -> Tensor:
        batch = self._draw(self._labelled, num, rng)
        predicted = self.net(batch.inputs)
        loss = grasp_loss(predicted, batch.wanted, batch.known)
        if self._strategy.anchors.distillation:
            with torch.no_grad():
                taught = as_targets(self._source(batch.inputs))
            loss = loss + self._strategy.anchors.distillation * grasp_loss(predicted, taught, 1.0 - batch.known)
        return loss

    def _simulated_loss(self, num: int, rng: np.random.Generator) -> Tensor:
        frames = self._domain.simulated
        assert frames is not None
        inputs, wanted = make_batch(frames, rng.integers(len(frames), size=num), self._domain.view, rng)
        device = self._domain.device
        predicted = normalisation.forward_with(self.net, self._source_statistics, inputs.to(device))
        return grasp_loss(predicted, wanted.to(device))

    def _unlabelled_loss(self, num: int, rng: np.random.Generator) -> Tensor:
        """What a frame without label is believed to show, asked of a disturbed copy of it."""
        batch = self._draw(self._bare, num, rng)
        teacher = self.net if self._strategy.unlabelled is Unlabelled.CONSISTENCY else self._source
        with torch.no_grad():
            taught = as_targets(teacher(batch.inputs))
        quality = taught[:, :, 0]
        sure = torch.ones_like(quality)
        if self._strategy.unlabelled is Unlabelled.SELF_TRAINING:
            sure = ((quality > _SURE) | (quality < 0.1)).float()
        noisy = batch.inputs + 0.05 * torch.from_numpy(rng.standard_normal(batch.inputs.shape).astype(np.float32)).to(
            batch.inputs.device
        )
        return grasp_loss(self.net(noisy), taught, sure)

    def _draw(self, index: NDArray[np.int64], num: int, rng: np.random.Generator) -> Batch:
        return self._maker.make(draw_balanced(self._domain.real, index, num, rng), rng).to(self._domain.device)

    def _look(self) -> float:
        if not len(self._validation):
            return math.nan
        net = merged(self.net, self._source).cpu().eval()
        return mean_miss(score_real(net, self._domain.real, self._validation, self._domain.view))

    def _make_anchor(self) -> Anchor:
        if not self._strategy.anchors.ewc:
            return anchor_at(self._source)
        assert self._domain.simulated is not None
        return anchor_at(
            self._source, fisher(self._source, self._domain.simulated, self._domain.view, self._lesson.seed)
        )

    def _make_movers(self) -> list[Mover]:
        moving = movers(self.net, self._strategy.depths, self._strategy.steps)
        freeze_all_but(self.net, moving)
        if self._strategy.adapter_rank:
            moving += add_adapters(self.net, self._strategy.adapter_rank, self._lesson.seed)
        return moving

    @property
    def _weight_decay(self) -> float:
        return _SCRATCH_DECAY if self._strategy.start is Start.SCRATCH else 0.0

    def _check(self) -> None:
        if self._strategy.steps and not len(self._labelled):
            raise ValueError(f"strategy {self._strategy.name}: none of the {len(self._frames)} frames carries a label")
        if self._strategy.needs_simulation and self._domain.simulated is None:
            raise ValueError(f"strategy {self._strategy.name} mixes in simulated frames, and none were rendered")


def _schedule(progress: float) -> float:
    """Factor of the learning rate: up over the first tenth, then down a half cosine to a twentieth."""
    if progress < _WARM_FRAC:
        return max(progress, 0.01) / _WARM_FRAC
    share = (progress - _WARM_FRAC) / (1.0 - _WARM_FRAC)
    return 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))
