"""Faults between a robot and its policy server: one episode in real time, on the fake, behind guard and watchdog.

A gateway passes bytes between client and server until a random moment, and then does what networks and servers do.
"""

import asyncio
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any, Self

import numpy as np
from fault_judge import CONTROL_HZ, EPISODE_STEPS, Judge, Verdict, WildPolicy, judge

from simtoreal.contracts import LinkLost
from simtoreal.controllers.fake import FakeController
from simtoreal.runtime import Pacer, run_episode
from simtoreal.safety.events import SafetyStop
from simtoreal.safety.guard import Guard
from simtoreal.safety.limits import SafetyLimits
from simtoreal.safety.watchdog import Watchdog
from simtoreal.serving.client import RemotePolicy
from simtoreal.serving.policy_service import PolicyDescription, PolicyService
from simtoreal.serving.server import Place, Server

TOKEN = "a-token-of-twenty-four-c"
WRONG_TOKEN = "wrong_token"
NETWORK_KINDS = ("killed_server", "silent_server", "garbage", "oversized_message", "cut_off_message", WRONG_TOKEN)
_HUGE_FRAME = bytes([0x82, 127]) + struct.pack(">Q", 2**40)  # a binary frame that says it is a terabyte long


class MachineClock:
    """The machine's clock, for those that also run in virtual time."""

    now = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


class PolicyServer:
    """The real server with a wild policy, in a thread of its own. Use as a context manager."""

    def __init__(self, rng: np.random.Generator) -> None:
        service = PolicyService(lambda: WildPolicy(rng, MachineClock()), PolicyDescription("wild", CONTROL_HZ))
        self._server = Server(service, Place("127.0.0.1", 0, TOKEN))
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.port = 0

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.run(self._listens)

    def _listens(self, port: int) -> None:
        self.port = port
        self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(5.0):
            raise RuntimeError("the policy server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(10.0)


class Gateway:
    """Passes bytes both ways until `break_link`. Use as a context manager."""

    def __init__(self, port: int, rng: np.random.Generator) -> None:
        self._to, self._rng = port, rng
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._passes = True
        self.broken_s: float | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def break_link(self, kind: str) -> None:
        """What goes wrong, now."""
        client = self._sockets[0]
        self._passes = False
        self.broken_s = time.monotonic()
        if kind == "killed_server":
            self._close()
        elif kind == "garbage":
            client.sendall(self._rng.bytes(4096))
        elif kind == "oversized_message":
            client.sendall(_HUGE_FRAME)
        elif kind == "cut_off_message":
            client.sendall(bytes([0x82, 100, 1, 2, 3]))
            self._close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._passes:
                    sink.sendall(data)

    def _close(self) -> None:
        for one in [*self._sockets, self._listener]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def run_over_network(number: int, limits: SafetyLimits) -> Verdict:
    """One episode whose policy is behind a network that fails."""
    rng = np.random.default_rng((9, number))
    verdict = Verdict(NETWORK_KINDS[number % len(NETWORK_KINDS)])
    fake = FakeController(rng)
    arm: Any = Judge(fake, fake, MachineClock())
    guard = Guard(arm, limits)
    breaks_at = int(rng.integers(2, EPISODE_STEPS - 12))
    token = TOKEN[::-1] if verdict.kind == WRONG_TOKEN else TOKEN
    with PolicyServer(np.random.default_rng((10, number))) as server, Gateway(server.port, rng) as gateway:
        policy = RemotePolicy(f"ws://127.0.0.1:{gateway.port}", token, 1.0 / CONTROL_HZ)

        def is_over(step: int) -> bool:
            if step == breaks_at:
                # At any moment of a period, also while the client waits for its answer.
                threading.Timer(float(rng.uniform(0.0, 0.05)), gateway.break_link, (verdict.kind,)).start()
            return step >= EPISODE_STEPS

        began_s = time.monotonic()
        with Watchdog(guard):
            try:
                run_episode(guard, policy, guard.reset(), is_over, pacer=Pacer(CONTROL_HZ))
            except (LinkLost, SafetyStop) as stop:
                verdict.stopped_by = type(stop).__name__
    broken_s = began_s if verdict.kind == WRONG_TOKEN else gateway.broken_s
    if verdict.stopped_by and verdict.kind != WRONG_TOKEN:
        after_s = [t_s - broken_s for t_s in arm.holds_s if broken_s is not None and t_s >= broken_s]
        verdict.stop_s = min(after_s, default=np.inf)
    verdict.num_commands = len(arm.commands)
    verdict.outside = judge(arm.commands, limits, (False, arm.holds_s[0] if arm.holds_s else np.inf))
    if verdict.kind == WRONG_TOKEN and arm.commands:
        verdict.outside.append("moved without the token")
    return verdict
