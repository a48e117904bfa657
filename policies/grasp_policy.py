"""A grasping policy: something that says where to grasp, and a head that goes there."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simtoreal.contracts import Action, GraspEstimate, GraspSource, Observation
from simtoreal.head_interface import ACTION_DIM, HeadInterface, HeadScale
from simtoreal.policies.lookout import Lookout

_DOUBTFUL_QUALITY = 0.4  # a grasp that looks worse than this from close by deserves a second look at the whole scene


class Head(Protocol):
    """Turns an estimate and proprioception into motion; what it has to remember is in the interface."""

    def act(
        self, observation: Observation, estimate: GraspEstimate, interface: HeadInterface
    ) -> NDArray[np.floating]: ...


class GraspPolicy:
    """Perception and head, closed loop; notices a miss and says so to perception.

    Args:
        source: says where to grasp.
        head: goes there.
        scale: units of an action.
        looks_again: goes back to the first viewpoint after a miss, and once before any miss for a grasp that looks
            doubtful from close by; for sources that only know what they see.
    """

    def __init__(self, source: GraspSource, head: Head, scale: HeadScale, looks_again: bool = False) -> None:
        self.source = source
        self.head = head
        self.interface = HeadInterface(scale)
        self.estimate: GraspEstimate | None = None  # the latest, for pictures
        self._looks_again = looks_again
        self._lookout = Lookout()

    def reset(self) -> None:
        self.source.reset()
        self.interface.reset()
        self._lookout.reset()
        self.estimate = None
        self._may_doubt = True

    def act(self, observation: Observation) -> Action:
        self.interface.see(observation)
        self._lookout.begin(observation)
        if self.interface.tells_of_miss(observation, self.source):
            self._may_doubt = False  # it looks again now, and of places that failed it thinks little anyway
            self._start_over(observation)
        way_back = self._lookout.step(observation, self.interface)
        if way_back is not None:
            return self.interface.action(way_back, observation)
        self.estimate = self.source.estimate(observation)
        if self.estimate is None:  # nothing seen yet: stay and look, jaws open
            hold = np.zeros(ACTION_DIM)
            hold[4] = 1.0
            return self.interface.action(hold, observation)
        self._notice_doubt(observation, self.estimate)
        return self.interface.action(self.head.act(observation, self.estimate, self.interface), observation)

    def sent(self, action: Action) -> None:
        self.interface.sent(action)

    @property
    def num_misses(self) -> int:
        """How often the jaws have closed on nothing in this episode."""
        return self.interface.num_misses

    def _notice_doubt(self, observation: Observation, estimate: GraspEstimate) -> None:
        doubtful = estimate.quality < _DOUBTFUL_QUALITY and not self.interface.is_closing
        if self._looks_again and self._may_doubt and doubtful and self._lookout.is_above(observation):
            self._may_doubt = False  # once: what still looks doubtful from there is the best there is
            self._start_over(observation)

    def _start_over(self, observation: Observation) -> None:
        if self._looks_again:
            self._lookout.go_back(observation)


class RandomPolicy:
    """Moves at random inside the limits: the floor that every figure stands on."""

    def __init__(self, scale: HeadScale) -> None:
        self._interface = HeadInterface(scale)
        self._drift = np.zeros(ACTION_DIM)
        self.seed((0,))

    def seed(self, seed: tuple[int, ...]) -> None:
        """Starts a stream of chance of its own."""
        self._rng = np.random.default_rng(seed)

    def reset(self) -> None:
        self._interface.reset()
        self._drift = np.zeros(ACTION_DIM)

    def act(self, observation: Observation) -> Action:
        self._interface.see(observation)
        # Correlated in time, or it would tremble on the spot.
        self._drift = 0.8 * self._drift + 0.6 * self._rng.normal(size=ACTION_DIM)
        return self._interface.action(self._drift, observation)

    def sent(self, action: Action) -> None:
        self._interface.sent(action)
