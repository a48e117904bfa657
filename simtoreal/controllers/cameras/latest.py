"""The newest picture of a device that must be waited for, kept by a thread of its own."""

import threading
import time
from collections.abc import Callable

from simtoreal.contracts import Picture
from simtoreal.controllers.link_errors import LinkError
from simtoreal.controllers.mounted_camera import stale

_FIRST_S = 5.0


class LatestPicture:
    """Calls `wait_for_picture` again and again, and hands out what it returned last.

    Args:
        name: of the camera, for messages.
        wait_for_picture: blocks until there is a new picture; None where there was none. Raising ends the thread.
        now: the monotonic clock.
    """

    def __init__(self, name: str, wait_for_picture: Callable[[], Picture | None], now: Callable[[], float]) -> None:
        self._name, self._wait, self._now = name, wait_for_picture, now
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._first = threading.Event()
        self._picture: Picture | None = None
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)

    def start(self, timeout_s: float = _FIRST_S) -> None:
        """Returns once there is a picture.

        Raises:
            LinkError: none came in time.
        """
        self._thread.start()
        self._first.wait(timeout_s)
        if self._picture is None:
            self.end()
            raise LinkError(
                f"camera {self._name} gives no picture within {timeout_s:g} s: {self._problem or 'is it free?'}"
            )

    def read(self, max_age_s: float) -> Picture:
        """The newest picture, at once.

        Raises:
            StalePicture: it is too old.
            LinkError: the device failed.
        """
        with self._lock:
            picture, problem = self._picture, self._problem
        if problem is not None or picture is None:
            raise LinkError(f"camera {self._name}: {problem or 'there is no picture yet'}")
        age_s = self._now() - picture.t_s
        if age_s > max_age_s:
            raise stale(self._name, age_s, max_age_s)
        return picture

    def end(self) -> None:
        """Ends the thread."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                picture = self._wait()
            except Exception as error:  # noqa: BLE001 vendors raise what they like; the loop reports it at its next reading
                with self._lock:
                    self._problem = error
                self._first.set()
                return
            if picture is None:
                time.sleep(0.001)
                continue
            with self._lock:
                self._picture = picture
            self._first.set()
