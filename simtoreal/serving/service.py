"""What a server serves: something that opens a session for each client, and answers one message at a time."""

from collections.abc import Mapping
from typing import Any, Protocol

from simtoreal.serving.metrics import Outcome


class Refused(Exception):
    """A request that is not carried out, for a reason that its sender is told."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Session(Protocol):
    """One client's share of a service. `answer` is called from one thread at a time, the others from any."""

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Carries out one request.

        Raises:
            MessageError: the message cannot be used; its sender is told why.
            Refused: likewise, for another reason.
        """
        ...

    def is_urgent(self, message: Mapping[str, Any]) -> bool:
        """Whether a message may not wait for the one before it, such as a stop."""
        ...

    def close(self) -> None:
        """The client is gone."""
        ...


class Service(Protocol):
    """A policy or a controller."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What a client is told when it connects."""
        ...

    def open(self) -> Session: ...

    def stop(self) -> bool:
        """Stops what moves, on request of an operator; False where there is nothing that could."""
        ...

    def close(self) -> None: ...
