"""One client's connection: one request at a time, the newest first, each answered once, none after its deadline."""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, NamedTuple

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from simtoreal.serving.codec import CodecError, pack, unpack
from simtoreal.serving.messages import (
    ERROR,
    ERROR_KIND,
    SEQUENCE,
    TIMING,
    MessageError,
    deadline_of,
    sequence_of,
)
from simtoreal.serving.metrics import Metrics, Outcome
from simtoreal.serving.service import Refused, Session

LOG = logging.getLogger(__name__)
_INVALID_DATA = 1007  # RFC 6455, 7.4.1


class Request(NamedTuple):
    """A message, with when it came and how long its answer is of use."""

    message: dict[str, Any]
    arrived_s: float
    sequence: int | None
    deadline_s: float | None

    @property
    def is_late(self) -> bool:
        return self.deadline_s is not None and time.monotonic() - self.arrived_s > self.deadline_s


class Answer(NamedTuple):
    """What a request led to."""

    content: Mapping[str, Any]
    outcome: Outcome
    infer_s: float | None = None


@dataclass(frozen=True)
class Workplace:
    """Where sessions of a server do their work, and who counts it."""

    executor: Executor
    metrics: Metrics


class Conversation:
    """Reads, works and answers until the client goes.

    While a request is being worked on, one more may wait; a newer one takes its place, and it is told so. Urgent
    messages wait for nobody, and what waits does not happen after them.
    """

    def __init__(self, connection: ServerConnection, session: Session, place: Workplace) -> None:
        self._connection, self._session, self._place = connection, session, place
        self._waiting: Request | None = None
        self._news = asyncio.Event()
        self._job: asyncio.Future[Answer] | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            worker = tasks.create_task(self._work())
            try:
                await self._read()
            except ConnectionClosed:
                pass  # however it ended, the server closes the session
            finally:
                worker.cancel()

    async def finish(self) -> None:
        """Waits for what a thread is still doing for a client that is gone."""
        if self._job is not None:
            await asyncio.wait([self._job])

    async def _read(self) -> None:
        async for frame in self._connection:
            arrived_s = time.monotonic()
            try:
                if isinstance(frame, str):
                    raise CodecError("a message must be a binary frame of msgpack, this is text")
                message = unpack(frame)
                request = Request(message, arrived_s, sequence_of(message), deadline_of(message))
            except (CodecError, MessageError) as error:
                self._place.metrics.request(Outcome.INVALID, time.monotonic() - arrived_s)
                await self._connection.send(str(error))
                await self._connection.close(_INVALID_DATA, "this is no message")
                return
            await self._take(request)

    async def _take(self, request: Request) -> None:
        is_urgent = self._session.is_urgent(request.message)
        superseded, self._waiting = self._waiting, None if is_urgent else request
        if is_urgent:
            await self._reply(request, await asyncio.to_thread(self._answer, request))
        else:
            self._news.set()
        if superseded is not None:
            await self._reply(superseded, _refusal(Outcome.SUPERSEDED, "a newer request of this client came first"))

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                request, self._waiting = self._waiting, None
                if request is not None:
                    self._job = loop.run_in_executor(self._place.executor, self._answer, request)
                    answer = await asyncio.shield(self._job)  # a thread cannot be cancelled
                    late = _refusal(Outcome.LATE, f"took longer than its {request.deadline_s} s")
                    await self._reply(request, late if request.is_late else answer)
        except ConnectionClosed:
            pass

    def _answer(self, request: Request) -> Answer:
        """Carries a request out; in a thread."""
        if request.is_late:
            return _refusal(Outcome.LATE, f"waited longer than its {request.deadline_s:g} s and was not begun")
        started_s = time.perf_counter()
        try:
            content = self._session.answer(request.message)
        except MessageError as error:
            return _refusal(Outcome.INVALID, str(error))
        except Refused as refused:
            return _refusal(refused.outcome, str(refused))
        except Exception:
            reference = secrets.token_hex(4)
            LOG.exception("request failed, reference %s", reference)
            return _refusal(Outcome.FAILED, f"the server failed; its log has the details under {reference}")
        timing = content.get(TIMING, {"infer_ms": 1e3 * (time.perf_counter() - started_s)})
        return Answer({**content, TIMING: timing}, Outcome.ANSWERED, 1e-3 * timing["infer_ms"])

    async def _reply(self, request: Request, answer: Answer) -> None:
        took_s = time.monotonic() - request.arrived_s
        self._place.metrics.request(answer.outcome, took_s, answer.infer_s)
        if request.sequence is not None:
            await self._connection.send(pack({**answer.content, SEQUENCE: request.sequence}))
        elif answer.outcome is not Outcome.ANSWERED:
            await self._connection.send(str(answer.content[ERROR]))  # openpi's clients expect errors as text
        else:
            await self._connection.send(pack(answer.content))


def _refusal(outcome: Outcome, reason: str) -> Answer:
    return Answer({ERROR: reason, ERROR_KIND: outcome.value}, outcome)
