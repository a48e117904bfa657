"""Streams of measurements on one clock: how regular each is, and what lies between two of its samples.

What was measured at other times than a picture is interpolated to the capture time of the picture, never matched by
index. Across a gap that is too long nothing is made up: there is no value.
"""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from simtoreal import frames
from simtoreal.episodes.clock_fit import ClockFit, FloatArray
from simtoreal.episodes.lag import Lag

Value = TypeVar("Value")
Interpolation = Callable[[Value, Value, float], Value]


def between_arrays(a: FloatArray, b: FloatArray, fraction: float) -> FloatArray:
    """On the straight line from one array to another of the same shape."""
    return np.asarray((1.0 - fraction) * a + fraction * b)


def latest(a: Value, b: Value, fraction: float) -> Value:
    """The earlier one until the later one: commands hold until the next."""
    return a if fraction < 1.0 else b


class Track(Generic[Value]):
    """Samples of one quantity over time, added in order; those no longer needed can be forgotten.

    Args:
        interpolation: what lies between two samples; `frames.interpolate` for poses.
        max_gap_s: longest time between two samples that is interpolated over.
    """

    def __init__(self, interpolation: Interpolation[Value], max_gap_s: float) -> None:
        self._interpolation, self.max_gap_s = interpolation, max_gap_s
        self._times_s: list[float] = []
        self._values: list[Value] = []

    def __len__(self) -> int:
        return len(self._times_s)

    @property
    def end_s(self) -> float:
        """Time of the last sample; minus infinity if there is none."""
        return self._times_s[-1] if self._times_s else -math.inf

    def add(self, t_s: float, value: Value) -> None:
        """Takes up the next sample; one with the time of the last replaces it.

        Raises:
            ValueError: it is older than the last one, or its time is not finite.
        """
        if not math.isfinite(t_s) or t_s < self.end_s:
            raise ValueError(f"time goes back from {self.end_s:.6f} s to {t_s:.6f} s")
        if t_s == self.end_s:
            self._values[-1] = value
            return
        self._times_s.append(t_s)
        self._values.append(value)

    def at(self, t_s: float) -> Value | None:
        """The value at a time; None before the first sample, after the last one, and in a gap."""
        index = bisect.bisect_right(self._times_s, t_s)
        if index and self._times_s[index - 1] == t_s:
            return self._values[index - 1]
        if index in (0, len(self._times_s)):
            return None
        before, after = self._times_s[index - 1], self._times_s[index]
        if after - before > self.max_gap_s:
            return None
        fraction = (t_s - before) / (after - before)
        return self._interpolation(self._values[index - 1], self._values[index], fraction)

    def held_at(self, t_s: float, max_age_s: float = math.inf) -> Value | None:
        """The last value at or before a time, unless it is older than that; None before the first."""
        index = bisect.bisect_right(self._times_s, t_s)
        if not index or t_s - self._times_s[index - 1] > max_age_s:
            return None
        return self._values[index - 1]

    def forget_before(self, t_s: float) -> None:
        """Drops what `at` and `held_at` need no more for times from `t_s` on."""
        keep = max(bisect.bisect_right(self._times_s, t_s) - 1, 0)
        if keep > 64:  # not for every sample: lists move what is behind
            del self._times_s[:keep], self._values[:keep]


def pose_track(max_gap_s: float) -> Track[FloatArray]:
    """A track of transforms (4, 4): position on a line, rotation by slerp."""
    return Track(frames.interpolate, max_gap_s)


class StreamTiming(NamedTuple):
    """How regularly a stream delivers."""

    name: str
    num: int
    rate_hz: float
    jitter_s: float  # half of the intervals differ from their median by less
    longest_gap_s: float
    num_gaps: int  # intervals of more than twice the median and more than the longest gap allowed
    num_backward: int  # stamps older than the one before
    num_repeated: int  # stamps equal to the one before


def measure_stream(name: str, stamps_s: ArrayLike, max_gap_s: float = 0.0) -> StreamTiming:
    """Rate, jitter and gaps of a stream of stamps (N,) in the order of arrival."""
    stamps = np.asarray(stamps_s, dtype=np.float64)
    intervals = np.diff(stamps)
    forward = intervals[intervals > 0]
    if forward.size == 0:
        return StreamTiming(
            name, stamps.size, 0.0, 0.0, 0.0, 0, int((intervals < 0).sum()), int((intervals == 0).sum())
        )
    median = float(np.median(forward))
    return StreamTiming(
        name,
        stamps.size,
        1.0 / median,
        float(np.median(np.abs(forward - median))),
        float(forward.max()),
        int((forward > max(2.0 * median, max_gap_s)).sum()),
        int((intervals < 0).sum()),
        int((intervals == 0).sum()),
    )


@dataclass(frozen=True)
class TimingReport:
    """What was measured about the timing of a recording."""

    streams: Sequence[StreamTiming] = ()
    clocks: Mapping[str, ClockFit] = field(default_factory=dict)  # of a stream's stamps, against when it was received
    lags: Mapping[str, Lag] = field(default_factory=dict)  # by `second after first`
    remarks: Sequence[str] = ()

    def table(self) -> str:
        """A Markdown table of the streams, then the lags and remarks line by line."""
        lines = [
            "| stream | samples | rate Hz | jitter ms | longest gap ms | gaps | backward | repeated "
            "| clock offset ms | drift ppm | delay spread ms |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for stream in self.streams:
            fit = self.clocks.get(stream.name)
            clock = (
                "| | | |"
                if fit is None
                else (f"| {1e3 * fit.offset_s:.2f} | {fit.drift_ppm:.1f} | {1e3 * fit.delay_spread_s:.2f} |")
            )
            lines.append(
                f"| {stream.name} | {stream.num} | {stream.rate_hz:.2f} | {1e3 * stream.jitter_s:.2f} "
                f"| {1e3 * stream.longest_gap_s:.1f} | {stream.num_gaps} | {stream.num_backward} "
                f"| {stream.num_repeated} {clock}"
            )
        lines += [f"{pair}: {lag.text}" for pair, lag in self.lags.items()]
        return "\n".join([*lines, *self.remarks])

    def to_plain(self) -> dict[str, Any]:
        """The same as plain values, as `EpisodeEnd.labels["timing"]` keeps them."""
        return {
            "streams": [stream._asdict() for stream in self.streams],
            "clocks": {name: fit._asdict() for name, fit in self.clocks.items()},
            "lags": {pair: lag._asdict() for pair, lag in self.lags.items()},
            "remarks": list(self.remarks),
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "TimingReport":
        """The inverse of `to_plain`.

        Raises:
            ValueError: a key is missing or unknown.
        """
        try:
            return cls(
                [StreamTiming(**stream) for stream in values["streams"]],
                {name: ClockFit(**fit) for name, fit in values["clocks"].items()},
                {pair: Lag(**lag) for pair, lag in values["lags"].items()},
                [str(remark) for remark in values["remarks"]],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a report of timing ({error!r})") from error
