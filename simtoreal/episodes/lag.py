"""How late one measured motion follows another: command and tool, tool and picture.

Both are reduced to a speed over time, brought to a common grid, and shifted against one another until they agree best.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.episodes.clock_fit import FloatArray

MIN_CORRELATION = 0.5
MAX_RIVAL = 0.95  # of the best agreement: motion that repeats itself has several lags that fit
GRID_S = 0.005
MAX_GRID = 200_000  # samples, a quarter of an hour
MIN_OVERLAP_S = 1.0
MAX_SAMPLES = 100_000
_SMALL_PX = (64, 48)
Speed = tuple[FloatArray, FloatArray]  # times (N,) and speeds (N,), in any unit


class Lag(NamedTuple):
    """`lag_s` is how much later the second motion is; None where it cannot be told, and then `why` says so."""

    lag_s: float | None
    correlation: float
    why: str = ""

    @property
    def text(self) -> str:
        """The lag in words."""
        if self.lag_s is None:
            return f"no lag can be told: {self.why}"
        return f"{1e3 * self.lag_s:+.0f} ms (correlation {self.correlation:.2f})"


class PathSpeed:
    """The speed of a point, from its positions one by one; of the first ones where there are very many."""

    def __init__(self) -> None:
        self._times_s: list[float] = []
        self._speeds: list[float] = []
        self._last: tuple[float, FloatArray] | None = None

    @property
    def speed(self) -> Speed:
        """Times between two positions each, and speeds in metres per second."""
        return np.array(self._times_s), np.array(self._speeds)

    def add(self, t_s: float, position_m: ArrayLike) -> None:
        """Takes up the next position (3,)."""
        position = np.asarray(position_m, dtype=np.float64)
        if self._last is not None and t_s > self._last[0] and len(self._times_s) < MAX_SAMPLES:
            self._times_s.append(0.5 * (t_s + self._last[0]))
            self._speeds.append(float(np.linalg.norm(position - self._last[1])) / (t_s - self._last[0]))
        self._last = (t_s, position)


class ImageMotion:
    """How much a camera's picture changes from one to the next: a speed without unit that follows its motion."""

    def __init__(self) -> None:
        self._times_s: list[float] = []
        self._speeds: list[float] = []
        self._last: tuple[float, NDArray[np.float32]] | None = None

    @property
    def speed(self) -> Speed:
        """Times between two pictures each, and speeds."""
        return np.array(self._times_s), np.array(self._speeds)

    def add(self, t_s: float, rgb: NDArray[np.uint8]) -> None:
        """Takes up the next picture (H, W, 3)."""
        if len(self._times_s) >= MAX_SAMPLES:
            return
        small = cv2.resize(rgb, _SMALL_PX, interpolation=cv2.INTER_AREA)
        picture = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        if self._last is not None and t_s > self._last[0]:
            self._times_s.append(0.5 * (t_s + self._last[0]))
            self._speeds.append(float(np.abs(picture - self._last[1]).mean()) / (t_s - self._last[0]))
        self._last = (t_s, picture)


def measure_lag(first: Speed, second: Speed, max_lag_s: float = 0.5) -> Lag:
    """How much later the second of two speeds is, on the same clock.

    Args:
        first: times (N,) and speeds (N,).
        second: times (M,) and speeds (M,), in a unit of its own.
        max_lag_s: largest lag that is looked for, in both directions.
    """
    if not len(first[0]) or not len(second[0]):
        return Lag(None, 0.0, "one of them was not measured")
    start_s, stop_s = max(first[0][0], second[0][0]), min(first[0][-1], second[0][-1])
    if stop_s - start_s < max(MIN_OVERLAP_S, 3.0 * max_lag_s):
        return Lag(None, 0.0, f"they overlap for {max(stop_s - start_s, 0.0):.1f} s only")
    grid_s = np.arange(start_s, stop_s, GRID_S)[:MAX_GRID]
    a, b = (np.interp(grid_s, times_s, values) for times_s, values in (first, second))
    steps = np.arange(-round(max_lag_s / GRID_S), round(max_lag_s / GRID_S) + 1)
    correlation = np.array([_correlation(a, b, int(step)) for step in steps])
    if np.isnan(correlation).any():
        return Lag(None, 0.0, "one of them does not move")
    return _best(GRID_S * steps.astype(np.float64), correlation)


def _correlation(a: FloatArray, b: FloatArray, step: int) -> float:
    """Correlation of `a` with `b` that is `step` samples later, where both are there; nan without any motion."""
    late, early = (b[step:], a[: a.size - step]) if step >= 0 else (b[:step], a[-step:])
    late, early = late - late.mean(), early - early.mean()
    power = float((late @ late) * (early @ early))
    return float(late @ early) / power**0.5 if power > 1e-18 else float("nan")


def _best(lags_s: FloatArray, correlation: FloatArray) -> Lag:
    best = int(np.argmax(correlation))
    peak = float(correlation[best])
    if peak < MIN_CORRELATION:
        return Lag(None, peak, f"the motions do not resemble one another (correlation {peak:.2f})")
    if best in (0, len(lags_s) - 1):
        return Lag(None, peak, f"they agree best at the largest lag looked for, {lags_s[best]:+.2f} s")
    inner = correlation[1:-1]
    is_peak = (inner >= correlation[:-2]) & (inner > correlation[2:])
    rivals = [float(value) for index, value in enumerate(inner, start=1) if is_peak[index - 1] and index != best]
    if rivals and max(rivals) > MAX_RIVAL * peak:
        return Lag(None, peak, "the motion repeats itself: several lags fit")
    before, after = float(correlation[best - 1]), float(correlation[best + 1])
    bend = before - 2.0 * peak + after
    shift = 0.0 if bend == 0.0 else 0.5 * (before - after) / bend
    return Lag(float(lags_s[best]) + shift * GRID_S, peak)
