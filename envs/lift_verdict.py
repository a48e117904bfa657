"""The second world's own judgement of an episode: what is in the air, for how long, and what touches it there.

A free object counts when it has been 10 cm above where it lay for a second, without table or block under it.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

LIFT_M, HOLD_S = 0.10, 1.0
_OFF_TABLE_M = 0.03  # what was this high and was not held was dropped
_ATTEMPT_FRAC = 0.5  # of the full opening: told to close below it, the jaws attempt a grasp
_PUSH_N = 60.0  # of the robot on table or blocks: a collision


class Glance(NamedTuple):
    """What the judge sees at the end of a control period."""

    t_s: float
    rises_m: tuple[float, ...]  # of each free object above where it lay
    supported: tuple[bool, ...]  # each: table or block touches it
    gripped: tuple[bool, ...]  # each: both fingers touch it
    told_frac: float  # opening that the jaws were told, of the full one
    push_n: float


@dataclass
class LiftVerdict:
    """How an episode goes so far."""

    success: bool = False
    held_object: int | None = None  # index of the object that the result belongs to
    num_attempts: int = 0
    _aloft_since_s: dict[int, float] = field(default_factory=dict)
    _highest_m: float = 0.0
    _was_told_to_close: bool = False
    _had_grip: bool = False
    _had_collision: bool = False

    def see(self, glance: Glance) -> None:
        """Takes in one control period."""
        closing = glance.told_frac < _ATTEMPT_FRAC
        self.num_attempts += int(closing and not self._was_told_to_close)
        self._was_told_to_close = closing
        self._had_grip |= closing and any(glance.gripped)
        self._had_collision |= glance.push_n > _PUSH_N
        self._highest_m = max(self._highest_m, *glance.rises_m)
        for index, (rise_m, supported) in enumerate(zip(glance.rises_m, glance.supported, strict=True)):
            if rise_m < LIFT_M or supported:
                self._aloft_since_s.pop(index, None)
            elif glance.t_s - self._aloft_since_s.setdefault(index, glance.t_s) >= HOLD_S - 1e-6 and not self.success:
                self.success, self.held_object = True, index

    @property
    def failure(self) -> str:
        """The kind of failure, empty on success: the same kinds as everywhere."""
        kinds = {
            "": self.success,
            "dropped": self._highest_m > _OFF_TABLE_M,
            "collided": self._had_collision,
            "slipped": self._had_grip,
            "missed": self.num_attempts > 0,
        }
        return next((kind for kind, happened in kinds.items() if happened), "timed_out")
