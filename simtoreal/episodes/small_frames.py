"""Frames for training: one camera, one crop, small, any of them in any order, from the dataset or from a cache.

A cache is keyed by what the pictures are made of - the hashes of the episode's files and the crop - so it is never
stale, and may be shared by datasets that hold the same episode.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.features import CameraColumns
from simtoreal.episodes.layout import IMAGE_PREFIX
from simtoreal.episodes.meta_files import explain_write_errors
from simtoreal.episodes.pixels import depth_from_steps
from simtoreal.episodes.reader import DatasetReader, RecordedEpisode
from simtoreal.episodes.records import FloatArray
from simtoreal.episodes.rows import HAS_DEPTH, HAS_RGB

_VERSION = 1  # of how small frames are made


@dataclass(frozen=True)
class SmallView:
    """What is cut out of a camera's pictures, and how large it becomes.

    Raises:
        DatasetError: a size is not positive.
    """

    camera: str
    size_px: int = 64
    crop_px: tuple[int, int, int, int] | None = None  # left, top, width, height; None is the largest central square

    def __post_init__(self) -> None:
        if not 1 <= self.size_px <= 4096 or (self.crop_px is not None and min(self.crop_px[2:]) < 1):
            raise DatasetError(f"size_px and the width and height of crop_px must be positive, got {self}")

    def crop_of(self, columns: CameraColumns) -> tuple[int, int, int, int]:
        """Left, top, width and height of the crop.

        Raises:
            DatasetError: it does not lie inside the picture.
        """
        width, height = columns.width_px, columns.height_px
        if self.crop_px is None:
            edge = min(width, height)
            return (width - edge) // 2, (height - edge) // 2, edge, edge
        left, top, crop_width, crop_height = self.crop_px
        if min(left, top) < 0 or left + crop_width > width or top + crop_height > height:
            raise DatasetError(f"crop_px {self.crop_px} does not lie inside {width} x {height} pixels")
        return self.crop_px

    def K_of(self, K: FloatArray, columns: CameraColumns) -> FloatArray:
        """Intrinsics (3, 3) of the small frames, of a camera with intrinsics `K`; pixel centres are whole numbers."""
        left, top, width, height = self.crop_of(columns)
        x, y = self.size_px / width, self.size_px / height
        cut = np.array([[x, 0.0, (0.5 - left) * x - 0.5], [0.0, y, (0.5 - top) * y - 0.5], [0.0, 0.0, 1.0]])
        return cut @ K


class SmallFrame(NamedTuple):
    """One small picture; None where the camera gave none in this frame."""

    rgb: NDArray[np.uint8] | None  # (size, size, 3)
    depth_m: NDArray[np.float32] | None  # (size, size), metres, nan is no return


class SmallFrames:
    """The small frames of a dataset: `frames[episode, frame]`.

    Args:
        reader: of the dataset; stays open as long as this is used.
        view: what is cut out.
        cache: folder where small frames are kept; an episode is decoded in one go when its first frame is asked for.

    Raises:
        DatasetError: there is no such camera, or the crop does not lie inside its pictures.
    """

    def __init__(self, reader: DatasetReader, view: SmallView, cache: Path | None = None) -> None:
        if view.camera not in reader.schema.cameras:
            raise DatasetError(f"there is no camera {view.camera!r}: {', '.join(reader.schema.cameras) or 'none'}")
        self._reader = reader
        self._view = view
        self._columns = reader.schema.cameras[view.camera]
        self._crop = view.crop_of(self._columns)
        left, top, width, height = self._crop
        self._depth_lines = top + _nearest(height, view.size_px)
        self._depth_columns = left + _nearest(width, view.size_px)
        self._cache = cache
        self._cached: dict[int, NDArray[np.void]] = {}
        self.index: list[tuple[int, int]] = [
            (position, frame) for position, entry in enumerate(reader.entries) for frame in range(entry.num_frames)
        ]  # of every frame, for samplers

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.index)

    def __getitem__(self, place: tuple[int, int]) -> SmallFrame:
        """Frame of an episode, both by position.

        Raises:
            DatasetError: it cannot be read.
            IndexError: there is no such frame.
        """
        position, frame = place
        position = range(len(self._reader))[position]
        if self._cache is None:
            episode = self._reader[position]
            return self._made(episode, range(len(episode))[frame])
        if position not in self._cached:
            self._cached[position] = self._filled(position, self._cache)
        return _from_row(self._cached[position][frame])

    def rgb(self, position: int, frame: int) -> NDArray[np.uint8]:
        """The colour of a frame alone, from the dataset; black where the camera gave none."""
        return self._small_rgb(self._reader[position], frame)

    def _made(self, episode: RecordedEpisode, frame: int) -> SmallFrame:
        camera = self._view.camera
        present = int(episode.column(f"present.{camera}")[frame])
        return SmallFrame(
            self._small_rgb(episode, frame) if present & HAS_RGB else None,
            self._small_depth(episode, frame) if present & HAS_DEPTH else None,
        )

    def _small_rgb(self, episode: RecordedEpisode, frame: int) -> NDArray[np.uint8]:
        left, top, width, height = self._crop
        cut = episode.rgb(frame, self._view.camera)[top : top + height, left : left + width]
        return np.asarray(cv2.resize(cut, (self._view.size_px,) * 2, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def _small_depth(self, episode: RecordedEpisode, frame: int) -> NDArray[np.float32]:
        """One pixel for each: a mean over an edge would be a place where nothing is."""
        steps = episode.depth_steps(frame, self._view.camera, self._depth_lines)[:, self._depth_columns]
        return depth_from_steps(steps, self._reader.schema.depth_unit_m)

    def _filled(self, position: int, cache: Path) -> NDArray[np.void]:
        entry = self._reader.entries[position]
        path, row = cache / f"{self._key(position)}.frames", _row_type(self._view.size_px)
        if not path.is_file():
            made = np.zeros(entry.num_frames, dtype=row)
            for frame in range(entry.num_frames):
                made[frame] = _to_row(self._made(self._reader[position], frame))
            _save(path, made)
        # A bare file of rows: there is no header that could be anything else than its name says.
        size = entry.num_frames * row.itemsize
        if path.stat().st_size != size:
            raise DatasetError(f"has {path.stat().st_size} bytes and not {size}: delete it, it is a cache", file=path)
        return np.memmap(path, dtype=row, mode="r", shape=(entry.num_frames,))

    def _key(self, position: int) -> str:
        entry = self._reader.entries[position]
        video = entry.videos.get(IMAGE_PREFIX + self._view.camera)
        made_of = [_VERSION, entry.data.sha256, video.sha256 if video else "", asdict(self._view)]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _nearest(num: int, num_small: int) -> NDArray[np.intp]:
    """Which of `num` lines OpenCV keeps when it makes `num_small` of them."""
    kept = cv2.resize(np.arange(num, dtype=np.uint16)[:, None], (1, num_small), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(kept, dtype=np.intp).ravel()


def _row_type(size_px: int) -> np.dtype[np.void]:
    size = (size_px, size_px)
    return np.dtype([("present", np.uint8), ("rgb", np.uint8, (*size, 3)), ("depth_m", np.float32, size)])


def _to_row(frame: SmallFrame) -> tuple[Any, ...]:
    present = HAS_RGB * (frame.rgb is not None) + HAS_DEPTH * (frame.depth_m is not None)
    return present, 0 if frame.rgb is None else frame.rgb, np.nan if frame.depth_m is None else frame.depth_m


def _from_row(row: np.void) -> SmallFrame:
    present = int(row["present"])
    return SmallFrame(
        np.array(row["rgb"]) if present & HAS_RGB else None, np.array(row["depth_m"]) if present & HAS_DEPTH else None
    )


def _save(path: Path, rows: NDArray[np.void]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                stream.write(rows.tobytes())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
