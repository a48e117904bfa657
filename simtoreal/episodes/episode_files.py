"""The files of one episode as they grow: rows and lossless pictures in parquet, colour in videos."""

from array import array
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from simtoreal.episodes.entries import DESCRIPTION_KEY
from simtoreal.episodes.feature_stats import PictureStats, Stats, vector_stats
from simtoreal.episodes.features import Schema
from simtoreal.episodes.layout import DEPTH_PREFIX, IMAGE_PREFIX
from simtoreal.episodes.pixels import MAX_STEPS, check_rgb, encode_png, quantise_depth
from simtoreal.episodes.records import EpisodeFrame, FrameImage
from simtoreal.episodes.rows import Row, to_row
from simtoreal.episodes.video_files import PictureShape, VideoSink

# Rows that are read together when one is asked for: few where pictures make a row a fifth of a megabyte.
ROWS_PER_GROUP, PICTURE_ROWS_PER_GROUP = 256, 2


Pictures = dict[str, tuple[NDArray[np.uint8] | None, NDArray[np.uint16] | None]]  # by camera: colour, depth in steps


class Place(NamedTuple):
    """Where an episode lies in its dataset."""

    episode: int
    first_row: int
    task: int


def open_rows(path: Path, columns: pa.Schema) -> pq.ParquetWriter:
    """A data file to write; pages carry checksums, so that a damaged number is noticed when it is read."""
    pictures = {field.name for field in columns if pa.types.is_struct(field.type)}
    leaves = [
        leaf for name in columns.names for leaf in ((f"{name}.bytes", f"{name}.path") if name in pictures else (name,))
    ]
    squeezed = {leaf: "NONE" if leaf.endswith(".bytes") else "SNAPPY" for leaf in leaves}  # a PNG is that already
    return pq.ParquetWriter(path, columns, compression=squeezed, write_page_checksum=True)


