"""Success, and which way an attempt failed, read from the physics: the same for every policy.

A free object is lifted 10 cm and held for a second; with several in the scene any of them counts.
"""

from dataclasses import dataclass, field

LIFT_M = 0.10
HOLD_S = 1.0
_OFF_TABLE_M = 0.03  # an object that was this high and is not any more was dropped
CLOSED_FRAC = 0.5  # of the full opening: a command below it counts as an attempt
_HARD_CONTACT_N = 60.0  # the hand on table or scenery with more than this is a collision, a brushing finger is not


@dataclass(frozen=True)
class Reading:
    """What the monitor needs from the cell after each control period."""

    t_s: float
    rises_m: tuple[float, ...]  # of each free object above where it lay
    commanded_width_frac: float  # of the full opening
    gripper_width_m: float
    finger_contacts: tuple[bool, ...]  # per object: both fingers touch it
    hard_contact_n: float  # of the robot with table or scenery


@dataclass
class Outcome:
    """Running result of one episode."""

    success: bool = False
    held_object: int | None = None  # index of the object the result belongs to
    num_attempts: int = 0
    failure: str = "timed_out"
    _held_since_s: list[float | None] = field(default_factory=list)
    _max_rise_m: list[float] = field(default_factory=list)
    _closed: bool = False
    _gripped: bool = False
    _gripping: bool = False
    _collided: bool = False
    _colliding: bool = False

    @property
    def is_gripping(self) -> bool:
        """Both fingers are on an object right now, with the jaws told to close."""
        return self._gripping

    @property
    def is_colliding(self) -> bool:
        return self._colliding

    def update(self, reading: Reading) -> None:
        if not self._held_since_s:
            self._held_since_s = [None] * len(reading.rises_m)
            self._max_rise_m = [0.0] * len(reading.rises_m)
        closed = reading.commanded_width_frac < CLOSED_FRAC
        self.num_attempts += int(closed and not self._closed)
        self._closed = closed
        self._gripping = closed and any(reading.finger_contacts)
        self._colliding = reading.hard_contact_n > _HARD_CONTACT_N
        self._gripped |= self._gripping
        self._collided |= self._colliding
        for i, rise in enumerate(reading.rises_m):
            self._max_rise_m[i] = max(self._max_rise_m[i], rise)
            self._update_hold(i, rise, reading.t_s)
        self.failure = self._classify()

    def _update_hold(self, index: int, rise_m: float, t_s: float) -> None:
        if rise_m < LIFT_M:
            self._held_since_s[index] = None
            return
        since = self._held_since_s[index]
        if since is None:
            self._held_since_s[index] = t_s
        elif t_s - since >= HOLD_S - 1e-6 and not self.success:
            self.success, self.held_object = True, index

    def _classify(self) -> str:
        if self.success:
            return ""
        if max(self._max_rise_m, default=0.0) > _OFF_TABLE_M:
            return "dropped"
        if self._collided:
            return "collided"
        if self._gripped:
            return "slipped"
        return "missed" if self.num_attempts else "timed_out"
