"""Reading a dataset: any frame of any episode, or one after the other; nothing is decoded before it is asked for."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simtoreal.episodes.entries import DESCRIPTION_KEY, EpisodeEntry, from_description
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.features import Schema
from simtoreal.episodes.layout import DEPTH_PREFIX, IMAGE_PREFIX, Layout
from simtoreal.episodes.meta_files import explain_read_errors
from simtoreal.episodes.metadata import read_metadata
from simtoreal.episodes.pixels import decode_rgb, decode_step_lines, decode_steps, depth_from_steps
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame, EpisodeInfo, FrameImage
from simtoreal.episodes.rows import HAS_DEPTH, HAS_RGB, camera_pose, to_frame
from simtoreal.episodes.video_files import VideoFile

_MAX_OPEN = 64  # episodes whose files stay open: 4 MB and two or three files each, of 640 x 480 RGB-D
_GROUPS_KEPT = 2  # row groups of pictures that an open episode keeps


class DatasetReader:
    """A dataset that this package wrote: `reader[3][17]` is frame 17 of episode 3. Use as a context manager.

    Args:
        folder: of the dataset.
        skip_broken: leave out the episodes that cannot be read and list them in `broken`; otherwise the first of
            them raises. What is looked at is that files are there, of the size they were written with, and have as
            many rows and pictures as the table of episodes says; `simtoreal.episodes.verify` looks at every byte.

    Raises:
        DatasetError: it is not a dataset, or an episode is broken.
    """

    def __init__(self, folder: Path, *, skip_broken: bool = False) -> None:
        self.layout = Layout(Path(folder))
        metadata = read_metadata(self.layout)
        self.schema: Schema = metadata.schema
        self.tasks = metadata.tasks
        self.broken: list[DatasetError] = list(metadata.problems)
        self._open: OrderedDict[int, RecordedEpisode] = OrderedDict()
        self._entries: list[EpisodeEntry] = []
        if self.broken and not skip_broken:
            raise self.broken[0]
        for entry in metadata.entries:
            try:
                check_files(self.layout, entry, self.schema)
                self._entries.append(entry)
            except DatasetError as error:
                if not skip_broken:
                    raise
                self.broken.append(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all files. Safe to call again."""
        while self._open:
            self._open.popitem()[1].close()

    @property
    def entries(self) -> tuple[EpisodeEntry, ...]:
        """What is known of each episode, without opening it."""
        return tuple(self._entries)

    @property
    def num_frames(self) -> int:
        return sum(entry.num_frames for entry in self._entries)

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._entries)

    def __getitem__(self, position: int) -> "RecordedEpisode":
        """Episode at a position; the same as its index, unless broken ones were left out."""
        position = range(len(self._entries))[position]
        if position not in self._open:
            if len(self._open) >= _MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[position] = RecordedEpisode(self.layout, self._entries[position], self.schema)
        self._open.move_to_end(position)
        return self._open[position]

    def __iter__(self) -> Iterator["RecordedEpisode"]:
        for position in range(len(self)):
            yield self[position]


