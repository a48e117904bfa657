"""A thread that holds the arm when the loop cannot: stuck in a driver, in a policy, or in a debugger."""

import threading
from types import TracebackType
from typing import Self

from simtoreal.safety.guard import Guard

LOOK_EVERY_S = 0.005


class Watchdog:
    """Polls a guard from a thread of its own. Use as a context manager around the episodes."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(LOOK_EVERY_S):
            self._guard.poll()
