"""A policy that runs on another computer.

Needs numpy, msgpack and websockets, and nothing else: it runs on the small computer beside the arm.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from simtoreal.contracts import Action, LinkLost, Observation
from simtoreal.serving.link import Link, LinkOptions
from simtoreal.serving.messages import (
    ACTIONS,
    CONTROL,
    CONTROL_HZ,
    EPISODE_START,
    IMAGE,
    IMAGE_KEY,
    SENT,
    MessageError,
    action_row,
    observation_message,
    own_ms,
    read_action,
)


class RemotePolicy:
    """Asks a policy server for every action.

    A policy remembers its episode, and the server forgets it with the connection: after a lost link, `act` goes on
    raising until `reset` begins a new episode over a new connection.

    Args:
        address: `host`, `host:port`, `ws://host:port` or `wss://host:port`.
        token: what the server wants to be shown.
        deadline_s: how long to wait for an action.
        reset_s: how long to wait for the beginning of an episode, with the connection that it may need.
        tls_ca: certificate (PEM) that the server's is verified with, for `wss://`.

    Raises:
        ValueError: the address is none.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        deadline_s: float = 0.2,
        reset_s: float = 5.0,
        tls_ca: Path | None = None,
    ) -> None:
        self._link = Link(address, "policy", LinkOptions(token=token, tls_ca=tls_ca, connect_s=reset_s))
        self._deadline_s, self._reset_s = deadline_s, reset_s
        self._sent: Action | None = None
        self._has_begun = False
        self.own_ms = 0.0  # what the policy itself took for the latest action

    @property
    def metadata(self) -> dict[str, Any]:
        """What the server says of its policy: name, control rate, keys that it needs."""
        self._link.open()
        return self._link.metadata

    @property
    def control_hz(self) -> float:
        """The rate that the policy was trained for."""
        return float(self.metadata.get(CONTROL_HZ, 0.0))

    @property
    def num_dropped(self) -> int:
        """Answers that came too late and were not used."""
        return self._link.num_dropped

    def reset(self) -> None:
        """Begins an episode, over a new connection where the last one is lost.

        Raises:
            LinkLost: the server cannot be reached, or refuses.
        """
        self._sent, self._has_begun = None, False
        try:
            self._link.open()
            self._link.call({CONTROL: EPISODE_START}, self._reset_s)
        except LinkLost:
            self._link.close()
            raise
        self._has_begun = True

    def act(self, observation: Observation) -> Action:
        """The action for an observation.

        Raises:
            LinkLost: there is none in time, or the link broke: stop the arm.
            RequestRefused: the observation lacks what the policy needs, or is not finite.
            RemoteFailure: the policy failed.
        """
        if not self._has_begun:
            raise LinkLost(f"{self._link.address}: no episode has begun on this connection; call reset")
        message = observation_message(observation, self._link.metadata.get(IMAGE_KEY, IMAGE))
        if self._sent is not None:
            message[SENT] = action_row(self._sent)
        try:
            answer = self._link.call(message, self._deadline_s)
            action = read_action(answer, ACTIONS)
        except MessageError as error:
            self._link.close()
            self._has_begun = False
            raise LinkLost(f"{self._link.address}: the server answers no action: {error}") from error
        finally:
            self._has_begun &= self._link.is_open
        self._sent = None
        self.own_ms = own_ms(answer)
        return action

    def sent(self, action: Action) -> None:
        self._sent = action  # goes along with the next observation

    def close(self) -> None:
        """Lets go of the server. Safe to call again; `reset` connects again."""
        self._has_begun = False
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