class RecordedEpisode:
    """One episode: a sequence of frames, with what is known of it as a whole.

    Raises:
        DatasetError: one of its files is not there or damaged.
    """

    def __init__(self, layout: Layout, entry: EpisodeEntry, schema: Schema) -> None:
        self.entry = entry
        self.layout = layout
        self.schema = schema
        self.path = layout.data(entry.data.slot)
        with explain_read_errors(self.path, entry.index):
            names = [name for name in schema.arrow().names if name not in schema.png_keys]
            with pq.ParquetFile(self.path, page_checksum_verification=True) as numbers:
                self._rows = _rows(numbers.read(columns=names), entry, self.path)
            self._parquet = pq.ParquetFile(self.path, memory_map=True)
        self._groups = _PictureGroups(self._parquet, schema.png_keys)
        self._videos: dict[str, VideoFile] = {}

    def description(self) -> EpisodeEntry:
        """What the data file says of the episode: the entry with its statistics, which the reader passes over.

        Raises:
            DatasetError: it says nothing, or cannot be read.
        """
        return read_description(self.path, self.entry.index)[0]

    @property
    def info(self) -> EpisodeInfo:
        return self.entry.info

    @property
    def end(self) -> EpisodeEnd:
        return self.entry.end

    def __len__(self) -> int:
        """Number of frames."""
        return self.entry.num_frames

    def __getitem__(self, index: int) -> EpisodeFrame:
        """Frame `index`, with all its images.

        Raises:
            DatasetError: it cannot be read.
            IndexError: there is no such frame.
        """
        return self.frame(index)

    def __iter__(self) -> Iterator[EpisodeFrame]:
        for index in range(len(self)):
            yield self.frame(index)

    def frame(self, index: int, cameras: tuple[str, ...] | None = None) -> EpisodeFrame:
        """Frame `index` with the images of some cameras, None for all of them.

        Raises:
            DatasetError: it cannot be read.
            IndexError: there is no such frame.
        """
        index = range(len(self))[index]
        row = self.row(index)
        names = self.info.cameras if cameras is None else cameras
        images = {name: image for name in names if (image := self._image(row, index, name)) is not None}
        try:
            return to_frame(row, images)
        except ValueError as error:
            raise DatasetError(str(error), file=self.path, episode=self.entry.index, frame=index) from error

    def row(self, index: int) -> Mapping[str, Any]:
        """The numbers of frame `index`, by column."""
        return {name: values[index] for name, values in self._rows.items()}

    def column(self, name: str) -> NDArray[Any]:
        """One column over all frames, (N,) or (N, size)."""
        return self._rows[name]

    def rgb(self, index: int, camera: str) -> NDArray[np.uint8]:
        """Colour image (H, W, 3), as stored: black where the camera gave none, see `image`.

        Raises:
            DatasetError: it cannot be read.
        """
        columns, key = self.schema.cameras[camera], IMAGE_PREFIX + camera
        if columns.rgb == "video":
            with self._named(index):
                return self.video(camera).frame(index)
        with self._named(index):
            return decode_rgb(self._groups.png(key, index), columns.width_px, columns.height_px)

    def depth_m(self, index: int, camera: str) -> NDArray[np.float32]:
        """Depth image (H, W), metres, nan is no return.

        Raises:
            DatasetError: it cannot be read.
        """
        return depth_from_steps(self.depth_steps(index, camera), self.schema.depth_unit_m)

    def depth_steps(self, index: int, camera: str, lines: NDArray[np.intp] | None = None) -> NDArray[np.uint16]:
        """Depth image (H, W) in whole steps of `schema.depth_unit_m`, as stored; 0 is no return.

        Args:
            index: of the frame.
            camera: its name.
            lines: which of its lines to return, None for all of them; a few take half the time.

        Raises:
            DatasetError: it cannot be read.
        """
        columns = self.schema.cameras[camera]
        with self._named(index):
            data = self._groups.png(DEPTH_PREFIX + camera, index)
            if lines is not None:
                return decode_step_lines(data, columns.width_px, columns.height_px, lines)
            return decode_steps(data, columns.width_px, columns.height_px)

    def video(self, camera: str) -> VideoFile:
        """The video of a camera, opened when it is first asked for."""
        if camera not in self._videos:
            key = IMAGE_PREFIX + camera
            self._videos[camera] = VideoFile(self.layout.video(key, self.entry.videos[key].slot), self.schema.fps)
        return self._videos[camera]

    def close(self) -> None:
        """Closes all files. Safe to call again."""
        self._parquet.close()
        while self._videos:
            self._videos.popitem()[1].close()

    def _image(self, row: Mapping[str, Any], index: int, name: str) -> FrameImage | None:
        present = int(row[f"present.{name}"])
        if not present:
            return None
        return FrameImage(
            t_s=float(row[f"capture_timestamp.{name}"]),
            rgb=self.rgb(index, name) if present & HAS_RGB else None,
            depth_m=self.depth_m(index, name) if present & HAS_DEPTH else None,
            T_base_cam=camera_pose(row, name),
        )

    def _named(self, index: int) -> "_Named":
        return _Named(self, index)


