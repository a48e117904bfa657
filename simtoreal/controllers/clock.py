"""Time that passes only where somebody waits, so that an hour of control takes seconds."""

from collections.abc import Callable

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
