"""The operator's stop: one switch that a key, a signal, a datagram or any other part of a program presses."""

import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_EVERY_S = 0.1  # listeners end within this time
STOP_WORD = b"stop"


class StopSwitch:
    """Pressed once, it stays pressed until `release`. Any thread may press it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._event = threading.Event()
        self.reason = ""
        self.pressed_s = 0.0

    def press(self, reason: str) -> None:
        """Presses the switch; the first reason is kept."""
        if not self._event.is_set():
            self.reason, self.pressed_s = reason, self._clock()
            self._event.set()

    @property
    def is_pressed(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits until it is pressed or the time is over; returns whether it is pressed."""
        return self._event.wait(timeout_s)

    def release(self) -> None:
        self._event.clear()
        self.reason = ""


@contextmanager
def stop_on_signals(switch: StopSwitch) -> Iterator[None]:
    """Ctrl-C and SIGTERM press the switch; a second Ctrl-C raises KeyboardInterrupt as usual.

    The interpreter runs signal handlers between two instructions only, so a policy that hangs in foreign code would put
    a handler off. The number of the signal is therefore also written to a socket that a thread listens to.
    """
    heard, written = socket.socketpair()
    written.setblocking(False)
    done = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        switch.press(signal.Signals(number).name)
        if number in seen:
            raise KeyboardInterrupt
        seen.add(number)

    def listen() -> None:
        while not done.is_set():
            ready = select.select([heard], [], [], _LOOK_EVERY_S)[0]
            numbers = set(heard.recv(64)) & set(SIGNALS) if ready else set()
            for number in numbers:
                switch.press(signal.Signals(number).name)

    seen: set[int] = set()
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=listen, name="stop signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        done.set()
        thread.join()
        heard.close()
        written.close()


@contextmanager
def stop_on_key(switch: StopSwitch) -> Iterator[None]:
    """Enter presses the switch, where the program runs in a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            if select.select([sys.stdin], [], [], _LOOK_EVERY_S)[0]:
                sys.stdin.readline()
                switch.press("key")

    thread = threading.Thread(target=listen, name="stop key", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def stop_on_datagram(switch: StopSwitch, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """A UDP datagram `stop` presses the switch; yields the port. It can stop the arm and do nothing else.

    Args:
        switch: to press.
        port: to listen on; 0 takes a free one.
        host: address to listen on. Whoever reaches it can stop the arm.

    Raises:
        OSError: the port is taken.
    """
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        ear.bind((host, port))
    except OSError as error:
        ear.close()
        raise OSError(
            error.errno, f"stop_port={port} cannot be listened on: {error.strerror}. Choose another"
        ) from error
    ear.settimeout(_LOOK_EVERY_S)
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            try:
                data, sender = ear.recvfrom(64)
            except TimeoutError:
                continue
            if data.strip().lower() == STOP_WORD:
                switch.press(f"datagram from {sender[0]}")

    thread = threading.Thread(target=listen, name="stop datagrams", daemon=True)
    thread.start()
    try:
        yield int(ear.getsockname()[1])
    finally:
        done.set()
        thread.join()
        ear.close()
