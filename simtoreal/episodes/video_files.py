"""H.264 in mp4 through PyAV: written frame by frame, read at any frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.features import pixel_format

# Every picture is a key frame, so that one is decoded for one at random. Measured on noisy 640 x 480 pictures against a
# key frame every second picture: a third less to decode, and at this quality a sixth more bytes.
_OPTIONS = {"crf": "18", "preset": "ultrafast", "g": "1"}
Image = NDArray[np.uint8]


class PictureShape(NamedTuple):
    """Rate and size of a video."""

    fps: float
    width_px: int
    height_px: int


def add_h264_stream(container: OutputContainer, shape: PictureShape, options: dict[str, str]) -> VideoStream:
    """A stream for pictures of this shape, which every browser plays if both edges are even.

    It encodes in the calling thread, because a simulator has the other cores.

    Raises:
        DatasetError: this build of PyAV cannot encode H.264.
    """
    try:
        stream = container.add_stream("libx264", rate=Fraction(shape.fps).limit_denominator(1000))
    except (ValueError, av.FFmpegError) as error:
        raise DatasetError("PyAV was built without libx264: install the wheel of av from PyPI") from error
    stream.width, stream.height = shape.width_px, shape.height_px
    stream.pix_fmt = pixel_format(shape.width_px, shape.height_px)
    stream.options = {**options}
    stream.codec_context.thread_count = 1
    return stream


class VideoSink:
    """Writes one mp4 of an episode.

    Raises:
        OSError: the file cannot be written.
        DatasetError: there is no encoder.
    """

    def __init__(self, path: Path, shape: PictureShape) -> None:
        self.num_frames = 0
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = add_h264_stream(self._container, shape, dict(_OPTIONS))

    def write(self, rgb: Image) -> None:
        """Adds one picture (H, W, 3)."""
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        self.num_frames += 1

    def close(self) -> None:
        """Finishes the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abandon(self) -> None:
        """Gives the file up where it stands."""
        self._container.close()


class VideoFile:
    """The pictures of one mp4 by number; the decoder stays open and where it is.

    Raises:
        DatasetError: the file is not there, not an mp4, or holds no H.264.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self._fps = Fraction(fps).limit_denominator(1000)
        with self._explained(None):
            # The format is given, so that a playlist under this name is refused instead of followed.
            self._container: InputContainer = av.open(str(path), format="mov")
            if not self._container.streams.video:
                raise DatasetError("holds no video", file=path)
            self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1
        self._position = 0  # of the next picture that the decoder gives
        self._decoder: Iterator[av.VideoFrame] | None = None

    @property
    def num_frames(self) -> int:
        """As the index of the file says, without decoding."""
        return int(self._stream.frames)

    def close(self) -> None:
        self._decoder = None
        self._container.close()

    def frame(self, index: int) -> Image:
        """Picture `index` (H, W, 3).

        Raises:
            DatasetError: the video ends before it or is damaged there.
        """
        with self._explained(index):
            decoded = self._decode(index)
            # One thread: with the default, each picture starts threads of its own and ends them.
            return np.asarray(decoded.reformat(format="rgb24", threads=1).to_ndarray())

    def _decode(self, index: int) -> av.VideoFrame:
        if self._decoder is None or index != self._position:
            self._seek(index)
        assert self._decoder is not None
        for frame in self._decoder:
            number = self._number(frame)
            self._position = number + 1
            if number == index:
                return frame
            if number > index:
                break
        raise DatasetError("the video has no such frame", file=self.path, frame=index)

    def _seek(self, index: int) -> None:
        time_base = self._stream.time_base or Fraction(1, 1000)
        self._container.seek(int(index / self._fps / time_base), stream=self._stream, backward=True)
        self._decoder = self._container.decode(self._stream)

    def _number(self, frame: av.VideoFrame) -> int:
        if frame.pts is None or frame.time_base is None:
            raise DatasetError("the video has a frame without a time", file=self.path)
        return round(frame.pts * frame.time_base * self._fps)

    @contextmanager
    def _explained(self, index: int | None) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError, ValueError, StopIteration) as error:
            self._decoder = None
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(f"the video cannot be read ({error})", file=self.path, frame=index) from error


def probe(path: Path, fps: float) -> dict[str, Any]:
    """Size and number of frames of a video, as its index says."""
    video = VideoFile(path, fps)
    try:
        return {"num_frames": video.num_frames, "size": (video._stream.width, video._stream.height)}
    finally:
        video.close()
