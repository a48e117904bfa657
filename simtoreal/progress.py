"""Progress with time left, on a terminal as bars and in a log as an occasional line."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_LOG_EVERY_S = 20.0


class Bar:
    """One task: `advance` as it goes, `note` for a figure to watch."""

    def __init__(self, name: str, total: int, console: Console, live: RichProgress | None) -> None:
        self._name, self._total, self._console, self._live = name, total, console, live
        self._done = 0
        self._note = ""
        self._started_s = self._logged_s = time.monotonic()
        self._id = live.add_task(name, total=total, note="") if live is not None else None

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self._done += steps
        self._note = self._note if note is None else note
        if self._live is not None and self._id is not None:
            self._live.update(self._id, advance=steps, note=self._note)
        elif time.monotonic() - self._logged_s > _LOG_EVERY_S or self._done >= self._total:
            self._log()

    def _log(self) -> None:
        now_s = self._logged_s = time.monotonic()
        left_s = (now_s - self._started_s) / max(self._done, 1) * max(self._total - self._done, 0)
        left = f"{int(left_s // 60)}:{int(left_s % 60):02d} left"
        self._console.print(f"{self._name}: {self._done}/{self._total}, {left} {self._note}", highlight=False)


class Progress:
    """Hands out bars; everything goes to standard error, so that results can be piped."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Bar]:
        """A bar for a stage of `total` steps."""
        if not self._console.is_terminal:
            yield Bar(name, total, self._console, None)
            return
        with RichProgress(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        ) as live:
            yield Bar(name, total, self._console, live)
            sys.stderr.flush()

    def say(self, text: str) -> None:
        """A line between the bars."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)  # a path stays whole
