"""How well a loop kept its beat."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Cadence(NamedTuple):
    """Beats of an episode or of a session, as measured on the monotonic clock."""

    num_periods: int
    num_missed: int  # deadlines that had passed when the work of the period was done
    mean_hz: float
    jitter_p50_s: float  # how late after its deadline a period began
    jitter_p99_s: float
    jitter_max_s: float

    @property
    def missed_frac(self) -> float:
        return self.num_missed / self.num_periods if self.num_periods else 0.0

    def __str__(self) -> str:
        return (
            f"{self.num_periods} periods at {self.mean_hz:.2f} Hz, {self.num_missed} missed "
            f"({100 * self.missed_frac:.2f} %), jitter {1e3 * self.jitter_p50_s:.2f} ms in the median, "
            f"{1e3 * self.jitter_p99_s:.2f} ms at the 99th percentile, {1e3 * self.jitter_max_s:.1f} ms at most"
        )


def cadence(lateness_s: Sequence[float], num_missed: int, passed_s: float) -> Cadence:
    """Sums up how late periods began; `passed_s` is the time that they took together."""
    if not lateness_s or passed_s <= 0.0:
        return Cadence(len(lateness_s), num_missed, 0.0, 0.0, 0.0, 0.0)
    late = np.asarray(lateness_s)
    p50_s, p99_s = np.percentile(late, [50, 99])
    return Cadence(len(late), num_missed, len(late) / passed_s, float(p50_s), float(p99_s), float(late.max()))