class _Named:
    """Adds file, episode and frame to what decoding says."""

    def __init__(self, episode: RecordedEpisode, frame: int) -> None:
        self._episode, self._frame = episode, frame

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, DatasetError | pa.ArrowException | OSError):
            said = error if isinstance(error, DatasetError) else DatasetError(f"is damaged ({error})")
            file, episode = said.file or self._episode.path, self._episode.entry.index
            raise DatasetError(said.what, file=file, episode=episode, frame=self._frame) from error


class _PictureGroups:
    """Pictures of a data file by row; the row groups read last are kept."""

    def __init__(self, parquet: pq.ParquetFile, keys: tuple[str, ...]) -> None:
        self._parquet = parquet
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.metadata.num_row_groups)]
        self._ends = np.cumsum(sizes)
        self._kept: OrderedDict[tuple[str, int], pa.ChunkedArray] = OrderedDict()
        self._num_kept = _GROUPS_KEPT * max(len(keys), 1)

    def png(self, key: str, row: int) -> bytes:
        group = int(np.searchsorted(self._ends, row, side="right"))
        first = int(self._ends[group - 1]) if group else 0
        if (key, group) not in self._kept:
            if len(self._kept) >= self._num_kept:
                self._kept.popitem(last=False)
            self._kept[key, group] = self._parquet.read_row_group(group, columns=[f"{key}.bytes"])[key]
        data = self._kept[key, group][row - first]["bytes"].as_py()
        if not isinstance(data, bytes):
            raise DatasetError(f"column {key!r} has no picture here")
        return data


def _rows(table: pa.Table, entry: EpisodeEntry, path: Path) -> dict[str, NDArray[Any]]:
    if table.num_rows != entry.num_frames:
        raise DatasetError(
            f"has {table.num_rows} rows, and the table of episodes says {entry.num_frames}",
            file=path,
            episode=entry.index,
        )
    return {name: _array(table[name].combine_chunks()) for name in table.column_names}


def _array(column: pa.Array) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(column.type):
        return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)
    return np.asarray(column)


def read_description(path: Path, episode: int | None = None) -> tuple[EpisodeEntry, Schema]:
    """What a data file says of its episode, and how it is stored.

    Raises:
        DatasetError: it says nothing, or cannot be read.
    """
    with explain_read_errors(path, episode), pq.ParquetFile(path) as parquet:
        metadata = parquet.metadata.metadata or {}
    if DESCRIPTION_KEY not in metadata:
        raise DatasetError("does not describe its episode: it was not written by simtoreal", file=path, episode=episode)
    try:
        return from_description(metadata[DESCRIPTION_KEY])
    except DatasetError as error:
        raise DatasetError(error.what, file=path, episode=episode) from error


def check_files(layout: Layout, entry: EpisodeEntry, schema: Schema) -> None:
    """Looks for what can be seen without reading an episode: its files are there, whole, and of the right length.

    Raises:
        DatasetError: the first thing that is not so.
    """
    path = layout.data(entry.data.slot)
    _check_size(path, entry.data.num_bytes, entry.index)
    with explain_read_errors(path, entry.index), pq.ParquetFile(path) as parquet:
        if not parquet.schema_arrow.equals(schema.arrow()):
            raise DatasetError("has other columns than meta/info.json says", file=path, episode=entry.index)
        if parquet.metadata.num_rows != entry.num_frames:
            raise DatasetError(
                f"has {parquet.metadata.num_rows} rows, and the table of episodes says {entry.num_frames}",
                file=path,
                episode=entry.index,
            )
    for key, stored in entry.videos.items():
        path = layout.video(key, stored.slot)
        _check_size(path, stored.num_bytes, entry.index)


def _check_size(path: Path, num_bytes: int, episode: int) -> None:
    if not path.is_file():
        raise DatasetError("there is no such file", file=path, episode=episode)
    found = path.stat().st_size
    if found != num_bytes:
        raise DatasetError(f"has {found} bytes and was written with {num_bytes}", file=path, episode=episode)
