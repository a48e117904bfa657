"""A gripper whose driver blocks, in a thread of its own: the loop leaves a wish and finds the newest reading."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Protocol

from simtoreal.controllers.arm import checked_width
from simtoreal.controllers.link_errors import LinkError

_SAME_M = 5e-4  # wishes that differ by less are one


class GripperReading(NamedTuple):
    """A gripper at one moment."""

    t_s: float
    width_m: float


class GripperDevice(Protocol):
    """A gripper as its vendor's software has it; every method may block for a while."""

    def connect(self) -> None: ...
    def go_to(self, width_m: float) -> None:
        """Begins to move there, or to press where something lies between the jaws."""
        ...

    def read_width_m(self) -> float: ...
    def stop(self) -> None: ...
    def disconnect(self) -> None: ...


class BackgroundGripper:
    """Keeps a device busy at its own rate.

    Args:
        name: for messages.
        device: what is kept busy.
        now: the monotonic clock.
        period_s: between two readings.
        max_age_s: readings older than this are a lost link.
    """

    def __init__(
        self,
        name: str,
        device: GripperDevice,
        now: Callable[[], float] = time.monotonic,
        period_s: float = 0.02,
        max_age_s: float = 0.5,
    ) -> None:
        self._name, self._device, self._now = name, device, now
        self._period_s, self._max_age_s = period_s, max_age_s
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._reading: GripperReading | None = None
        self._wish_m: float | None = None
        self._told_m: float | None = None
        self._asked_to_stop = False
        self._problem: Exception | None = None

    def connect(self) -> None:
        """Reaches the device and begins to read it.

        Raises:
            LinkError: it cannot be reached, or says what cannot be.
        """
        try:
            self._device.connect()
            self._reading = GripperReading(self._now(), checked_width(self._name, self._device.read_width_m()))
        except Exception:
            self.disconnect()
            raise
        self._problem, self._wish_m, self._told_m, self._asked_to_stop = None, None, None, False
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def read_width_m(self) -> float:
        """The newest opening, at once.

        Raises:
            LinkError: it is old, or the device failed.
        """
        with self._lock:
            problem, reading = self._problem, self._reading
        if problem is not None or reading is None:
            raise LinkError(f"{self._name}: {problem or 'it is not connected'}")
        age_s = self._now() - reading.t_s
        if age_s > self._max_age_s:
            raise LinkError(f"{self._name}: its newest reading is {age_s:.2f} s old, allowed is {self._max_age_s:g} s")
        return reading.width_m

    def go_to(self, width_m: float) -> None:
        """Leaves a wish; the newest one counts."""
        with self._lock:
            self._wish_m, self._asked_to_stop = width_m, False

    def stop(self) -> None:
        """Leaves the wish to come to rest."""
        with self._lock:
            self._wish_m, self._asked_to_stop = None, True

    def disconnect(self) -> None:
        """Ends the thread and lets go of the device. Safe to call again."""
        self._ending.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=1.0)
        with suppress(Exception):  # it is being let go of
            self._device.disconnect()
        self._reading = None

    def step(self) -> bool:
        """One round of the thread; false where it is the last."""
        with self._lock:
            wish_m, stop, self._asked_to_stop = self._wish_m, self._asked_to_stop, False
        try:
            if stop:
                self._told_m = None
                self._device.stop()
            elif wish_m is not None and (self._told_m is None or abs(wish_m - self._told_m) > _SAME_M):
                self._device.go_to(wish_m)
                self._told_m = wish_m
            reading = GripperReading(self._now(), checked_width(self._name, self._device.read_width_m()))
        except Exception as error:  # noqa: BLE001 vendors raise what they like; the loop reports it at its next reading
            with self._lock:
                self._problem = error
            return False
        with self._lock:
            self._reading = reading
        return True

    def _run(self) -> None:
        while not self._ending.wait(self._period_s) and self.step():
            pass
