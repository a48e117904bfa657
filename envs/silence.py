"""PyBullet prints from C on import and on connect; a tool whose output people pipe must not."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Sends what this process prints, from Python or from C, to nowhere."""
    libc = ctypes.CDLL(None)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    libc.fflush(None)
    saved = {}
    for number in (1, 2):
        with contextlib.suppress(OSError):  # a service may have closed them
            saved[number] = os.dup(number)
    with open(os.devnull, "w") as sink:
        for number in saved:
            os.dup2(sink.fileno(), number)
        try:
            yield
        finally:
            libc.fflush(None)  # what C still holds in its buffer would otherwise come out at exit
            for number, copy in saved.items():
                os.dup2(copy, number)
                os.close(copy)
