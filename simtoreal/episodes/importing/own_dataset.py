"""Datasets that this package wrote, as a source: to gather episodes of several folders in one."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceEpisode, SourceError, described, source_id
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame


class OwnSource:
    """Episodes of a dataset of this package, everything kept; `source` names the folder they are taken from.

    Raises:
        SourceError: the dataset cannot be read.
    """

    def __init__(self, path: Path, config: ImportConfig) -> None:
        self.path, self._config = path, config
        try:
            self._reader = DatasetReader(path)
        except DatasetError as error:
            raise SourceError(str(error)) from error

    @property
    def assumptions(self) -> Sequence[str]:
        return ["a dataset of this package: everything is taken as it is, colour from video is encoded once more"]

    def names(self) -> Sequence[str]:
        return [str(entry.index) for entry in self._reader.entries]

    def open(self, name: str) -> SourceEpisode:
        try:
            episode = self._reader[int(name)]
            info = described(dataclasses.replace(episode.info, source=source_id(self.path, name)), self._config)
            end, origin = episode.end, episode.info.source
        except (DatasetError, ValueError, IndexError) as error:
            raise SourceError(str(error), self.path, name) from error

        def frames() -> Iterator[EpisodeFrame]:
            for index in range(len(episode)):
                try:
                    yield episode.frame(index)
                except DatasetError as error:
                    raise SourceError(str(error), self.path, name, index) from error

        def ended() -> EpisodeEnd:
            labels = {**end.labels, **({"source": origin} if origin else {})}
            success = end.success if self._config.success is None else self._config.success
            return dataclasses.replace(end, labels=labels, success=success)

        return SourceEpisode(info, frames(), ended, num_frames=len(episode))
