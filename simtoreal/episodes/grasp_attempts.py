"""When the jaws closed in an episode, on what, and what became of it: read from widths, commands and tool poses.

A closing begins where the jaws are told to close (or are seen to, where no command was recorded) and ends where they
open again. Within it, the moment of closing is when the measured width stops shrinking. All times are those of the
measurements, so that a late observation does not shift them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.arm_tracks import ArmTracks, FloatArray


class Outcome(StrEnum):
    """What became of a closing."""

    HELD = "held"  # something stayed between the jaws while the tool rose
    EMPTY = "empty"  # the jaws closed on nothing
    SLIPPED = "slipped"  # something was between the jaws and was lost
    UNCLEAR = "unclear"  # something stalled the jaws, and the tool did not rise with it


class Attempt(NamedTuple):
    """One closing."""

    outcome: Outcome
    begins_s: float  # the jaws are told to close
    closes_s: float  # their width stops shrinking
    ends_s: float  # they open again, what they held is lost, or the episode ends
    T_base_tcp: FloatArray  # (4, 4), tool at `closes_s`
    width_m: float  # between the jaws then


@dataclass(frozen=True)
class AttemptConfig:
    """What counts as closed, as nothing between the jaws, and as lifted."""

    closed_frac: float = 0.5  # of the widest opening: told less than this, the jaws close
    press_m: float = 0.004  # told this much less than measured, they press on something
    empty_m: float = 0.002  # jaws that stop this close to their narrowest width, or to zero, hold nothing
    shrink_m: float = 0.003  # a closing is seen as such when the width has shrunk by this
    still_m: float = 0.001  # jaws that move less than this in `still_s` are still
    still_s: float = 0.15
    lift_m: float = 0.03  # a tool that rises this far with the jaws apart holds something


def find_attempts(tracks: ArmTracks, success: bool | None = None, config: AttemptConfig | None = None) -> list[Attempt]:
    """All closings of an episode, the earliest first; those that were broken off before the jaws stopped are none.

    Args:
        success: of the episode. Where it is False no closing that lasts to the end counts as held, and where it is
            True the one that lasts to the end counts as held without having risen.
    """
    config = config or AttemptConfig()
    if tracks.width_m.size < 3:
        return []
    nothing_m = _nothing(tracks, config)
    attempts = [_attempt(tracks, span, nothing_m, config) for span in _spans(_closing(tracks, config))]
    found = [attempt for attempt in attempts if attempt is not None]
    if found and success is not None and _lasts(found[-1], tracks):
        found[-1] = _judged(found[-1], success)
    return found


def _nothing(tracks: ArmTracks, config: AttemptConfig) -> float:
    """Width below which jaws that have stopped hold nothing; a gripper's zero may be a little off."""
    narrowest = float(tracks.width_m.min())
    told_to_touch = bool(tracks.told_m.min(initial=np.inf) <= config.empty_m)
    offset = narrowest if narrowest < config.empty_m or (not told_to_touch and narrowest < 2 * config.empty_m) else 0.0
    return max(offset, 0.0) + config.empty_m


def _closing(tracks: ArmTracks, config: AttemptConfig) -> NDArray[np.bool_]:
    """Whether the jaws are told to close, (N,), or seen to where nothing is known of commands."""
    told_m = tracks.told_at(tracks.width_t_s)
    if not np.isfinite(told_m).any():
        return _seen_closing(tracks, config)
    with np.errstate(invalid="ignore"):
        return (told_m < config.closed_frac * tracks.widest_m) | (told_m < tracks.width_m - config.press_m)


def _seen_closing(tracks: ArmTracks, config: AttemptConfig) -> NDArray[np.bool_]:
    """From widths alone: closed from where they begin to shrink from a plateau until they grow again."""
    closing = np.zeros(tracks.width_m.size, dtype=bool)
    top_m, low_m, is_closing, began = tracks.width_m[0], tracks.width_m[0], False, 0
    for index, width_m in enumerate(tracks.width_m):
        if not is_closing:
            if width_m >= top_m - config.still_m:
                top_m, began = max(float(width_m), 0.0), index
            is_closing, low_m = bool(width_m < top_m - 2 * config.shrink_m), width_m
            closing[began : index + 1] = is_closing
        else:
            low_m = min(low_m, width_m)
            is_closing = bool(width_m < low_m + 2 * config.shrink_m)
            closing[index] = is_closing
            top_m = width_m
    return closing


def _spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _attempt(tracks: ArmTracks, span: tuple[int, int], nothing_m: float, config: AttemptConfig) -> Attempt | None:
    first, stop = span
    closed = _stops_at(tracks, first, stop, config)
    if closed is None:
        return None
    closes_s = float(tracks.width_t_s[closed])
    T_base_tcp = tracks.poses.at(closes_s)
    if T_base_tcp is None:
        return None
    width_m = float(tracks.width_m[closed])
    outcome, last = _fate(tracks, closed, stop, nothing_m, config)
    ends_s = float(tracks.width_t_s[min(last, tracks.width_t_s.size - 1)])
    return Attempt(outcome, float(tracks.width_t_s[first]), closes_s, ends_s, T_base_tcp, width_m)


def _stops_at(tracks: ArmTracks, first: int, stop: int, config: AttemptConfig) -> int | None:
    """Index of the first sample from which the jaws, having shrunk, stay still for a while."""
    widths, times = tracks.width_m, tracks.width_t_s
    start_m = float(widths[max(first - 1, 0) : first + 1].max())
    shrunk = np.flatnonzero(widths[first:stop] < start_m - config.shrink_m)
    if not shrunk.size:
        return None
    for index in range(first + int(shrunk[0]), stop):
        until = int(np.searchsorted(times, times[index] + config.still_s - 1e-6))
        if until >= times.size or until > stop:
            return None
        if float(np.ptp(widths[index : min(until + 1, stop)])) < config.still_m:
            return index
    return None


def _fate(tracks: ArmTracks, closed: int, stop: int, nothing_m: float, config: AttemptConfig) -> tuple[Outcome, int]:
    """What became of a closing, and the index at which it ended."""
    width_m = float(tracks.width_m[closed])
    if width_m <= nothing_m:
        return Outcome.EMPTY, stop
    widths, heights = tracks.width_m[closed:stop], tracks.heights_m[closed:stop]
    lost = np.flatnonzero(widths <= nothing_m)  # what turns between the jaws may let them closer, and is still held
    if lost.size:
        return Outcome.SLIPPED, closed + int(lost[0])
    rose_m = float(np.nanmax(heights, initial=-np.inf) - heights[0])
    return (Outcome.HELD if rose_m >= config.lift_m else Outcome.UNCLEAR), stop


def _lasts(attempt: Attempt, tracks: ArmTracks) -> bool:
    """Whether a closing was not ended by anything but the end of the episode."""
    return bool(attempt.ends_s >= tracks.width_t_s[-1]) and attempt.outcome in (Outcome.HELD, Outcome.UNCLEAR)


def _judged(attempt: Attempt, success: bool) -> Attempt:
    """A closing that lasts to the end of an episode that somebody has judged."""
    return attempt._replace(outcome=Outcome.HELD if success else Outcome.UNCLEAR)
