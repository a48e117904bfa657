"""How long a run has taken, over all the times it was started: a figure must not shrink because of a Ctrl-C."""

import json
import time
from pathlib import Path


class WallClock:
    """Counts from now, on top of what earlier starts of the same run have left in its folder.

    Args:
        path: file that keeps the seconds.
        resume: whether this start goes on with the earlier ones.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self._path = path
        self._before_s = _read(path) if resume else 0.0
        self._started_s = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before_s + time.monotonic() - self._started_s

    def keep(self) -> None:
        """Writes the time so far; a run that is killed loses what has passed since the last call."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"wall_s": round(self.seconds, 1)}) + "\n")


def _read(path: Path) -> float:
    try:
        return float(json.loads(path.read_text())["wall_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0  # a first start, or one that was killed before it wrote
