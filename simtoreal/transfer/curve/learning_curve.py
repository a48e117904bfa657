"""Learning curves: a falling curve through what was measured, its band, and what it says of data that was saved.

The curve is a power law with a floor, `loss(n) = floor + drop * (n + 1) ** -rate`, the usual form for error against
examples (Hestness et al., arXiv 1712.00409), moved by one so that no example has a place on it too. It can only fall.
Bands are bootstrapped: seeds are drawn anew, and within each seed the episodes or objects that it was judged by; arms
and sizes share the draws, since they were judged by the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import FloatArray

NUM_RESAMPLES = 1000
MIN_GAIN = 0.01  # of the loss: less is not worth recording twice as many episodes for
_RATES = np.array(sorted(np.geomspace(0.1, 3.0, 25), key=lambda rate: abs(np.log(rate / 0.5))))  # usual ones first
_MIN_SECONDS = 1.0  # of a training: shorter ones have no factor
_MAX_DOUBLINGS = 3  # that a fitted curve is believed beyond what was measured


class Estimate(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Measured(NamedTuple):
    """What one seed measured: a loss for every unit that judged (U,) and every size (K,)."""

    units: tuple[str, ...]  # episodes or objects
    loss: FloatArray  # (U, K)
    seconds: FloatArray  # (K,) of training


@dataclass(frozen=True)
class Curves:
    """Fitted parameters of one arm: the fit itself in the first row, then one row for each resample."""

    sizes: NDArray[np.int64]  # (K,) that were measured
    mean: FloatArray  # (B + 1, K) loss as measured
    seconds: FloatArray  # (B + 1, K)
    floor: FloatArray  # (B + 1,)
    drop: FloatArray
    rate: FloatArray

    def at(self, sizes: Sequence[float] | FloatArray) -> FloatArray:
        """Loss (B + 1, S) at other sizes."""
        n = np.asarray(sizes, dtype=np.float64)
        return np.asarray(self.floor[:, None] + self.drop[:, None] * (n + 1.0) ** -self.rate[:, None])

    def size_for(self, loss: FloatArray) -> FloatArray:
        """Size (B + 1,) at which each curve comes down to a loss; 0 where it starts below, inf where it never does."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            size = (self.drop / (loss - self.floor)) ** (1.0 / self.rate) - 1.0
        size = np.where(loss <= self.floor, np.inf, np.maximum(size, 0.0))
        return np.where(loss >= self.floor + self.drop, 0.0, size)


def fit_curves(
    arms: Mapping[str, Mapping[int, Measured]], sizes: Mapping[str, Sequence[int]], rng: np.random.Generator
) -> dict[str, Curves]:
    """Fits a curve with its resamples to every arm.

    Args:
        arms: what each seed measured, by arm; the same seeds and units in every arm.
        sizes: of each arm, as columns of its losses.
        rng: draws the resamples.
    """
    seeds = sorted(next(iter(arms.values())))
    weights = _draw([next(iter(arms.values()))[seed].units for seed in seeds], rng)
    return {arm: _fit([found[seed] for seed in seeds], sizes[arm], weights) for arm, found in arms.items()}


def band(values: FloatArray) -> list[Estimate]:
    """Estimates from rows of a fit and its resamples (B + 1, S)."""
    low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
    return [Estimate(*map(float, row)) for row in zip(values[0], low, high, strict=True)]


def estimate(values: FloatArray) -> Estimate:
    """The same of one column (B + 1,)."""
    low, high = np.quantile(values[1:], [0.025, 0.975], method="nearest")  # which takes infinity for a number
    return Estimate(float(values[0]), float(low), float(high))


class Saved(NamedTuple):
    """What pretraining saved, at the loss that training from nothing comes down to with all episodes.

    Where the source alone is as good, what one episode needs is taken in its place, and the factors are lower bounds.
    """

    data: Estimate  # episodes from scratch per episode of fine-tuning
    time: Estimate  # the same of training time
    at_size: int  # episodes from scratch
    loss: float  # then
    num_needed: Estimate  # episodes of fine-tuning for it; inf where it was never as good
    at_least: bool


def what_was_saved(tuned: Curves, scratch: Curves) -> Saved:
    """Factors of real data and of training time saved by starting from the source.

    Where fine-tuning never comes down as far, it is turned round: what scratch needs for the loss of fine-tuning.
    """
    size = int(min(tuned.sizes[-1], scratch.sizes[-1]))
    loss = scratch.at([size])[:, 0]
    needed = tuned.size_for(loss)
    reached = needed <= size
    other = scratch.size_for(tuned.at([size])[:, 0])  # smaller than `size` where fine-tuning is worse
    data = np.where(reached, size / np.maximum(needed, 1.0), np.maximum(other, 1.0) / size)
    time = np.where(
        reached,
        _seconds(scratch, np.full_like(needed, size)) / _seconds(tuned, needed),
        _seconds(scratch, other) / _seconds(tuned, np.full_like(needed, size)),
    )
    needed_estimate = estimate(needed)
    return Saved(estimate(data), estimate(time), size, float(loss[0]), needed_estimate, bool(needed[0] <= 1.0))


