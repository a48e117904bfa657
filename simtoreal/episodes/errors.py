"""The one error of datasets: it says which file, which episode, which frame, and what to do."""

from pathlib import Path


class DatasetError(ValueError):
    """A dataset cannot be written or read as asked.

    Args:
        what: what is wrong, and what to do about it.
        file: the file or folder it is about.
        episode: index of the episode in its dataset.
        frame: index of the frame in its episode.
    """

    def __init__(
        self, what: str, *, file: Path | str | None = None, episode: int | None = None, frame: int | None = None
    ) -> None:
        self.what = what
        self.file = None if file is None else str(file)
        self.episode = episode
        self.frame = frame
        places = [
            *([self.file] if self.file is not None else []),
            *([f"episode {episode}"] if episode is not None else []),
            *([f"frame {frame}"] if frame is not None else []),
        ]
        super().__init__(f"{', '.join(places)}: {what}" if places else what)
