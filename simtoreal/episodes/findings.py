"""What the quality gate has to say: one finding each, with its numbers, what to do about it, and a picture."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # what was learned from it would be wrong
    WARNING = "warning"  # some of it is of no use, or should be looked at
    NOTE = "note"  # worth knowing


SEVERITIES = tuple(Severity)  # the worst first


class Finding(NamedTuple):
    """One thing that is wrong with an episode. Nothing is dropped because of it: that is for people to decide."""

    kind: str
    severity: Severity
    episode: int
    frames: Sequence[int]  # concerned; empty where it is the episode as a whole
    numbers: Mapping[str, float]
    advice: str  # what was found and what to do, in a sentence
    camera: str = ""
    picture: Image | None = None

    def to_plain(self) -> dict[str, Any]:
        """All but the picture as plain values, for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity.value,
            "episode": self.episode,
            "camera": self.camera,
            "frames": list(self.frames),
            "numbers": dict(self.numbers),
            "advice": self.advice,
        }


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Errors, then warnings, then notes; within each by kind and episode."""
    return sorted(findings, key=lambda item: (SEVERITIES.index(item.severity), item.kind, item.episode, item.camera))


def span_text(frames: Sequence[int]) -> str:
    """Frames as people write them.

    >>> span_text([3, 4, 5, 9])
    '3-5, 9'
    """
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = frame
        else:
            runs.append([frame, frame])
    shown = [f"{first}" if first == last else f"{first}-{last}" for first, last in runs[:6]]
    return ", ".join(shown) + (f" and {len(runs) - 6} more spans" if len(runs) > 6 else "")
