"""The one statistics module: intervals, paired and unpaired comparisons, and sample sizes for success rates.

Three situations, three tools:

* one arm: `wilson`;
* the same scenes for both arms: `paired_difference`, `paired_ratio`, `mcnemar_exact`, and `paired_mean_difference`
  for errors instead of successes; `holm` where many differences are looked at;
* independent arms, such as two sets of real trials: `independent_difference`, `boschloo`.

Objects, not episodes, are the unit when the question is "objects never seen": pass `clusters` (the object of each
episode) and the interval is bootstrapped over objects.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

NUM_RESAMPLES = 4000  # the 2.5 % quantile is then known to about 0.25 % of its own level
_CHUNK = 500  # resamples drawn at once: bounds memory at 500 x number of clusters


class Interval(NamedTuple):
    """A confidence interval of a fraction, or of a difference or ratio of fractions."""

    low: float
    high: float

    def union(self, other: "Interval") -> "Interval":
        """The smallest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))


class Difference(NamedTuple):
    """Success fraction of a minus that of b, with its interval and the p value of "no difference"."""

    mean: float
    low: float
    high: float
    p: float


class Ratio(NamedTuple):
    """Successes of a as a fraction of those of b on the same scenes, with its interval; nan where b never succeeds."""

    ratio: float
    low: float
    high: float


def wilson(num_success: int, n: int, confidence: float = 0.95) -> Interval:
    """Score interval of a success fraction (Wilson 1927). With n = 0 nothing is known: (0, 1).

    >>> low, high = wilson(14, 20)
    >>> round(low, 2), round(high, 2)
    (0.48, 0.85)

    Raises:
        ValueError: `num_success` is outside 0..n, or `confidence` outside (0, 1).
    """
    _check_count(num_success, n)
    _check_fraction("confidence", confidence)
    if n == 0:
        return Interval(0.0, 1.0)
    interval = stats.binomtest(num_success, n).proportion_ci(confidence, method="wilson")
    return Interval(float(interval.low), float(interval.high))


def mcnemar_exact(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided exact p value that paired outcomes a (N,) and b (N,) have the same success rate (McNemar 1947).

    Only pairs that differ carry information; without any, p is 1.

    Raises:
        ValueError: a and b differ in length, are empty, or hold anything but successes and failures.
    """
    a_ok, b_ok = _outcome_pair(a, b)
    only_a, only_b = int(np.sum(a_ok & ~b_ok)), int(np.sum(b_ok & ~a_ok))
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Difference:
    """Difference in success of two arms that met the same scenes, outcomes a (N,) and b (N,).

    Without clusters: Newcombe's paired score interval (1998, method 10) and McNemar's exact p. With clusters (N,):
    bootstrap over clusters, never narrower than Newcombe's (a bootstrap of equal outcomes has no width, which is not
    certainty), and a sign-flip test over clusters.

    Raises:
        ValueError: lengths differ, nothing was given, or an outcome is not a success or failure.
    """
    a_ok, b_ok = _outcome_pair(a, b)
    mean = float(a_ok.mean() - b_ok.mean())
    interval = _newcombe_paired(a_ok, b_ok, confidence)
    if clusters is None:
        return Difference(mean, *interval, mcnemar_exact(a_ok, b_ok))
    totals = np.stack([a_ok, b_ok, np.ones(len(a_ok))], axis=1)
    bootstrapped = cluster_bootstrap(
        totals, clusters, lambda sums: (sums[:, 0] - sums[:, 1]) / sums[:, 2], rng=rng, confidence=confidence
    )
    interval = interval.union(bootstrapped)
    return Difference(mean, *interval, _sign_flip_p(a_ok, b_ok, clusters, rng))


def paired_ratio(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable], *, rng: np.random.Generator, confidence: float = 0.95
) -> Ratio:
    """Successes of a (N,) as a fraction of those of b (N,) on the same scenes: "of the oracle's success".

    The interval is bootstrapped over clusters (N,), and never narrower than Newcombe's paired interval of the
    difference divided by b's rate, so that two perfect arms are not reported as certainly equal.

    Raises:
        ValueError: lengths differ, nothing was given, or an outcome is not a success or failure.
    """
    a_ok, b_ok = _outcome_pair(a, b)
    if not b_ok.any():
        return Ratio(math.nan, math.nan, math.nan)
    ratio = float(a_ok.sum() / b_ok.sum())

    def ratio_of(sums: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[:, 0] / sums[:, 1])

    totals = np.stack([a_ok, b_ok], axis=1).astype(np.float64)
    bootstrapped = cluster_bootstrap(totals, clusters, ratio_of, rng=rng, confidence=confidence)
    difference = _newcombe_paired(a_ok, b_ok, confidence)
    rate = float(b_ok.mean())
    low, high = bootstrapped.union(Interval(1.0 + difference.low / rate, 1.0 + difference.high / rate))
    return Ratio(ratio, max(0.0, low), high)


def paired_mean_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Difference:
    """Difference in the mean of two arms that met the same cases, values a (N,) and b (N,), such as errors.

    The interval is bootstrapped over clusters (N,), and never narrower than Student's over the differences of the
    clusters: resampling a handful of them understates how little they say. With one cluster it is the whole line. The p
    value is that of a sign-flip test over clusters.

    Raises:
        ValueError: lengths differ, nothing was given, or a value is not finite.
    """
    _check_fraction("confidence", confidence)
    a_value, b_value = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a_value.ndim != 1 or a_value.shape != b_value.shape or not len(a_value):
        raise ValueError(f"paired values must be two lists of one length, got {a_value.shape}, {b_value.shape}")
    if not (np.isfinite(a_value).all() and np.isfinite(b_value).all()):
        raise ValueError("paired values must be finite")
    totals = np.stack([a_value - b_value, np.ones(len(a_value))], axis=1)
    sums = _cluster_sums(totals, clusters)
    mean = float(sums[:, 0].sum() / sums[:, 1].sum())
    if len(sums) < 2:
        return Difference(mean, -math.inf, math.inf, 1.0)
    interval = cluster_bootstrap(totals, clusters, lambda t: t[:, 0] / t[:, 1], rng=rng, confidence=confidence)
    means = sums[:, 0] / sums[:, 1]
    reach = float(stats.t.ppf(0.5 + 0.5 * confidence, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means)))
    return Difference(mean, *interval.union(Interval(mean - reach, mean + reach)), _flip_p(sums[:, 0], rng))


def holm(p_values: ArrayLike) -> FloatArray:
    """P values (N,) corrected for looking N times (Holm 1979): the chance that any of them is a false alarm.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]

    Raises:
        ValueError: a p value is outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p values must lie in [0, 1], got {p_values}")
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1.0)
    return corrected


