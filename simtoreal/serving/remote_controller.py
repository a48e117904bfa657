"""A robot that is connected to another computer.

Needs numpy, msgpack and websockets, and nothing else.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from simtoreal.contracts import Action, LinkLost, Observation
from simtoreal.schema import ConfigError, unknown_key
from simtoreal.serving.link import Link, LinkOptions, RemoteFailure, RequestRefused
from simtoreal.serving.messages import (
    ACTION,
    CALL,
    CONTROL_HZ,
    SENT,
    MessageError,
    action_row,
    own_ms,
    read_action,
    read_observation,
)
from simtoreal.serving.tokens import read_token

_STOP_S = 0.2
_OPTIONS = ("token_file", "tls_ca")


class RemoteController:
    """A `Controller` behind `simtoreal serve controller=NAME`.

    The server stops the arm where this client goes, or says nothing for a while after an action; no action is taken
    after that until `reset`. So a lost link always ends in a stop, whether or not anything can be told over it.

    Args:
        address: `host`, `host:port`, `ws://host:port` or `wss://host:port`.
        token: what the server wants to be shown.
        deadline_s: how long an observation or an action may take, the controller's own time included.
        reset_s: how long a reset may take, motion included.
        tls_ca: certificate (PEM) that the server's is verified with, for `wss://`.

    Raises:
        ValueError: the address is none.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        deadline_s: float = 0.5,
        reset_s: float = 60.0,
        tls_ca: Path | None = None,
    ) -> None:
        self._link = Link(address, "controller", LinkOptions(token=token, tls_ca=tls_ca))
        self._deadline_s, self._reset_s = deadline_s, reset_s
        self.own_ms = 0.0  # what the controller itself took for the latest call

    @property
    def control_hz(self) -> float:
        """Periods per second of the controller on the other side; connects to ask.

        Raises:
            LinkLost: it cannot be reached.
        """
        self._link.open()
        return float(self._link.metadata[CONTROL_HZ])

    def connect(self) -> None:
        """Connects, unless it is connected.

        Raises:
            LinkLost: the server cannot be reached, or refuses.
        """
        self._link.open()

    def reset(self) -> Observation:
        self._link.open()
        return self._observation("reset", self._reset_s)

    def get_observation(self) -> Observation:
        return self._observation("observe", self._deadline_s)

    def send_action(self, action: Action) -> Action:
        """Sends one action and returns the action really sent, after the limits on the other side.

        Raises:
            LinkLost: the link broke, there was no answer in time, or the arm was stopped since the last reset.
            ValueError: the action is not finite.
        """
        answer = self._call("act", self._deadline_s, {ACTION: action_row(action)})
        try:
            return read_action(answer, SENT)
        except MessageError as error:
            raise self._garbage(error) from error

    def stop(self) -> None:
        """Stops all motion; from any thread, and never raises: without a link, the other side has stopped already."""
        try:
            if not self._link.is_idle:
                self._link.post({CALL: "stop"})  # somebody waits for an answer: it must not be waited for
            elif self._link.is_open:
                self._link.call({CALL: "stop"}, _STOP_S)
        except (LinkLost, RequestRefused, RemoteFailure):
            self._link.close()  # which stops it as well

    def disconnect(self) -> None:
        if self._link.is_open:
            self.stop()
        self._link.close()

    def _observation(self, call: str, timeout_s: float) -> Observation:
        answer = self._call(call, timeout_s)
        try:
            return read_observation(answer)
        except MessageError as error:
            raise self._garbage(error) from error

    def _call(self, call: str, timeout_s: float, more: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        answer = self._link.call({CALL: call, **more}, timeout_s)
        self.own_ms = own_ms(answer)
        return answer

    def _garbage(self, error: MessageError) -> LinkLost:
        self._link.close()
        return LinkLost(f"{self._link.address}: the server answers what is none of this: {error}")


class Opening(Protocol):
    """Where the controller is; what a table of controllers by name hands to those who open them."""

    @property
    def address(self) -> str | None: ...
    @property
    def options(self) -> tuple[str, ...]:
        """`KEY=VALUE`: `token_file` and `tls_ca`."""
        ...


def open_controller(settings: Opening) -> RemoteController:
    """The controller at an address, not connected yet. The token is in a file, or in `SIMTOREAL_TOKEN`.

    Raises:
        ConfigError: there is no address, an option is not known, or the token cannot be used.
    """
    if settings.address is None:
        raise ConfigError("controller=remote needs the address of `simtoreal serve controller=NAME`: HOST:PORT")
    options = dict(option.partition("=")[::2] for option in settings.options)
    for key in options:
        if key not in _OPTIONS:
            raise unknown_key(key, _OPTIONS)
    files = {key: Path(value).expanduser() for key, value in options.items()}
    try:
        return RemoteController(settings.address, read_token(files.get("token_file")), tls_ca=files.get("tls_ca"))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
