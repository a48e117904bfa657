"""One episode as identification needs it: what the arm was told and when, and where it was measured and when."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.arm_tracks import StoredEpisode, later_than_all_before

FloatArray = NDArray[np.float64]
MIN_SAMPLES = 20


@dataclass(frozen=True)
class MotionLog:
    """Times are on the clock of the episode; a measurement that was handed on twice counts once.

    The setpoint begins where the tool was measured first, as the control loop has it.
    """

    episode: int
    domain: str
    told_t_s: FloatArray  # (K,) beginnings of control periods
    setpoint_m: FloatArray  # (K, 3) where the tool shall be from then on
    told_width_m: FloatArray  # (K,) nan where nobody said
    start_m: FloatArray  # (3,) where the setpoint was before
    state_t_s: FloatArray  # (N,)
    position_m: FloatArray  # (N, 3) of the tool
    width_m: FloatArray  # (N,) nan where it was not measured
    ages_s: FloatArray  # (K,) of the measurement that each period began with; nan where unknown

    @property
    def period_s(self) -> float:
        """Median length of a control period."""
        return float(np.median(np.diff(self.told_t_s)))

    @property
    def steps_m(self) -> FloatArray:
        """(K, 3) how far every command moves the setpoint."""
        return np.diff(self.setpoint_m, axis=0, prepend=self.start_m[None])

    @property
    def states_have_a_clock(self) -> bool:
        """Whether measurements carry times of their own, and not those of the rows that they lie in."""
        return bool(np.nanmax(np.abs(self.ages_s[1:]), initial=0.0) > _SAME_S) or self.domain in SIMULATED

    @property
    def jaws_close_s(self) -> float:
        """When the jaws were first told to be less than half open; infinity if never."""
        widest_m = float(np.nanmax(self.told_width_m, initial=0.0))
        closing = np.flatnonzero(self.told_width_m < 0.5 * widest_m)
        return float(self.told_t_s[closing[0]]) if closing.size else float("inf")


SIMULATED = ("pybullet", "mujoco")  # worlds whose clock is known to be true
_SAME_S = 0.0005


def read_motion(episode: StoredEpisode, position: int) -> MotionLog | str:
    """The motion of an episode, or why there is too little of it."""
    row_t_s = np.asarray(episode.column("control_timestamp"), dtype=np.float64)
    state = np.asarray(episode.column("observation.state"), dtype=np.float64)
    state_t_s = np.asarray(episode.column("capture_timestamp.state"), dtype=np.float64)
    own_clock = np.isfinite(state_t_s)
    state_t_s = np.where(own_clock, state_t_s, row_t_s)
    actions = _actions(episode)
    told = later_than_all_before(row_t_s) & np.isfinite(actions[:, :3]).all(axis=1)
    seen = later_than_all_before(state_t_s) & np.isfinite(state[:, :3]).all(axis=1)
    if told.sum() < MIN_SAMPLES:
        return f"{int(told.sum())} commands were recorded, and {MIN_SAMPLES} are needed"
    if seen.sum() < MIN_SAMPLES:
        return f"the tool was measured {int(seen.sum())} times, and {MIN_SAMPLES} are needed"
    start_m = state[np.flatnonzero(seen)[0], :3]
    return MotionLog(
        episode=position,
        domain=episode.info.domain,
        told_t_s=row_t_s[told],
        setpoint_m=start_m + np.cumsum(actions[told, :3], axis=0),
        told_width_m=actions[told, 6],
        start_m=start_m,
        state_t_s=state_t_s[seen],
        position_m=state[seen, :3],
        width_m=state[seen, 7],
        ages_s=np.where(own_clock, row_t_s - state_t_s, np.nan)[told],
    )


def _actions(episode: StoredEpisode) -> FloatArray:
    """(N, 7) what was really sent; where nobody said, what was meant."""
    sent, meant = (np.asarray(episode.column(name), dtype=np.float64) for name in ("action", "action.commanded"))
    return np.where(np.isfinite(sent), sent, meant)
