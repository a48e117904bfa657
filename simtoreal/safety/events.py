"""What a guard says when a limit acts."""

from typing import NamedTuple

OPERATOR_STOP = "operator_stop"  # name of the event


class SafetyEvent(NamedTuple):
    """One limit that acted."""

    name: str
    value: float  # nan where there is no number
    limit: float
    t_s: float  # on the clock of the guard
    stops: bool = False  # whether the arm was held, or an action only changed
    detail: str = ""

    def __str__(self) -> str:
        what = "stopped" if self.stops else "limited"
        numbers = f"{self.value:.4g}, limit {self.limit:.4g}" if self.value == self.value else ""
        return f"{what} by {self.name}: {', '.join(part for part in (numbers, self.detail) if part)}"


class SafetyStop(RuntimeError):
    """The arm is held and nothing more is sent in this episode."""

    def __init__(self, event: SafetyEvent) -> None:
        super().__init__(str(event))
        self.event = event
