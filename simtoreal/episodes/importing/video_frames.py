"""Pictures of a video one after the other, each asked for by its time: for episodes that share a file as well."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from simtoreal.episodes.importing.encoded_images import MAX_PIXELS
from simtoreal.episodes.importing.source import SourceError


class VideoFrames:
    """Decodes forward through a video; use as a context manager.

    Args:
        path: the file.
        start_s: time of the first picture that will be asked for.
        tolerance_s: how far the time of a picture may lie from the time asked for.

    Raises:
        SourceError: not a video, one without pictures, or one whose codec this build cannot decode.
    """

    def __init__(self, path: Path, start_s: float, tolerance_s: float) -> None:
        self._path, self._tolerance_s = path, tolerance_s
        self._ahead: tuple[float, Any] | None = None
        try:
            # the format is fixed: others, such as playlists, would have further files opened
            self._container = av.open(str(path), format="mp4")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"the video cannot be opened ({error})", path) from error
        self._pictures = self._decode(start_s)

    def __enter__(self) -> "VideoFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def at(self, time_s: float) -> NDArray[np.uint8]:
        """The picture (H, W, 3) at a time that is not before the last one asked for.

        Raises:
            SourceError: the video has ended, has no picture then, or is damaged.
        """
        while True:
            if self._ahead is None:
                self._ahead = next(self._pictures, None)
            if self._ahead is None:
                raise SourceError(f"the video ends before {time_s:.3f} s: it has fewer pictures than rows", self._path)
            shown_s, picture = self._ahead
            if shown_s > time_s + self._tolerance_s:
                raise SourceError(f"the video has no picture at {time_s:.3f} s, the next is {shown_s:.3f}", self._path)
            self._ahead = None
            if shown_s >= time_s - self._tolerance_s:
                return np.asarray(picture.to_ndarray(format="rgb24"))

    def _decode(self, start_s: float) -> Iterator[tuple[float, Any]]:
        try:
            stream = self._stream()
            # a little early, because seeking goes to the key frame before
            first = max(start_s - self._tolerance_s, 0.0)
            self._container.seek(math.floor(first / float(stream.time_base)), stream=stream)
            for frame in self._container.decode(stream):
                if frame.width * frame.height > MAX_PIXELS:
                    raise SourceError(f"pictures of {frame.width} x {frame.height} pixels are too large", self._path)
                if frame.pts is not None and frame.time is not None:
                    yield float(frame.time), frame
        except av.FFmpegError as error:
            raise SourceError(f"the video is damaged or breaks off ({error})", self._path) from error

    def _stream(self) -> Any:
        if not self._container.streams.video:
            raise SourceError("there are no pictures in the video file", self._path)
        stream = self._container.streams.video[0]
        if stream.codec_context is None or stream.time_base is None:
            raise SourceError("this build of PyAV has no decoder for the video's codec", self._path)
        if not 0 < stream.codec_context.width * stream.codec_context.height <= MAX_PIXELS:
            raise SourceError(f"the video claims a size of {stream.width} x {stream.height} pixels", self._path)
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        return stream
