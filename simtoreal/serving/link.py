"""A client's end of the wire: numbered requests, a hard limit on every wait, answers that come too late dropped."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from simtoreal.contracts import LinkLost
from simtoreal.serving.codec import CodecError, pack, unpack
from simtoreal.serving.messages import DEADLINE_S, ERROR, ERROR_KIND, PROTOCOL, PROTOCOL_KEY, SEQUENCE, SERVES

DEFAULT_PORT = 8000
_CLOSE_S = 0.2
_PING_S = 5.0
_INVALID, _FAILED = "invalid", "failed"


class LateAnswer(LinkLost):
    """No answer in time. The link stands, and the next request may be answered."""


class RequestRefused(ValueError):
    """The other side cannot use what it was sent; says which key or value."""


class RemoteFailure(RuntimeError):
    """The policy or the controller on the other side raised; its log has the details."""


@dataclass(frozen=True)
class LinkOptions:
    """How to reach a server.

    Args:
        token: what the server wants to be shown, None where it wants none.
        tls_ca: certificate (PEM) that the server's is verified with, for `wss://`; None is those of the system.
        connect_s: how long a connection may take to come about.
        max_message_bytes: the largest message that is read.
    """

    token: str | None = None
    tls_ca: Path | None = None
    connect_s: float = 5.0
    max_message_bytes: int = 16 * 2**20

    def __repr__(self) -> str:
        return f"LinkOptions(token={'***' if self.token else None}, tls_ca={self.tls_ca})"


class Link:
    """A connection that can be opened again, for one request at a time.

    Args:
        address: `host`, `host:port`, `ws://host:port` or `wss://host:port`.
        serves: what has to be on the other side, `policy` or `controller`.
        options: how to reach it.
    """

    def __init__(self, address: str, serves: str, options: LinkOptions) -> None:
        self.address = _uri(address)
        self.metadata: dict[str, Any] = {}
        self.num_dropped = 0  # answers that came too late
        self._serves, self._options = serves, options
        self._connection: ClientConnection | None = None
        self._stack = contextlib.ExitStack()
        self._sequence = 0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def is_idle(self) -> bool:
        """Whether no `call` is waiting for an answer."""
        return not self._lock.locked()

    def open(self) -> None:
        """Connects, unless it is connected.

        Raises:
            LinkLost: the server cannot be reached, refuses, serves something else, or speaks another version.
        """
        if self._connection is not None:
            return
        try:
            self._connection = self._stack.enter_context(self._connect())
            hello = self._connection.recv(self._options.connect_s)
            self.metadata = unpack(hello) if isinstance(hello, bytes) else {}
        except InvalidStatus as error:
            why = error.response.body.decode(errors="replace").strip() if error.response.body else str(error)
            raise self._lost(f"the server refuses: {why}") from error
        except ConnectionClosed as error:
            raise self._lost(_reason(error)) from error
        except TimeoutError as error:
            raise self._lost(f"no answer within {self._options.connect_s:g} s") from error
        except (OSError, InvalidHandshake, InvalidURI, CodecError) as error:
            raise self._lost(f"{error}; is `simtoreal serve` running there?") from error
        self._check_hello()

    def call(self, message: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Sends a request and waits for its answer.

        Args:
            message: the request, without number and deadline.
            timeout_s: how long an answer is of use; the server does not begin a request that has waited for longer.

        Raises:
            LateAnswer: there was none in time.
            LinkLost: the connection broke, or was not open, or the other side will not do it now.
            RequestRefused: the other side cannot use the request.
            RemoteFailure: the other side failed over it.
        """
        until_s = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):
            raise LateAnswer(f"{self.address}: another request has not been answered within {timeout_s:g} s")
        try:
            sequence = self._send(message, timeout_s)
            return _checked(self._wait_for(sequence, until_s, timeout_s))
        finally:
            self._lock.release()

    def post(self, message: Mapping[str, Any]) -> None:
        """Sends a request from any thread, also beside a `call`, and does not wait for an answer.

        Raises:
            LinkLost: the connection broke, or was not open.
        """
        self._send(message, None)

    def close(self) -> None:
        """Disconnects; `open` connects again. Safe to call again."""
        self._connection = None
        with contextlib.suppress(OSError, ConnectionClosed):
            self._stack.close()

    def _connect(self) -> ClientConnection:
        options = self._options
        headers = {"Authorization": f"Bearer {options.token}"} if options.token is not None else None
        context = ssl.create_default_context(cafile=options.tls_ca) if self.address.startswith("wss:") else None
        connection = connect(
            self.address,
            ssl=context,
            compression=None,
            additional_headers=headers,
            proxy=None,  # a robot is not commanded through what a variable of the environment happens to name
            open_timeout=options.connect_s,
            close_timeout=_CLOSE_S,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            max_size=options.max_message_bytes,
        )
        # Sending blocks where the other side has stopped reading; websockets sets no limit there.
        limit = struct.pack("@ll", int(options.connect_s), int(options.connect_s % 1.0 * 1e6))
        with contextlib.suppress(OSError):  # closed again already: reading says why
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        return connection

    def _check_hello(self) -> None:
        serves, protocol = self.metadata.get(SERVES), self.metadata.get(PROTOCOL_KEY)
        if serves != self._serves:
            raise self._lost(
                f"a simtoreal {self._serves} is wanted, but the server there serves {serves or 'something else'}"
            )
        if protocol != PROTOCOL:
            raise self._lost(
                f"the server speaks version {protocol} of the protocol, this client {PROTOCOL}: update one"
            )

    def _send(self, message: Mapping[str, Any], deadline_s: float | None) -> int:
        connection = self._connection
        if connection is None:
            raise LinkLost(f"{self.address}: there is no connection")
        self._sequence = sequence = self._sequence + 1
        about = {SEQUENCE: sequence} if deadline_s is None else {SEQUENCE: sequence, DEADLINE_S: deadline_s}
        try:
            connection.send(pack({**message, **about}))
        except ConnectionClosed as error:
            raise self._lost(_reason(error)) from error
        return sequence

    def _wait_for(self, sequence: int, until_s: float, timeout_s: float) -> dict[str, Any]:
        connection = self._connection
        while connection is not None:
            try:
                frame = connection.recv(max(until_s - time.monotonic(), 0.0))
                answer = {ERROR: frame, ERROR_KIND: _INVALID} if isinstance(frame, str) else unpack(frame)
            except TimeoutError as error:
                raise LateAnswer(f"{self.address}: no answer within {timeout_s:g} s") from error
            except ConnectionClosed as error:
                raise self._lost(_reason(error)) from error
            except CodecError as error:
                raise self._lost(f"the server answers garbage: {error}") from error
            if answer.get(SEQUENCE, sequence) == sequence:
                return answer
            self.num_dropped += 1
        raise LinkLost(f"{self.address}: the connection was closed")

    def _lost(self, reason: str) -> LinkLost:
        self.close()
        return LinkLost(f"{self.address}: {reason}")


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if ERROR not in answer:
        return answer
    reason, kind = str(answer[ERROR]), answer.get(ERROR_KIND)
    if kind == _INVALID:
        raise RequestRefused(reason)
    if kind == _FAILED:
        raise RemoteFailure(reason)
    raise LinkLost(f"the server did not do it: {reason}")


def _reason(error: ConnectionClosed) -> str:
    close = error.rcvd or error.sent
    words = close.reason if close is not None and close.reason else "the other side is gone"
    if close is not None and close.code == 1009:
        words = f"the message is larger than the server takes ({close.reason or 'max_message_mb'})"
    return f"the connection is closed: {words}"


def _uri(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    if separator and scheme not in ("ws", "wss"):
        raise ValueError(f"address={address} must be host, host:port, ws://host:port or wss://host:port")
    rest = rest.rstrip("/")
    has_port = rest.rpartition(":")[2].isdigit() and (rest.count(":") == 1 or "]:" in rest)
    if not rest or "/" in rest or "@" in rest:
        raise ValueError(f"address={address} must be host, host:port, ws://host:port or wss://host:port")
    return f"{scheme or 'ws'}://{rest}{'' if has_port else f':{DEFAULT_PORT}'}"