class EpisodeFiles:
    """Writes the rows and pictures of one episode into a folder of its own.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, schema: Schema, place: Place) -> None:
        self.num_frames = 0
        self.data = folder / "data.parquet"
        self.videos = {key: folder / f"{key}.mp4" for key in schema.video_keys}
        self._schema = schema
        self._place = place
        self._columns = schema.arrow()
        self._rows: list[dict[str, Any]] = []
        self._numbers: dict[str, array[float]] = {}  # compact: an episode may be an hour long
        self._pictures = _picture_stats(schema)
        # Encoders work outside of Python's lock: cameras are encoded at the same time.
        self._pool = ThreadPoolExecutor(max(len(schema.cameras), 1), thread_name_prefix="camera")
        self._blank = {name: np.zeros((c.height_px, c.width_px, 3), np.uint8) for name, c in schema.cameras.items()}
        self._parquet = open_rows(self.data, self._columns)
        self._sinks = {
            IMAGE_PREFIX + name: VideoSink(
                self.videos[IMAGE_PREFIX + name], PictureShape(schema.fps, columns.width_px, columns.height_px)
            )
            for name, columns in schema.cameras.items()
            if columns.rgb == "video"
        }

    def pictures_of(self, frame: EpisodeFrame) -> Pictures:
        """The pictures of a frame as they will be stored.

        Raises:
            DatasetError: one has the wrong size or type.
        """
        names = self._schema.cameras
        return dict(
            zip(names, self._pool.map(lambda name: self._checked(name, frame.images.get(name)), names), strict=True)
        )

    def add(self, frame: EpisodeFrame, pictures: Pictures) -> None:
        """Adds a checked frame with the pictures that `pictures_of` made of it.

        Raises:
            OSError: the disk is full or went away; the episode cannot go on.
        """
        row: dict[str, Any] = {**to_row(frame, self._schema), **self._index_values()}
        for key, values in row.items():
            self._numbers.setdefault(key, array("d")).extend(np.atleast_1d(values).tolist())
        for stored in self._pool.map(lambda name: self._store(name, *pictures[name]), pictures):
            row |= stored
        self._rows.append(row)
        self.num_frames += 1
        if len(self._rows) >= self._rows_per_group():
            self._flush()

    def close_videos(self) -> None:
        """Finishes the videos."""
        self._pool.shutdown()
        for sink in self._sinks.values():
            sink.close()

    def close_rows(self, description: str) -> None:
        """Finishes the data file, with what is known of the episode as a whole in it."""
        self._flush()
        self._parquet.add_key_value_metadata({DESCRIPTION_KEY: description})
        self._parquet.close()

    def abandon(self) -> None:
        """Lets go of the files without finishing them; whatever that runs into, they are given up."""
        self._pool.shutdown()
        for close in (*(sink.abandon for sink in self._sinks.values()), self._parquet.close):
            with suppress(OSError, av.FFmpegError, pa.ArrowException):
                close()

    def stats(self) -> dict[str, Stats]:
        """Statistics of every column that the episode knows something of."""
        found = {
            key: vector_stats(np.frombuffer(values).reshape(self.num_frames, -1))
            for key, values in self._numbers.items()
        }
        found |= {key: stats.result() for key, stats in self._pictures.items()}
        return {key: stats for key, stats in found.items() if stats is not None}

    def _checked(
        self, name: str, image: FrameImage | None
    ) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint16] | None]:
        columns = self._schema.cameras[name]
        rgb = None if image is None or columns.rgb is None else image.rgb
        depth_m = None if image is None or not columns.has_depth else image.depth_m
        if rgb is not None:
            check_rgb(rgb, columns.width_px, columns.height_px)
        if depth_m is None:
            return rgb, None
        return rgb, quantise_depth(depth_m, self._schema.depth_unit_m, columns.width_px, columns.height_px)

    def _store(self, name: str, rgb: NDArray[np.uint8] | None, steps: NDArray[np.uint16] | None) -> dict[str, Any]:
        """Writes the pictures of one camera; every row has one, because lerobot expects it: black where none came."""
        columns = self._schema.cameras[name]
        stored: dict[str, Any] = {}
        image_key, depth_key = IMAGE_PREFIX + name, DEPTH_PREFIX + name
        if rgb is not None:
            self._pictures[image_key].add(rgb)
        shown = self._blank[name] if rgb is None else rgb
        if columns.rgb == "video":
            self._sinks[image_key].write(shown)
        elif columns.rgb == "png":
            stored[image_key] = self._png(shown)
        if columns.has_depth:
            if steps is not None:
                self._pictures[depth_key].add(steps)
            stored[depth_key] = self._png(np.zeros(shown.shape[:2], np.uint16) if steps is None else steps)
        return stored

    def _png(self, pixels: NDArray[Any]) -> dict[str, Any]:
        return {"bytes": encode_png(pixels), "path": f"frame-{self.num_frames:06d}.png"}

    def _index_values(self) -> Row:
        return {
            "timestamp": self.num_frames / self._schema.fps,
            "frame_index": self.num_frames,
            "episode_index": self._place.episode,
            "index": self._place.first_row + self.num_frames,
            "task_index": self._place.task,
        }

    def _rows_per_group(self) -> int:
        """Few where there are pictures, but not so few that a long episode is all footer."""
        if not self._schema.png_keys:
            return ROWS_PER_GROUP
        return min(max(PICTURE_ROWS_PER_GROUP, self.num_frames // 256), ROWS_PER_GROUP // 4)

    def _flush(self) -> None:
        if self._rows:
            arrays = [_column([row[field.name] for row in self._rows], field.type) for field in self._columns]
            self._parquet.write_table(pa.Table.from_arrays(arrays, schema=self._columns))
            self._rows.clear()


def _column(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(type_):
        flat = np.concatenate(values).astype(type_.value_type.to_pandas_dtype(), copy=False)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=type_)
    plain = [value if isinstance(value, dict) else np.asarray(value).reshape(-1)[0] for value in values]
    return pa.array(plain, type=type_)


def _picture_stats(schema: Schema) -> Mapping[str, PictureStats]:
    stats = {IMAGE_PREFIX + name: PictureStats(3, 256) for name, columns in schema.cameras.items() if columns.rgb}
    depth = {DEPTH_PREFIX + name for name, columns in schema.cameras.items() if columns.has_depth}
    return stats | {key: PictureStats(1, MAX_STEPS + 1) for key in depth}
