"""The clock of each topic: what its stamps are worth, and how they get onto the clock of the recorder."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simtoreal.episodes.clock_fit import ClockFit, FloatArray, fit_clock
from simtoreal.episodes.importing.topic_mapping import ClockChoice
from simtoreal.episodes.timeline import StreamTiming, measure_stream

MAX_TRANSPORT_S = 0.5  # a stamp that is older than this when it arrives is of another clock
MAX_AHEAD_S = 0.001  # a stamp cannot lie after its arrival
MAX_CREEP_S = 0.002  # by how much one and the same clock may seem to drift over a recording
_KEEP = 200_000


class StampLog:
    """Stamps of one topic as they come in, of which a bounded number is kept."""

    def __init__(self, topic: str) -> None:
        self.topic, self.num = topic, 0
        self._received, self._pairs = array("d"), (array("d"), array("d"))
        self._stride = 1

    def add(self, stamp_s: float | None, received_s: float) -> None:
        """Takes up a message; `stamp_s` is None where it has no time of its own."""
        if len(self._received) < _KEEP:
            self._received.append(received_s if stamp_s is None else stamp_s)
        if stamp_s is not None and self.num % self._stride == 0:
            for kept, value in zip(self._pairs, (stamp_s, received_s), strict=True):
                kept.append(value)
            if len(self._pairs[0]) >= _KEEP:
                self._pairs = (self._pairs[0][::2], self._pairs[1][::2])
                self._stride *= 2
        self.num += 1

    @property
    def stamps_s(self) -> FloatArray:
        """The stamps that were kept."""
        return np.array(self._pairs[0])

    def fit(self) -> ClockFit | None:
        """How the stamps run against the clock of the recorder; None without stamps."""
        return fit_clock(*map(np.array, self._pairs)) if len(self._pairs[0]) else None

    def timing(self, max_gap_s: float) -> StreamTiming:
        """Rate, jitter and gaps, of the first messages where there are very many."""
        return measure_stream(self.topic, np.array(self._received), max_gap_s)._replace(num=self.num)


class StreamClock(NamedTuple):
    """Puts the times of one topic on the clock of the recording."""

    fit: ClockFit | None  # applied where there is one
    use_stamps: bool

    def time_s(self, stamp_s: float | None, received_s: float) -> float:
        if stamp_s is None or not self.use_stamps:
            return received_s
        return stamp_s if self.fit is None else float(self.fit.to_reference(stamp_s))


def choose_clock(log: StampLog, choice: ClockChoice) -> tuple[StreamClock, Sequence[str]]:
    """The clock of a topic, and sentences about it where there is something to say."""
    fit = log.fit()
    if fit is None:
        return StreamClock(None, False), (f"{log.topic} has no stamps: when it was received counts",)
    if choice is ClockChoice.RECEIVED:
        return StreamClock(None, False), ()
    if choice is ClockChoice.HEADER or _is_own_clock(log, fit):
        return StreamClock(None, True), ()
    told = (
        f"{log.topic} is stamped by another clock, {fit.offset_s:+.6f} s off and drifting by {fit.drift_ppm:+.1f} ppm, "
        "and is put on the clock of the recorder. Its shortest transport counts as part of the offset",
    )
    return StreamClock(fit, True), told


def _is_own_clock(log: StampLog, fit: ClockFit) -> bool:
    """Whether the stamps can be of the recorder's clock: never ahead of it, and never far behind."""
    stamps = log.stamps_s
    ends = fit.to_reference([stamps.min(), stamps.max()]) - [stamps.min(), stamps.max()]
    creep_s = float(abs(ends[1] - ends[0]))
    return bool(ends.min() >= -MAX_AHEAD_S and ends.max() <= MAX_TRANSPORT_S and creep_s <= MAX_CREEP_S)
