"""A recorder in the control loop: it copies what was seen, and another thread encodes it.

The queue between the two is bounded and nothing is dropped: where encoding cannot keep up, the loop waits, and how
often and how long is counted. Pictures are copied into memory that is used again: the first touch of fresh memory takes
up to ten times as long as the copy, and would be a long step whenever the queue grows.
"""

import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import CameraImage, Observation
from simtoreal.episodes.episode_writer import EpisodeWriter
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeFrame, EpisodeInfo, FrameImage, Mount
from simtoreal.episodes.writer import DatasetWriter
from simtoreal.runtime import Step

QUEUE_FRAMES = 32  # 138 MB of two 640 x 480 RGB-D cameras, a second and a half at 20 Hz
_FIRST_BYTES = 10 * 2**20  # memory for the first two of them
_FOREVER_S = 0.5  # between two looks at whether the encoder is still alive


@dataclass
class Pressure:
    """How well encoding kept up in an episode."""

    longest_queue: int = 0
    num_waits: int = 0  # steps in which the loop had to wait for a place in the queue
    waited_s: float = 0.0
    longest_step_s: float = 0.0  # that the recorder took of the loop, waiting included


def real_time(step: Step) -> float:
    """When the control period of a step began, on the machine's monotonic clock: for controllers that use it too."""
    return time.monotonic() - step.policy_s


