"""What is known of the grasps in a recorded frame, and who knows it: hindsight, or whoever else keeps the protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import simtoreal
from simtoreal.contracts import FloatArray
from simtoreal.episodes.grasp_views import Sight
from simtoreal.episodes.hindsight import GraspLabel, HindsightConfig, label_episode
from simtoreal.episodes.reader import RecordedEpisode

_VERSION = 1  # of what is made of hindsight here


class KnownGrasp(NamedTuple):
    """A place where the jaws closed, as a label of a frame: they held something there, or they did not."""

    T_base_grasp: FloatArray  # (4, 4), tool pose at closing
    width_m: float  # between the jaws then
    held: bool


class LabelledFrame(NamedTuple):
    """What is known of one frame; without any grasp it has no label, which does not mean that it shows no grasp."""

    frame: int
    grasps: tuple[KnownGrasp, ...]


class LabelSource(Protocol):
    """Labels the frames of episodes, for one camera."""

    @property
    def version(self) -> str:
        """Changes with whatever changes the labels, so that nothing stale is used."""
        ...

    def label(self, episode: RecordedEpisode, camera: str) -> Sequence[LabelledFrame]:
        """The frames of an episode, in order."""
        ...


@dataclass(frozen=True)
class Hindsight:
    """Where the jaws closed later, in the frames that the camera shows the place in."""

    config: HindsightConfig = field(default_factory=HindsightConfig)

    @property
    def version(self) -> str:
        return f"{_VERSION} {simtoreal.__version__} {self.config}"

    def label(self, episode: RecordedEpisode, camera: str) -> Sequence[LabelledFrame]:
        """The frames of an episode; where the place is hidden or out of view a frame has no label.

        Raises:
            DatasetError: a frame cannot be read.
        """
        found = []
        for frame in label_episode(episode, self.config).frames:
            labels = (*frame.failed, *((frame.grasp,) if frame.grasp is not None else ()))
            found.append(LabelledFrame(frame.frame, tuple(_known(label) for label in labels if _shown(label, camera))))
        return found


def _shown(label: GraspLabel, camera: str) -> bool:
    view = label.views.get(camera)
    return view is not None and view.sight is Sight.VISIBLE


def _known(label: GraspLabel) -> KnownGrasp:
    return KnownGrasp(label.T_base_grasp, label.width_m, label.positive)