class Outlook(NamedTuple):
    """What more episodes would bring, by the fitted curve of fine-tuning."""

    size: int  # episodes that there are
    gain_of_doubling: Estimate  # fall of the loss with twice as many
    num_worth: Estimate  # more episodes until doubling them gains less than `MIN_GAIN`
    capped: bool  # the curve still falls as far as it is believed


def outlook(tuned: Curves) -> Outlook:
    """How many more episodes are worth recording."""
    size = max(int(tuned.sizes[-1]), 1)
    sizes: FloatArray = np.float64(size) * 2.0 ** np.arange(_MAX_DOUBLINGS + 2, dtype=np.float64)
    gains = np.maximum(-np.diff(tuned.at(sizes), axis=1), 0.0)  # it cannot rise: (B + 1, _MAX_DOUBLINGS + 1)
    enough = gains < MIN_GAIN
    first = np.where(enough.any(axis=1), enough.argmax(axis=1), _MAX_DOUBLINGS)
    return Outlook(size, estimate(gains[:, 0]), estimate(sizes[first] - size), bool(first[0] == _MAX_DOUBLINGS))


class _Weights(NamedTuple):
    seeds: FloatArray  # (B + 1, S)
    units: list[FloatArray]  # (B + 1, U) of each seed


def _draw(units: Sequence[tuple[str, ...]], rng: np.random.Generator) -> _Weights:
    """How often each seed, and each unit within it, is drawn; the first row is what was measured."""
    seeds = _resampled(len(units), rng)
    known: dict[tuple[str, ...], FloatArray] = {}
    for names in units:  # seeds that were judged by the same units share their draws
        if names not in known:
            known[names] = _resampled(len(names), rng)
    return _Weights(seeds, [known[names] for names in units])


def _resampled(num: int, rng: np.random.Generator) -> FloatArray:
    drawn = rng.multinomial(num, np.full(num, 1.0 / num), size=NUM_RESAMPLES)
    return np.concatenate([np.ones((1, num)), drawn]) / num


def _fit(found: Sequence[Measured], sizes: Sequence[int], weights: _Weights) -> Curves:
    mean = sum(weights.seeds[:, [i]] * (weights.units[i] @ one.loss) for i, one in enumerate(found))  # (B + 1, K)
    seconds = weights.seeds @ np.stack([one.seconds for one in found])
    floor, drop, rate = _power_law(np.asarray(sizes, dtype=np.float64), np.asarray(mean))
    return Curves(np.asarray(sizes, dtype=np.int64), np.asarray(mean), seconds, floor, drop, rate)


def _power_law(sizes: FloatArray, loss: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least squares fit of every row (R, K) with floor and drop not below 0."""
    best = np.full(len(loss), np.inf)
    floor, drop, rate = loss.mean(axis=1), np.zeros(len(loss)), np.ones(len(loss))
    for tried in _RATES:
        x = (sizes + 1.0) ** -tried
        spread = float(((x - x.mean()) ** 2).sum())
        b = ((loss - loss.mean(axis=1, keepdims=True)) @ (x - x.mean())) / max(spread, 1e-12)
        a = loss.mean(axis=1) - b * x.mean()
        b = np.where(a < 0, (loss @ x) / float((x**2).sum()), b)  # through a floor of 0
        a = np.maximum(a, 0.0)
        a, b = np.where(b < 0, loss.mean(axis=1), a), np.maximum(b, 0.0)  # it does not fall
        error = ((loss - a[:, None] - b[:, None] * x) ** 2).sum(axis=1)
        better = error < best - 1e-9
        best = np.where(better, error, best)
        floor, drop, rate = np.where(better, a, floor), np.where(better, b, drop), np.where(better, tried, rate)
    return floor, drop, rate


def _seconds(curves: Curves, sizes: FloatArray) -> FloatArray:
    """Training time (B + 1,) at sizes (B + 1,), between those measured; below one episode that of the smallest."""
    trained = curves.sizes > 0
    x, y = curves.sizes[trained].astype(np.float64), curves.seconds[:, trained]
    at = np.clip(np.nan_to_num(sizes, posinf=x[-1]), x[0], x[-1])
    return np.array([max(float(np.interp(n, x, row)), _MIN_SECONDS) for n, row in zip(at, y, strict=True)])
