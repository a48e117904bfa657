"""From one estimate per episode to what is believed of all: their mean, how sure it is, and how episodes differ."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from simtoreal.identified import Posterior


def pool(values: Sequence[float], sds: Sequence[float], how: str, resolution: float = 0.0) -> Posterior:
    """Random effects: estimates scatter by their own errors and by true differences (DerSimonian and Laird 1986).

    Estimates far from the others weigh less (Huber weights), so that one odd episode does not decide.

    Args:
        values: one estimate per episode, at least one.
        sds: standard deviation of each.
        how: what they were found by.
        resolution: finer differences cannot be told whatever the logs say; added to the uncertainty.
    """
    x, own = np.asarray(values, dtype=np.float64), np.maximum(np.asarray(sds, dtype=np.float64), 1e-6)
    centre = float(np.median(x))
    scatter = 1.4826 * float(np.median(np.abs(x - centre)))
    outlying = np.minimum(1.0, 2.5 * np.maximum(scatter, own) / np.maximum(np.abs(x - centre), 1e-12))
    between = _between(x, own)
    weights = outlying / (own**2 + between)
    mean = float((weights * x).sum() / weights.sum())
    sd = math.hypot(math.sqrt(float((weights**2 * (own**2 + between)).sum())) / float(weights.sum()), resolution)
    reach = sd * (float(stats.t.ppf(0.975, len(x) - 1)) if len(x) > 1 else 1.96)
    return Posterior(mean, sd, mean - reach, mean + reach, math.sqrt(between), len(x), how)


def _between(x: np.ndarray, own: np.ndarray) -> float:
    """Variance of the true values, by moments."""
    if len(x) < 2:
        return 0.0
    weights = 1.0 / own**2
    mean = float((weights * x).sum() / weights.sum())
    heterogeneity = float((weights * (x - mean) ** 2).sum())
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    return max(0.0, (heterogeneity - (len(x) - 1)) / scale)


def reach_of_episodes(found: Posterior) -> tuple[float, float]:
    """Between what values 95 % of the episodes to come will lie."""
    reach = 1.96 * math.hypot(found.spread, found.sd)
    return min(found.low, found.mean - reach), max(found.high, found.mean + reach)