class Recorder:
    """Records every episode of a loop that it subscribes to. Use as a context manager.

    An episode lies open from the loop's start to `finish(end)`, which is called when its outcome is known; an episode
    that begins before that discards the one before it, as does `discard`.

    Args:
        writer: of the dataset; nobody else writes an episode to it meanwhile.
        mounts: names of the cameras and where each is mounted: first the one that `Observation` holds itself, then
            those of `more_cameras`.
        clock: when the period of a step began, on the clock of the observations.

    Raises:
        DatasetError: `mounts` is empty.
    """

    def __init__(
        self, writer: DatasetWriter, mounts: Mapping[str, Mount], clock: Callable[[Step], float] = real_time
    ) -> None:
        if not mounts:
            raise DatasetError("mounts must name at least the camera that policies look through")
        self.pressure = Pressure()
        self.about = EpisodeInfo(fps=20.0, cameras={})
        self._writer = writer
        self._mounts = mounts
        self._main = next(iter(mounts))
        self._clock = clock
        self._memory = _Memory()
        self._encoder: _Encoder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def prepare(self, about: EpisodeInfo) -> None:
        """Says what the next episode is; its cameras are filled in from the first observation."""
        self.about = about

    def episode_start(self) -> None:
        """Discards an episode that was not finished."""
        self.discard()
        self.pressure = Pressure()
        # Its thread is up before the first step, which must not wait for it.
        self._encoder = _Encoder(self.pressure, self._memory)

    def step(self, step: Step) -> None:
        """Copies what was seen and queues it.

        Raises:
            DatasetError: an earlier frame could not be written.
        """
        started_s = time.perf_counter()
        frame = self._frame(step)
        if self._encoder is None:
            self.episode_start()
        assert self._encoder is not None
        if self._encoder.episode is None:
            info = replace(self.about, cameras=self._cameras(step.observation))
            self._encoder.episode = self._writer.episode(info)
        self._encoder.put(frame)
        self.pressure.longest_step_s = max(self.pressure.longest_step_s, time.perf_counter() - started_s)

    def episode_end(self) -> None:
        """The outcome is not known yet: see `finish`."""

    def finish(self, end: EpisodeEnd) -> int:
        """Waits for what is queued and makes the episode part of the dataset; returns its index.

        Raises:
            DatasetError: nothing was recorded, or it cannot be written.
        """
        encoder, self._encoder = self._encoder, None
        if encoder is None or encoder.episode is None:
            if encoder is not None:
                encoder.stop()
            raise DatasetError("no step was recorded since the last episode", file=self._writer.layout.root)
        with encoder.episode as episode:
            encoder.drain()
            return episode.finish(end)

    def discard(self) -> None:
        """Forgets an episode that was not finished. Safe to call at any time."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.stop()
            if encoder.episode is not None:
                encoder.episode.discard()

    def _frame(self, step: Step) -> EpisodeFrame:
        seen = step.observation
        images = {name: self._memory.copy(image) for name, image in self._images(seen).items()}
        joints = seen.joint_positions_rad
        return EpisodeFrame(
            t_s=self._clock(step),
            images=images,
            T_base_tcp=seen.T_base_tcp.copy(),
            gripper_width_m=float(seen.gripper_width_m),
            joint_positions_rad=None if joints is None else joints.copy(),
            state_t_s=seen.t_s,
            commanded=step.commanded,
            sent=step.action,
        )

    def _images(self, seen: Observation) -> dict[str, CameraImage]:
        """Every camera that gave something, by name.

        Raises:
            DatasetError: two cameras have one name, or one is not among the mounts.
        """
        more = dict(seen.more_cameras or {})
        if self._main in more:
            raise DatasetError(f"two cameras have one name, {self._main!r}: rename the one in more_cameras")
        unknown = sorted(more.keys() - self._mounts.keys())
        if unknown:
            raise DatasetError(f"cameras {unknown} are not among the mounts {list(self._mounts)}: say where they are")
        main = CameraImage(seen.t_s, seen.rgb, seen.depth_m, seen.K, seen.T_base_cam, seen.distortion)
        return {name: image for name, image in {self._main: main, **more}.items() if _shape(image) is not None}

    def _cameras(self, seen: Observation) -> dict[str, CameraInfo]:
        cameras = {}
        for name, image in self._images(seen).items():
            height, width = _shape(image) or (0, 0)
            mount = self._mounts[name]
            base = frames.invert(seen.T_base_tcp) if mount == "wrist" else np.eye(4)
            cameras[name] = CameraInfo(
                width_px=width,
                height_px=height,
                has_rgb=image.rgb is not None,
                has_depth=image.depth_m is not None,
                mount=mount,
                K=image.K,
                distortion=image.distortion,
                T_mount_cam=None if mount == "unknown" else base @ image.T_base_cam,
            )
        return cameras


class _Memory:
    """Where pictures wait; a driver may write its next one into the memory of the last.

    The loop takes memory, the encoder gives it back; operations on a deque are whole, so neither waits for the other.
    """

    def __init__(self) -> None:
        self._free: defaultdict[tuple[Any, ...], deque[NDArray[Any]]] = defaultdict(deque)  # by shape and type
        self._first = np.ones(_FIRST_BYTES, np.uint8)  # touched here, because nobody knows shapes before the first step
        self._is_filled = False

    def copy(self, image: CameraImage) -> FrameImage:
        return FrameImage(
            t_s=image.t_s,
            rgb=None if image.rgb is None else self._copy(image.rgb),
            depth_m=None if image.depth_m is None else self._copy(image.depth_m),
            T_base_cam=image.T_base_cam.copy(),
        )

    def fill(self, frame: EpisodeFrame) -> None:
        """Touches memory for a whole queue of such frames, once."""
        if not self._is_filled:
            self._is_filled = True
            for picture in [picture for picture in _pictures(frame) for _ in range(QUEUE_FRAMES)]:
                self._give_back(np.full_like(picture, 0))

    def give_back(self, frame: EpisodeFrame) -> None:
        """Nobody looks at this frame any more."""
        for picture in _pictures(frame):
            self._give_back(picture)

    def _copy(self, picture: NDArray[Any]) -> NDArray[Any]:
        free = self._free[picture.shape, picture.dtype]
        kept = free.pop() if free else self._fresh(picture)
        if picture.flags.c_contiguous:
            # NumPy would let go of Python's lock, and wait until the encoders let go of it in turn.
            kept.reshape(-1).view(np.uint8).data[:] = picture.reshape(-1).view(np.uint8).data
        else:
            np.copyto(kept, picture)
        return kept

    def _fresh(self, picture: NDArray[Any]) -> NDArray[Any]:
        size = -(-picture.nbytes // 64) * 64  # so that the next one is aligned, too
        if size > len(self._first):
            return np.empty(picture.shape, picture.dtype)
        part, self._first = self._first[: picture.nbytes], self._first[size:]
        return part.view(picture.dtype).reshape(picture.shape)

    def _give_back(self, picture: NDArray[Any]) -> None:
        self._free[picture.shape, picture.dtype].append(picture)


class _Encoder:
    """Hands frames to an episode in another thread."""

    def __init__(self, pressure: Pressure, memory: _Memory) -> None:
        self.episode: EpisodeWriter | None = None  # set before the first frame is put
        self._pressure = pressure
        self._memory = memory
        self._queue: queue.Queue[EpisodeFrame | None] = queue.Queue(QUEUE_FRAMES)
        self._error: Exception | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._encode, name="recorder", daemon=True)
        self._thread.start()

    def put(self, frame: EpisodeFrame) -> None:
        self._raise_error()
        if self._queue.full():
            started_s = time.perf_counter()
            self._wait_to_put(frame)
            self._pressure.num_waits += 1
            self._pressure.waited_s += time.perf_counter() - started_s
        else:
            self._queue.put_nowait(frame)
        self._pressure.longest_queue = max(self._pressure.longest_queue, self._queue.qsize())

    def drain(self) -> None:
        """Waits until everything is written."""
        self._wait_to_put(None)
        self._thread.join()
        self._raise_error()

    def stop(self) -> None:
        """Ends the thread without writing what is left."""
        self._stopping = True
        self._wait_to_put(None)
        self._thread.join()

    def _wait_to_put(self, frame: EpisodeFrame | None) -> None:
        while self._thread.is_alive():
            try:
                self._queue.put(frame, timeout=_FOREVER_S)
                return
            except queue.Full:
                continue
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None and not self._stopping:
            raise self._error

    def _encode(self) -> None:
        while (frame := self._queue.get()) is not None:
            self._memory.fill(frame)
            # What is queued behind a frame that failed is let go, so that nobody waits for ever.
            if self._error is None and not self._stopping:
                self._add(frame)
            self._memory.give_back(frame)

    def _add(self, frame: EpisodeFrame) -> None:
        try:
            assert self.episode is not None
            self.episode.add(frame)
        except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
            self._error = error


def _shape(image: CameraImage) -> tuple[int, int] | None:
    pixels: NDArray[np.generic] | None = image.rgb if image.rgb is not None else image.depth_m
    return None if pixels is None else (pixels.shape[0], pixels.shape[1])


def _pictures(frame: EpisodeFrame) -> list[NDArray[Any]]:
    return [picture for image in frame.images.values() for picture in (image.rgb, image.depth_m) if picture is not None]
