"""What an episode says of the arm over time: tool pose and gripper width when measured, and what the jaws were told."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.episodes.records import EpisodeEnd, EpisodeInfo
from simtoreal.episodes.timeline import Track, pose_track

FloatArray = NDArray[np.float64]
MAX_GAP_S = 0.5  # longest time between two measurements of the pose that is interpolated over


class StoredEpisode(Protocol):
    """What is asked of an episode; `RecordedEpisode` has it."""

    @property
    def info(self) -> EpisodeInfo: ...
    @property
    def end(self) -> EpisodeEnd: ...
    def __len__(self) -> int: ...
    def column(self, name: str) -> NDArray[np.generic]: ...


@dataclass(frozen=True)
class ArmTracks:
    """Samples in the order of time; the same measurement handed on twice counts once.

    `width_t_s` (N,) are capture times, `told_t_s` (M,) the beginnings of control periods: on one clock, but not equal.
    """

    poses: Track[FloatArray]
    width_t_s: FloatArray
    width_m: FloatArray
    told_t_s: FloatArray  # empty where no command was recorded
    told_m: FloatArray
    heights_m: FloatArray  # (N,) of the tool at `width_t_s`, nan where unknown

    @property
    def widest_m(self) -> float:
        """The widest opening that was measured or told; 0 without any."""
        return float(max(self.width_m.max(initial=0.0), self.told_m.max(initial=0.0)))

    def told_at(self, t_s: FloatArray) -> FloatArray:
        """What the jaws were told last at these times (K,); nan before the first and where there is none."""
        index = np.searchsorted(self.told_t_s, t_s, side="right") - 1
        if not self.told_t_s.size:
            return np.full(np.shape(t_s), np.nan)
        return np.where(index >= 0, self.told_m[np.maximum(index, 0)], np.nan)


def arm_tracks(episode: StoredEpisode) -> ArmTracks:
    """The arm's side of an episode. Samples without a time, and those that go back in time, are left out."""
    state = np.asarray(episode.column("observation.state"), dtype=np.float64)
    row_t_s = np.asarray(episode.column("control_timestamp"), dtype=np.float64)
    t_s = np.asarray(episode.column("capture_timestamp.state"), dtype=np.float64)
    t_s = np.where(np.isfinite(t_s), t_s, row_t_s)
    poses = _poses(t_s, state)
    known = later_than_all_before(t_s) & np.isfinite(state[:, 7])
    sent, meant = (np.asarray(episode.column(name), dtype=np.float64)[:, 6] for name in ("action", "action.commanded"))
    told_m = np.where(np.isfinite(sent), sent, meant)
    told = later_than_all_before(row_t_s) & np.isfinite(told_m)
    return ArmTracks(poses, t_s[known], state[known, 7], row_t_s[told], told_m[told], state[known, 2])


def _poses(t_s: FloatArray, state: FloatArray) -> Track[FloatArray]:
    track = pose_track(MAX_GAP_S)
    for index in np.flatnonzero(later_than_all_before(t_s) & np.isfinite(state[:, :7]).all(axis=1)):
        track.add(float(t_s[index]), frames.from_quat(state[index, :3], state[index, 3:7]))
    return track


def later_than_all_before(t_s: FloatArray) -> NDArray[np.bool_]:
    """Which times (N,) are later than all before them."""
    filled = np.where(np.isfinite(t_s), t_s, -np.inf)
    before = np.concatenate([[-np.inf], np.maximum.accumulate(filled)[:-1]])
    return np.isfinite(t_s) & (t_s > before)
