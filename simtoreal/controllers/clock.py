"""Time that passes only where somebody waits, so that an hour of control takes seconds; and whose time counts."""

from collections.abc import Callable
from typing import Any

from simtoreal.safety.guard import TimeSource

_TICK_S = 0.005


class VirtualClock:
    """A clock to hand to whatever takes `now` and `sleep`; `on_tick` hear of every few milliseconds that pass."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self.on_tick: list[Callable[[], None]] = []

    def now(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Lets time pass."""
        end_s = self._now_s + max(seconds, 0.0)
        while end_s - self._now_s > 1e-9:
            self._now_s = min(self._now_s + _TICK_S, end_s)
            for listener in self.on_tick:
                listener()


def is_simulated(controller: Any) -> bool:
    """Whether time passes in the controller's actions and not by itself."""
    # Asked of the type: a cell has no time before its first reset.
    return hasattr(type(controller), "time_s") and not getattr(controller, "is_real_time", False)


def times_of(controller: Any) -> TimeSource:
    """What a guard counts on: the time of a simulation, or else this computer's."""
    return TimeSource(lambda: controller.time_s, lambda _: None) if is_simulated(controller) else TimeSource()
