"""How old a measurement is when a control period begins, from the stamps of both.

Nothing arrives before it was measured, so the transport itself takes as long as the freshest measurements are old; what
the others are older by is jitter and waiting for the next period. Stamps that are made on arrival cannot tell.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.arm_tracks import StoredEpisode
from simtoreal.identification.motion_log import SIMULATED

FloatArray = NDArray[np.float64]
_FRESH_QUANTILE = 0.03
_SAME_S = 0.0005
_MIN_FRESH = 10
_MAX_AGE_S = 2.0


class ObservationAge(NamedTuple):
    """Of one stream of one episode."""

    latency_s: float  # of the freshest
    typical_s: float  # median of those handed on for the first time
    sd_s: float  # of the latency
    jitter_s: float  # standard deviation of a delay that is half a normal distribution
    missing_frac: float  # share of the control periods without a new measurement


def observation_age(episode: StoredEpisode, stream: str) -> ObservationAge | str:
    """The age of a stream (`state`, or the name of a camera) in an episode, or why it cannot be told."""
    row_t_s = np.asarray(episode.column("control_timestamp"), dtype=np.float64)
    captured_s = np.asarray(episode.column(f"capture_timestamp.{stream}"), dtype=np.float64)
    known = np.isfinite(row_t_s) & np.isfinite(captured_s)
    if known.sum() < _MIN_FRESH:
        return "there are too few capture times"
    row_t_s, captured_s = row_t_s[known], captured_s[known]
    fresh = np.flatnonzero(np.diff(captured_s, prepend=captured_s[0]) > 0)[1:]  # the first one was there from the start
    if fresh.size < _MIN_FRESH:
        return f"only {fresh.size} new measurements"
    ages_s = row_t_s[fresh] - captured_s[fresh]
    if np.abs(ages_s).max() < _SAME_S and episode.info.domain not in SIMULATED:
        return "capture times are those of the rows: stamped on arrival, or aligned when they were imported"
    if not 0.0 <= np.median(ages_s) <= _MAX_AGE_S:
        return f"capture times are {np.median(ages_s):+.2f} s before the rows: two clocks"
    latency_s = max(0.0, float(np.quantile(ages_s, _FRESH_QUANTILE)))
    typical_s = float(np.median(ages_s))
    spread_s = float(np.median(np.abs(ages_s - typical_s))) * 1.4826
    return ObservationAge(
        latency_s,
        typical_s,
        max(spread_s / np.sqrt(fresh.size), 0.001),
        max(0.0, (typical_s - latency_s) / 0.6745),
        1.0 - fresh.size / max(len(row_t_s) - fresh[0], 1),
    )
