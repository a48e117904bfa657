"""What is known of the grasps in a recorded frame, and the protocol of whoever knows it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from simtoreal.contracts import FloatArray
from simtoreal.episodes.reader import RecordedEpisode


class KnownGrasp(NamedTuple):
    """A place where the jaws closed, as a label of a frame: they held something there, or they did not."""

    T_base_grasp: FloatArray  # (4, 4), tool pose at closing
    width_m: float  # between the jaws then
    held: bool


class FrameLabels(NamedTuple):
    """What is known of one frame; without any grasp it is a frame without label, which is not a frame without grasps."""

    frame: int
    grasps: tuple[KnownGrasp, ...]


class LabelSource(Protocol):
    """Labels the frames of episodes, for one camera."""

    @property
    def version(self) -> str:
        """Changes with whatever changes the labels, so that nothing stale is used."""
        ...

    def label(self, episode: RecordedEpisode, camera: str) -> Sequence[FrameLabels]:
        """The frames of an episode that are worth looking at, in order."""
        ...
