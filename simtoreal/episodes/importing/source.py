"""What every importer is: a source that opens one episode at a time and streams its frames.

Memory stays bounded whatever the length of an episode: frames are made when they are asked for, and nothing is kept.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame, EpisodeInfo


class SourceError(OSError):
    """A recording that cannot be used; the message names file, episode and frame, and what to do.

    Args:
        problem: what is wrong.
        path: the file.
        episode: the episode in it, as its source names it.
        frame: number of the frame in the episode, from 0.
    """

    def __init__(
        self, problem: str, path: Path | None = None, episode: str | None = None, frame: int | None = None
    ) -> None:
        self.problem, self.path, self.episode, self.frame = problem, path, episode, frame
        places = [
            str(path) if path is not None else "",
            f"episode {episode}" if episode else "",
            f"frame {frame}" if frame is not None else "",
        ]
        place = ", ".join(part for part in places if part)
        super().__init__(f"{place}: {problem}" if place else problem)

    def placed(self, path: Path | None = None, episode: str | None = None, frame: int | None = None) -> "SourceError":
        """The same error with a place for what it does not say itself."""
        return SourceError(
            self.problem,
            self.path or path,
            self.episode or episode,
            frame if self.frame is None else self.frame,
        )


class SourceEpisode(NamedTuple):
    """One episode on its way: `end` is known once the frames have run out."""

    info: EpisodeInfo
    frames: Iterator[EpisodeFrame]
    end: Callable[[], EpisodeEnd]
    remarks: Callable[[], Sequence[str]] = tuple  # what was found odd on the way, known like `end`
    num_frames: int | None = None  # about how many there will be, for whoever waits


class EpisodeSource(Protocol):
    """A recording in some format.

    `assumptions` are sentences about everything that the source does not say and that was taken from a mapping, a
    setting or a convention; they are told to the user before anything is imported.
    """

    @property
    def path(self) -> Path: ...
    @property
    def assumptions(self) -> Sequence[str]: ...
    def names(self) -> Sequence[str]:
        """The episodes in it, in order; `open` takes one of them. A name stays the same from run to run."""
        ...

    def open(self, name: str) -> SourceEpisode:
        """Starts to read one episode.

        Raises:
            SourceError: it is broken, or lacks something that nobody gave; frames may raise it later as well.
        """
        ...


def described(info: EpisodeInfo, config: ImportConfig) -> EpisodeInfo:
    """What is known of an episode, with what the user says in the place of what the recording says."""
    return dataclasses.replace(
        info,
        task=config.task or info.task or EpisodeInfo.task,
        object_name=config.object_name or info.object_name,
        robot=config.robot or info.robot,
        domain=config.domain or info.domain,
    )


def source_id(path: Path, name: str) -> str:
    """How `EpisodeInfo.source` names an episode, so that one that was imported already is known again."""
    return f"{path.resolve().as_posix()}#{name}"
