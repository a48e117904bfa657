"""Statistics of columns as lerobot keeps them: per episode beside it, over all episodes in `meta/stats.json`.

Only what is known counts: NaN in a vector, and depth without a return, are left out. A column that an episode knows
nothing of has no statistics there.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
STATISTICS = ("min", "max", "mean", "std", "count", *QUANTILES)
Stats = dict[str, NDArray[np.float64]]
_STRIDE = 8  # every eighth pixel of every eighth line says enough about a picture


def vector_stats(values: NDArray[Any]) -> Stats | None:
    """Statistics of a column (N,) or (N, size) over its rows; None where nothing is finite in one of its entries."""
    rows = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    known = np.isfinite(rows)
    if not known.any(axis=0).all():
        return None
    rows = np.where(known, rows, np.nan)
    return {
        "min": np.nanmin(rows, axis=0),
        "max": np.nanmax(rows, axis=0),
        "mean": np.nanmean(rows, axis=0),
        "std": np.nanstd(rows, axis=0),
        "count": np.array([len(rows)], dtype=np.float64),
        **dict(zip(QUANTILES, np.nanquantile(rows, list(QUANTILES.values()), axis=0), strict=True)),
    }


class PictureStats:
    """Statistics of a stream of pictures, from a histogram of each channel.

    Args:
        num_channels: 3 for colour, 1 for depth.
        num_levels: values that a pixel can have; colour is given in [0, 1] as lerobot does, depth in steps.
    """

    def __init__(self, num_channels: int, num_levels: int) -> None:
        self._counts = np.zeros((num_channels, num_levels), dtype=np.int64)
        self._scale = 1.0 / 255.0 if num_levels == 256 else 1.0
        self._skips_zero = num_channels == 1
        self._num_pictures = 0

    def add(self, picture: NDArray[Any]) -> None:
        """Counts one picture (H, W) or (H, W, C)."""
        sample = picture[::_STRIDE, ::_STRIDE].reshape(-1, len(self._counts))
        for channel, counts in enumerate(self._counts):
            counts += np.bincount(sample[:, channel], minlength=len(counts))
        self._num_pictures += 1

    def result(self) -> Stats | None:
        """Statistics of shape (C, 1, 1); None where there was no picture or no return."""
        counts = self._counts.copy()
        if self._skips_zero:
            counts[:, 0] = 0
        totals = counts.sum(axis=1)
        if not totals.all():
            return None
        levels = np.arange(counts.shape[1]) * self._scale
        mean = counts @ levels / totals
        cumulative = np.cumsum(counts, axis=1) / totals[:, None]
        stats = {
            "min": levels[(counts > 0).argmax(axis=1)],
            "max": levels[counts.shape[1] - 1 - (counts[:, ::-1] > 0).argmax(axis=1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(counts @ levels**2 / totals - mean**2, 0.0)),
            **{name: levels[(cumulative >= share).argmax(axis=1)] for name, share in QUANTILES.items()},
        }
        shaped = {name: value.reshape(-1, 1, 1) for name, value in stats.items()}
        return {**shaped, "count": np.array([self._num_pictures], dtype=np.float64)}


def aggregate(episodes: Iterable[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Statistics over several episodes; quantiles are averaged by number of frames, as lerobot does."""
    total: dict[str, Stats] = {}
    for stats in episodes:
        for key, new in stats.items():
            total[key] = _pooled(total[key], new) if key in total else dict(new)
    return total


def _pooled(one: Stats, other: Stats) -> Stats:
    count = one["count"] + other["count"]
    share = float(other["count"][0] / count[0])
    mean = (1 - share) * one["mean"] + share * other["mean"]
    variance = (1 - share) * (one["std"] ** 2 + (one["mean"] - mean) ** 2)
    variance += share * (other["std"] ** 2 + (other["mean"] - mean) ** 2)
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": count,
        **{name: (1 - share) * one[name] + share * other[name] for name in QUANTILES},
    }


def to_plain(stats: Mapping[str, Stats]) -> dict[str, dict[str, Any]]:
    """Plain lists, as `meta/stats.json` holds them."""
    return {
        key: {name: [int(value[0])] if name == "count" else value.tolist() for name, value in values.items()}
        for key, values in stats.items()
    }
