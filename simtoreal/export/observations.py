"""Observations of whole episodes in one file, to be looked at again where there is no simulator."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Action, Observation

Episode = Sequence[Observation]
_OPTIONAL = ("rgb", "depth_m", "distortion")
_REQUIRED = ("t_s", "K", "T_base_cam", "T_base_tcp", "gripper_width_m")


def save_observations(episodes: Sequence[Episode], path: Path) -> None:
    """Writes episodes as one `.npz`; an image or a lens that the first observation lacks is left out of all.

    Raises:
        OSError: the file cannot be written.
        ValueError: there are none, or their pictures differ in size.
    """
    seen = [observation for episode in episodes for observation in episode]
    if not seen:
        raise ValueError("there are no observations to write")
    names = [*_REQUIRED, *(name for name in _OPTIONAL if getattr(seen[0], name) is not None)]
    arrays = {name: np.stack([np.asarray(getattr(observation, name)) for observation in seen]) for name in names}
    lengths = np.array([len(episode) for episode in episodes])
    np.savez_compressed(path, lengths=lengths, **arrays)  # type: ignore[arg-type]  # none is named allow_pickle


def load_observations(path: Path) -> list[Episode]:
    """Reads what `save_observations` wrote.

    Raises:
        OSError: there is no such file.
        ValueError: it holds something else.
    """
    with np.load(path, allow_pickle=False) as stored:
        if missing := {"lengths", *_REQUIRED} - set(stored.files):
            raise ValueError(f"{path} holds no observations: {', '.join(sorted(missing))} missing")
        arrays = {name: stored[name] for name in stored.files}
    ends = np.cumsum(arrays["lengths"]).tolist()
    return [list(_rows(arrays, start, end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _rows(arrays: dict[str, NDArray[Any]], start: int, end: int) -> Iterator[Observation]:
    for i in range(start, end):
        images = {name: arrays[name][i] if name in arrays else None for name in _OPTIONAL}
        yield Observation(
            t_s=float(arrays["t_s"][i]),
            rgb=images["rgb"],
            depth_m=images["depth_m"],
            K=arrays["K"][i],
            T_base_cam=arrays["T_base_cam"][i],
            T_base_tcp=arrays["T_base_tcp"][i],
            gripper_width_m=float(arrays["gripper_width_m"][i]),
            joint_positions_rad=None,
            distortion=images["distortion"],
        )


class SeenEpisode:
    """A `Controller` that shows an episode once more, whatever it is told to do."""

    def __init__(self, episode: Episode, control_hz: float) -> None:
        self._episode = episode
        self._control_hz = control_hz
        self._index = 0

    @property
    def control_hz(self) -> float:
        return self._control_hz

    def is_over(self, step: int) -> bool:
        """Whether all has been shown after so many periods."""
        return step >= len(self._episode)

    def connect(self) -> None:
        """Nothing to connect to."""

    def reset(self) -> Observation:
        self._index = 0
        return self._episode[0]

    def get_observation(self) -> Observation:
        return self._episode[min(self._index, len(self._episode) - 1)]

    def send_action(self, action: Action) -> Action:
        self._index += 1
        return action

    def stop(self) -> None:
        """Nothing moves."""

    def disconnect(self) -> None:
        """Nothing to disconnect from."""