def cluster_bootstrap(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    statistic: Callable[[FloatArray], FloatArray],
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic of sums, resampling whole clusters (objects) with replacement.

    Args:
        values: (N, K) per-episode values; column sums are what the statistic sees.
        clusters: (N,) the cluster of each episode.
        statistic: maps resampled sums (B, K) to (B,); resamples where it is not finite are left out.
        rng: draws the resamples.
        confidence: of the interval.

    Raises:
        ValueError: lengths differ, nothing was given, or the statistic is finite on no resample.
    """
    _check_fraction("confidence", confidence)
    sums = _cluster_sums(np.asarray(values, dtype=np.float64), clusters)
    num = len(sums)
    draws = []
    for start in range(0, NUM_RESAMPLES, _CHUNK):
        weights = rng.multinomial(num, np.full(num, 1.0 / num), size=min(_CHUNK, NUM_RESAMPLES - start))
        draws.append(statistic(weights @ sums))
    resampled = np.concatenate(draws)
    resampled = resampled[np.isfinite(resampled)]
    if not len(resampled):
        raise ValueError("the statistic is finite on no bootstrap resample: is its denominator always zero?")
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def boschloo(num_success_a: int, n_a: int, num_success_b: int, n_b: int) -> float:
    """Two-sided exact p value that two independent arms have the same success rate (Boschloo 1970).

    Uniformly more powerful than Fisher's test, which fixes both margins although only one is fixed here.

    Raises:
        ValueError: a count is out of range, or an arm is empty.
    """
    _check_arms(num_success_a, n_a, num_success_b, n_b)
    table = [[num_success_a, num_success_b], [n_a - num_success_a, n_b - num_success_b]]
    if num_success_a + num_success_b in (0, n_a + n_b):
        return 1.0  # every outcome the same; scipy answers nan
    return float(min(1.0, stats.boschloo_exact(table).pvalue))


def independent_difference(
    num_success_a: int, n_a: int, num_success_b: int, n_b: int, confidence: float = 0.95
) -> Difference:
    """Difference in success of two independent arms: Newcombe's score interval (1998, method 10) and Boschloo's p.

    Raises:
        ValueError: a count is out of range, or an arm is empty.
    """
    _check_arms(num_success_a, n_a, num_success_b, n_b)
    p_a, p_b = num_success_a / n_a, num_success_b / n_b
    interval = _newcombe(p_a, wilson(num_success_a, n_a, confidence), p_b, wilson(num_success_b, n_b, confidence))
    return Difference(p_a - p_b, *interval, boschloo(num_success_a, n_a, num_success_b, n_b))


def power_n(rate_a: float, rate_b: float, power: float = 0.8, significance: float = 0.05) -> int:
    """Trials per independent arm to tell two success rates apart, two-sided, to the nearest trial.

    Normal approximation with pooled variance under "no difference" (Fleiss, Levin and Paik 2003, eq. 4.14 without
    continuity correction).

    >>> power_n(0.6, 0.8), power_n(0.8, 0.9), power_n(0.9, 0.95)
    (81, 199, 434)

    Raises:
        ValueError: a rate is outside [0, 1], the rates are equal, or power or significance is outside (0, 1).
    """
    for name, value in (("rate_a", rate_a), ("rate_b", rate_b)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")
    if rate_a == rate_b:
        raise ValueError(f"no number of trials tells equal rates apart, got rate_a = rate_b = {rate_a}")
    _check_fraction("power", power)
    _check_fraction("significance", significance)
    pooled = 0.5 * (rate_a + rate_b)
    under_null = math.sqrt(2.0 * pooled * (1.0 - pooled))
    under_alternative = math.sqrt(rate_a * (1.0 - rate_a) + rate_b * (1.0 - rate_b))
    deviates = stats.norm.ppf(1.0 - significance / 2.0) * under_null + stats.norm.ppf(power) * under_alternative
    return max(1, round(float(deviates) ** 2 / (rate_a - rate_b) ** 2))


def _newcombe(p_a: float, ci_a: Interval, p_b: float, ci_b: Interval, phi: float = 0.0) -> Interval:
    """Newcombe's combination of two score intervals; `phi` is the correlation of the pairs, 0 if independent."""
    down_a, up_a, down_b, up_b = p_a - ci_a.low, ci_a.high - p_a, p_b - ci_b.low, ci_b.high - p_b
    below = math.sqrt(max(0.0, down_a**2 - 2.0 * phi * down_a * up_b + up_b**2))
    above = math.sqrt(max(0.0, up_a**2 - 2.0 * phi * up_a * down_b + down_b**2))
    return Interval(max(-1.0, p_a - p_b - below), min(1.0, p_a - p_b + above))


def _newcombe_paired(a: BoolArray, b: BoolArray, confidence: float) -> Interval:
    n = len(a)
    both, only_a = int(np.sum(a & b)), int(np.sum(a & ~b))
    only_b, neither = int(np.sum(b & ~a)), int(np.sum(~a & ~b))
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    excess = both * neither - only_a * only_b
    # the continuity correction of method 10 is for positive correlation only
    corrected = max(excess - n / 2, 0.0) if excess > 0 else float(excess)
    phi = corrected / math.sqrt(margins) if margins else 0.0
    num_a, num_b = both + only_a, both + only_b
    return _newcombe(num_a / n, wilson(num_a, n, confidence), num_b / n, wilson(num_b, n, confidence), phi)


def _sign_flip_p(a: BoolArray, b: BoolArray, clusters: Sequence[Hashable], rng: np.random.Generator) -> float:
    """Monte Carlo p of the summed difference when each cluster's sign is a coin flip; counts the data as one draw."""
    return _flip_p(_cluster_sums((a.astype(np.float64) - b)[:, None], clusters)[:, 0], rng)


def _flip_p(per_cluster: FloatArray, rng: np.random.Generator) -> float:
    observed = abs(per_cluster.sum())
    signs = rng.integers(0, 2, size=(NUM_RESAMPLES, len(per_cluster))) * 2 - 1
    extreme = np.sum(np.abs(signs @ per_cluster) >= observed - 1e-9)
    return float((extreme + 1) / (NUM_RESAMPLES + 1))


def _cluster_sums(values: FloatArray, clusters: Sequence[Hashable]) -> FloatArray:
    """Sums (C, K) of values (N, K) over their clusters, in order of first appearance."""
    if not len(values) or len(values) != len(clusters):
        raise ValueError(f"need one cluster per episode and at least one, got {len(values)} and {len(clusters)}")
    index: dict[Hashable, int] = {}
    codes = [index.setdefault(cluster, len(index)) for cluster in clusters]
    sums = np.zeros((len(index), values.shape[1]))
    np.add.at(sums, codes, values)
    return sums


def _outcome_pair(a: ArrayLike, b: ArrayLike) -> tuple[BoolArray, BoolArray]:
    a_raw, b_raw = np.asarray(a), np.asarray(b)
    if a_raw.ndim != 1 or a_raw.shape != b_raw.shape or not len(a_raw):
        raise ValueError(f"paired outcomes must be two lists of one length, got shapes {a_raw.shape}, {b_raw.shape}")
    for name, raw in (("a", a_raw), ("b", b_raw)):
        if not np.isin(raw, (0, 1)).all():
            raise ValueError(f"outcomes {name} must be success or failure (True or False), got {raw[:5]}")
    return a_raw.astype(np.bool_), b_raw.astype(np.bool_)


def _check_count(num_success: int, n: int) -> None:
    if not 0 <= num_success <= n:
        raise ValueError(f"num_success must lie in 0..n, got {num_success} of {n}")


def _check_arms(num_success_a: int, n_a: int, num_success_b: int, n_b: int) -> None:
    for name, num_success, n in (("a", num_success_a, n_a), ("b", num_success_b, n_b)):
        _check_count(num_success, n)
        if n == 0:
            raise ValueError(f"arm {name} has no trials")


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie in (0, 1), got {value}")
