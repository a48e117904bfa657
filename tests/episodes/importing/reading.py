"""Reading a recording in tests, whole or not at all."""

from pathlib import Path

from simtoreal.episodes.importing.formats import open_source
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError
from simtoreal.episodes.records import EpisodeFrame


def open_first(source: Path, **settings: object) -> SourceEpisode:
    """The first episode of a recording."""
    opened = open_source(ImportConfig(source=source, **settings))  # type: ignore[arg-type]
    return opened.open(opened.names()[0])


def read_all(source: Path, **settings: object) -> list[EpisodeFrame]:
    """All frames of all episodes of a recording."""
    opened = open_source(ImportConfig(source=source, **settings))  # type: ignore[arg-type]
    return [frame for name in opened.names() for frame in opened.open(name).frames]


def frames_or_problem(source: Path, **settings: object) -> list[EpisodeFrame] | str:
    """Frames, or the message of the one error that a source may raise; whatever else it raises fails the test."""
    try:
        return read_all(source, **settings)
    except SourceError as error:
        return str(error)


def problem(source: Path, **settings: object) -> str:
    """The message of the error that a source raises."""
    found = frames_or_problem(source, **settings)
    assert isinstance(found, str), f"{len(found)} frames were read"
    return found
