"""How one clock runs against another, from messages that carry a stamp of one and were received on the other.

A message is never received before it was sent, so the true relation lies below all points (sent, received - sent), and
the earliest messages touch it. Of all lines below the points the one nearest to them on average is taken: the edge of
their lower convex hull above the mean time (Olson 2010, "A passive solution to the sensor synchronization problem").

What no one-way measurement can tell apart is the offset of a clock and the shortest delay of its messages: `offset_s`
is their sum.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
MAX_DRIFT_PPM = 1000.0  # quartz is within 100; a larger slope over a short time is noise


class ClockFit(NamedTuple):
    """`to_reference` puts stamps of the source on the reference clock."""

    offset_s: float  # reference minus source at `origin_s`, the shortest delay included
    drift_ppm: float  # how much faster the reference runs
    origin_s: float  # a time on the source clock, in the middle of what was measured
    delay_spread_s: float  # median delay beyond the shortest one
    num: int

    def to_reference(self, source_s: ArrayLike) -> FloatArray:
        """Times of the source clock (...) on the reference clock."""
        source = np.asarray(source_s, dtype=np.float64)
        return np.asarray(source + self.offset_s + 1e-6 * self.drift_ppm * (source - self.origin_s))


def fit_clock(source_s: ArrayLike, received_s: ArrayLike) -> ClockFit:
    """Fits the relation of two clocks.

    Args:
        source_s: stamps (N,) of the messages on the clock of their source, in any order.
        received_s: when each was received (N,), on the reference clock.

    Raises:
        ValueError: there is no message, or a time is not finite.
    """
    source, received = np.asarray(source_s, dtype=np.float64), np.asarray(received_s, dtype=np.float64)
    if source.size == 0 or source.shape != received.shape or not np.isfinite([source, received]).all():
        raise ValueError(f"a clock is fitted to finite pairs of times, got {source.shape} and {received.shape}")
    origin = float(source.mean())
    since, apart = source - origin, received - source
    slope, offset = _line_below(since, apart)
    if abs(slope) * 1e6 > MAX_DRIFT_PPM:
        slope, offset = 0.0, float(apart.min())
    delays = apart - (offset + slope * since)
    return ClockFit(offset, slope * 1e6, origin, float(np.median(delays)), source.size)


def _line_below(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Slope and height at x = 0, the mean, of the lower hull of some points."""
    hull: list[tuple[float, float]] = []
    for point in sorted(zip(x.tolist(), y.tolist(), strict=True)):
        if hull and hull[-1][0] == point[0]:
            continue  # sorted: the first one of a column is the lowest
        while len(hull) > 1 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    if len(hull) == 1:
        return 0.0, hull[0][1]
    right = next((index for index in range(1, len(hull)) if hull[index][0] >= 0.0), len(hull) - 1)
    (x0, y0), (x1, y1) = hull[right - 1], hull[right]
    slope = (y1 - y0) / (x1 - x0)
    return slope, y0 - slope * x0


def _turns_down(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b[0] - a[0]) * (c[1] - a[1]) <= (b[1] - a[1]) * (c[0] - a[0])
