"""How late one measured motion follows another: command and tool, tool and picture.

Both are reduced to a speed over time, brought to a common grid, and shifted against one another until they agree best.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from simtoreal.episodes.clock_fit import FloatArray

MIN_CORRELATION = 0.5
MAX_RIVAL = 0.95  # of the best agreement: motion that repeats itself has several lags that fit
GRID_S = 0.005
MIN_OVERLAP_S = 1.0
_SMALL_PX = (64, 48)


class Lag(NamedTuple):
    """`lag_s` is how much later the second motion is; None where it cannot be told, and then `why` says so."""

    lag_s: float | None
    correlation: float
    why: str = ""


def measure_lag(first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], max_lag_s: float = 0.5) -> Lag:
    """How much later the second of two speeds is.

    Args:
        first: times (N,) and speeds (N,), in any unit.
        second: times (M,) and speeds (M,), on the same clock, in a unit of its own.
        max_lag_s: largest lag that is looked for, in both directions.
    """
    start = max(float(np.min(first[0])), float(np.min(second[0]))) if len(first[0]) and len(second[0]) else 0.0  # type: ignore[arg-type]
    stop = min(float(np.max(first[0])), float(np.max(second[0]))) if len(first[0]) and len(second[0]) else 0.0  # type: ignore[arg-type]
    if stop - start < max(MIN_OVERLAP_S, 2.0 * max_lag_s):
        return Lag(None, 0.0, f"they overlap for {max(stop - start, 0.0):.1f} s only")
    grid = np.arange(start, stop, GRID_S)
    a, b = (_standard(np.interp(grid, times, values)) for times, values in (first, second))
    if a is None or b is None:
        return Lag(None, 0.0, "one of them does not move")
    correlation = signal.correlate(b, a, mode="full", method="fft") / grid.size
    lags = signal.correlation_lags(grid.size, grid.size, mode="full")
    # fewer samples overlap at a larger lag
    correlation = correlation * grid.size / np.maximum(grid.size - np.abs(lags), grid.size // 2)
    near = np.abs(lags) * GRID_S <= max_lag_s
    return _best(lags[near] * GRID_S, correlation[near])


def pose_speed(times_s: ArrayLike, positions_m: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Times (N - 1,) and speeds (N - 1,) of positions (N, 3), each between two of them."""
    times, positions = np.asarray(times_s, dtype=np.float64), np.asarray(positions_m, dtype=np.float64)
    steps_s = np.diff(times)
    moved = steps_s > 0
    speeds = np.linalg.norm(np.diff(positions, axis=0), axis=1)[moved] / steps_s[moved]
    return (0.5 * (times[1:] + times[:-1]))[moved], speeds


class ImageMotion:
    """How much a camera's picture changes, picture by picture: a speed without unit that follows the camera's motion."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.speeds: list[float] = []
        self._last: tuple[float, NDArray[np.float32]] | None = None

    def add(self, t_s: float, rgb: NDArray[np.uint8]) -> None:
        """Takes up the next picture (H, W, 3)."""
        small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), _SMALL_PX, interpolation=cv2.INTER_AREA)
        picture = small.astype(np.float32)
        if self._last is not None and t_s > self._last[0]:
            self.times_s.append(0.5 * (t_s + self._last[0]))
            self.speeds.append(float(np.abs(picture - self._last[1]).mean()) / (t_s - self._last[0]))
        self._last = (t_s, picture)

    @property
    def speed(self) -> tuple[FloatArray, FloatArray]:
        """Times (N,) and speeds (N,)."""
        return np.array(self.times_s), np.array(self.speeds)


def _standard(values: FloatArray) -> FloatArray | None:
    spread = float(values.std())
    return None if spread <= 1e-9 * max(1.0, float(np.abs(values).max())) else (values - values.mean()) / spread


def _best(lags_s: FloatArray, correlation: FloatArray) -> Lag:
    best = int(np.argmax(correlation))
    peak = float(correlation[best])
    if peak < MIN_CORRELATION:
        return Lag(None, peak, f"the motions do not resemble one another (correlation {peak:.2f})")
    if best in (0, len(lags_s) - 1):
        return Lag(None, peak, f"they agree best at the largest lag looked for, {lags_s[best]:+.2f} s")
    peaks, _ = signal.find_peaks(correlation)
    rivals = [float(correlation[index]) for index in peaks if index != best]
    if rivals and max(rivals) > MAX_RIVAL * peak:
        return Lag(None, peak, "the motion repeats itself: several lags fit")
    before, after = float(correlation[best - 1]), float(correlation[best + 1])
    bend = before - 2.0 * peak + after
    shift = 0.0 if bend == 0.0 else 0.5 * (before - after) / bend
    return Lag(float(lags_s[best]) + shift * GRID_S, peak)
