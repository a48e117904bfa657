"""Where everything lies in a LeRobotDataset v3.0 folder.

Every episode has a data file and video files of its own, as a stock lerobot also writes them when a recording is taken
up again: a finished episode is never touched by the next one, and splitting or merging copies files.
"""

from pathlib import Path
from typing import NamedTuple

CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200  # lerobot's limits from which on it begins a new file
EPISODES_PER_FILE = 50  # rows of one file under meta/episodes, which is rewritten with every episode
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
IMAGE_PREFIX = "observation.images."
DEPTH_PREFIX = "observation.depth."


class Slot(NamedTuple):
    """Place of a file among those of its kind."""

    chunk: int
    file: int

    @classmethod
    def at(cls, number: int) -> "Slot":
        """The slot of the file with this running number."""
        return cls(*divmod(number, FILES_PER_CHUNK))

    @property
    def number(self) -> int:
        return self.chunk * FILES_PER_CHUNK + self.file


class Layout(NamedTuple):
    """Paths of one dataset folder."""

    root: Path

    @property
    def info(self) -> Path:
        return self.root / "meta/info.json"

    @property
    def stats(self) -> Path:
        return self.root / "meta/stats.json"

    @property
    def tasks(self) -> Path:
        return self.root / "meta/tasks.parquet"

    @property
    def episodes_folder(self) -> Path:
        return self.root / "meta/episodes"

    @property
    def private(self) -> Path:
        """What lerobot need not see: the lock, the episode in progress, what a repair set aside."""
        return self.root / ".simtoreal"

    @property
    def in_progress(self) -> Path:
        return self.private / "in_progress"

    def episodes(self, slot: Slot) -> Path:
        return self.root / EPISODES_PATH.format(chunk_index=slot.chunk, file_index=slot.file)

    def data(self, slot: Slot) -> Path:
        return self.root / DATA_PATH.format(chunk_index=slot.chunk, file_index=slot.file)

    def video(self, key: str, slot: Slot) -> Path:
        return self.root / VIDEO_PATH.format(video_key=key, chunk_index=slot.chunk, file_index=slot.file)
