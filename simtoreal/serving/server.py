"""The server: lets clients in, hands each to a conversation, answers plain HTTP, ends cleanly."""

import asyncio
import contextlib
import http
import logging
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from websockets.asyncio.server import Server as WebsocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from simtoreal.schema import ConfigError
from simtoreal.serving import tokens
from simtoreal.serving.codec import pack
from simtoreal.serving.conversation import Conversation, Workplace
from simtoreal.serving.messages import MAX_BYTES, SERVES
from simtoreal.serving.metrics import Metrics
from simtoreal.serving.service import Service

LOG = logging.getLogger(__name__)
_TRY_AGAIN_LATER = 1013  # IANA registry of websocket close codes
_HANDSHAKE_S = 5.0
_PING_S = 5.0  # a client that does not answer for so long is gone
_CLOSE_S = 1.0


@dataclass(frozen=True)
class Place:
    """Where a server listens, and whom it lets in."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0 is any that is free
    token: str | None = None
    tls: ssl.SSLContext | None = None
    max_clients: int = 4
    max_message_bytes: int = 16 * 2**20


class Server:
    """Serves a policy or a controller.

    Args:
        service: what is served.
        place: where, and for whom.

    Raises:
        ConfigError: others could reach it, and there is no token.
    """

    def __init__(self, service: Service, place: Place) -> None:
        tokens.check_exposure(place.host, place.token)
        self._service, self._place = service, place
        self.metrics = Metrics(str(service.metadata[SERVES]))
        self._workplace = Workplace(ThreadPoolExecutor(place.max_clients, "serving"), self.metrics)
        self._stopping = asyncio.Event()

    async def run(self, ready: Callable[[int], None] = lambda port: None) -> None:
        """Serves until `stop` is called or the process is told to end (SIGINT, SIGTERM).

        Args:
            ready: is told the port as soon as clients can connect.

        Raises:
            OSError: the address cannot be listened on.
        """
        place = self._place
        try:
            async with serve(
                self._welcome,
                place.host,
                place.port,
                ssl=place.tls,
                compression=None,
                origins=[None],  # browsers send an origin: no page may talk to a robot
                process_request=self._respond,
                max_size=place.max_message_bytes,
                open_timeout=_HANDSHAKE_S,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
                close_timeout=_CLOSE_S,
                logger=_wire_log(),
            ) as server:
                with _signals(self.stop):
                    ready(_port(server))
                    await self._stopping.wait()
        finally:
            self._workplace.executor.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(self._service.close)

    def stop(self) -> None:
        """Ends `run`; from the thread of its event loop."""
        self._stopping.set()

    async def _welcome(self, connection: ServerConnection) -> None:
        if self.metrics.num_clients >= self._place.max_clients:
            self.metrics.rejected("full")
            await connection.close(_TRY_AGAIN_LATER, f"at most {self._place.max_clients} clients at a time")
            return
        self.metrics.num_clients += 1
        try:
            await self._converse(connection)
        finally:
            self.metrics.num_clients -= 1

    async def _converse(self, connection: ServerConnection) -> None:
        session = await asyncio.to_thread(self._service.open)
        conversation = Conversation(connection, session, self._workplace)
        LOG.info("%s connected", connection.remote_address)
        try:
            with contextlib.suppress(ConnectionClosed):
                await connection.send(pack({**self._service.metadata, MAX_BYTES: self._place.max_message_bytes}))
                await conversation.run()
        finally:
            await asyncio.to_thread(session.close)
            await conversation.finish()
            LOG.info("%s left", connection.remote_address)

    async def _respond(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers plain HTTP, and lets nobody further without the token."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        token = self._place.token
        shown = ", ".join(request.headers.get_all("Authorization"))
        if token is not None and not tokens.matches(shown, token):
            self.metrics.rejected("token")
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "the token is missing or wrong\n")
        if path == "/metrics":
            response = connection.respond(http.HTTPStatus.OK, self.metrics.text())
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
            return response
        if path == "/stop":
            stopped = await asyncio.to_thread(self._service.stop)
            status = http.HTTPStatus.OK if stopped else http.HTTPStatus.NOT_FOUND
            return connection.respond(status, "stopped\n" if stopped else "nothing moves here\n")
        if path != "/":
            return connection.respond(http.HTTPStatus.NOT_FOUND, "there are /, /healthz, /metrics and /stop\n")
        return None


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ends cleanly at the first SIGINT or SIGTERM; a second one acts as if nobody listened."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the business of the main thread
        return
    loop = asyncio.get_running_loop()
    both = (signal.SIGINT, signal.SIGTERM)

    def end() -> None:
        for number in both:
            loop.remove_signal_handler(number)
        stop()

    for number in both:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in both:
            loop.remove_signal_handler(number)


def _wire_log() -> logging.Logger:
    """What websockets itself has to say: failures, and in one line who did not even speak the protocol."""

    def shorten(record: logging.LogRecord) -> bool:
        if record.msg == "opening handshake failed":
            record.exc_info = None
        return record.levelno >= logging.ERROR

    log = logging.getLogger(f"{LOG.name}.websockets")
    log.filters = [shorten]
    return log


def _port(server: WebsocketServer) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


def tls_context(certificate: str, key: str) -> ssl.SSLContext:
    """The server's side of TLS 1.2 or newer, from files in PEM.

    Raises:
        ConfigError: they cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # as is ssl.SSLError
        raise ConfigError(f"tls_cert={certificate} and tls_key={key} cannot be used: {error}") from error
    return context
