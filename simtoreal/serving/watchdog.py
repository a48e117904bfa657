"""Somebody who acts when nobody has said anything for too long."""

import threading
import time
from collections.abc import Callable


class Watchdog:
    """Calls a function, from a thread of its own, where `feed` was called and neither it nor `rest` for a while.

    Args:
        patience_s: how long it waits.
        bark: what it calls, once until it is fed again.
    """

    def __init__(self, patience_s: float, bark: Callable[[], None]) -> None:
        self._patience_s, self._bark = patience_s, bark
        self._until_s: float | None = None
        self._is_over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def feed(self) -> None:
        """From now on it waits for as long as its patience lasts."""
        self._set(time.monotonic() + self._patience_s)

    def rest(self) -> None:
        """It waits for nothing until it is fed again."""
        self._set(None)

    def close(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def _set(self, until_s: float | None) -> None:
        with self._changed:
            self._until_s = until_s
            self._changed.notify()

    def _watch(self) -> None:
        while self._waits_until_it_is_time():
            self._bark()

    def _waits_until_it_is_time(self) -> bool:
        with self._changed:
            while not self._is_over:
                left_s = None if self._until_s is None else self._until_s - time.monotonic()
                if left_s is not None and left_s <= 0.0:
                    self._until_s = None
                    return True
                self._changed.wait(left_s)
            return False
