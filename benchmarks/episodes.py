"""What recording costs the control loop, how fast a dataset is read for training, and how large an episode is.

    python benchmarks/episodes.py [--quick] [--frames FOLDER]

- Frames: real RGB-D pictures (480, 640) from a folder of npz files with `rgb` and `depth_m`, moved from frame to frame
  and given sensor noise anew each time, so that no codec meets the same picture twice; without such a folder, pictures
  that the simulated cell renders, treated alike. Two cameras, as a stereo rig or wrist and table would deliver.
- Recording: a loop at 20 Hz on real deadlines, its observations ready in memory, without the recorder and then with it.
  The time inside the recorder's `step` is what the loop loses; a missed deadline counts against recording only beyond
  those that the bare loop misses on the same machine.
  On a machine that has other work to do, `chrt -r 5 python benchmarks/episodes.py` gives it the priority of a real-time
  process, which stands in for a quiet machine.
- Reading: 64 x 64 crops of one camera in random order over the whole dataset, one core, processor time; from video
  (H.264), from video and depth together, and from the cache once it is filled.
- Size: against 8-bit colour and 16-bit depth, which is what a camera delivers.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported

import argparse  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from record import Row, save  # noqa: E402

from simtoreal import frames  # noqa: E402
from simtoreal.contracts import Action, CameraImage, Observation  # noqa: E402
from simtoreal.envs.sensors import corrupt_depth, corrupt_rgb  # noqa: E402
from simtoreal.envs.world_sample import SensorSample  # noqa: E402
from simtoreal.episodes.reader import DatasetReader  # noqa: E402
from simtoreal.episodes.recorder import Recorder  # noqa: E402
from simtoreal.episodes.records import EpisodeEnd, EpisodeInfo  # noqa: E402
from simtoreal.episodes.small_frames import SmallFrames, SmallView  # noqa: E402
from simtoreal.episodes.writer import DatasetWriter  # noqa: E402
from simtoreal.runtime import Pacer, Step, run_episode  # noqa: E402

WIDTH_PX, HEIGHT_PX, HZ = 640, 480, 20.0
RAW_BYTES = WIDTH_PX * HEIGHT_PX * (3 + 2)
MAX_STEP_MS, MIN_CACHE_HZ, MIN_VIDEO_HZ, MAX_SIZE_FRAC = 5.0, 1000.0, 150.0, 0.2
K = np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]])
# A stereo camera at its usual distance: 1.5 mm at half a metre, in patches, and colour noise of 2.5 levels.
SENSOR = SensorSample(depth_noise_m=0.0015, depth_correlation_px=2.0, depth_hole_edge_frac=0.5, rgb_noise=0.01)


class Picture(NamedTuple):
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]


@dataclass(frozen=True)
class Effort:
    steps: int
    episodes: int  # of 100 frames, for size and reading
    reads: int


FULL = Effort(steps=1000, episodes=4, reads=600)
QUICK = Effort(steps=100, episodes=1, reads=100)


def load_pictures(folder: Path) -> list[Picture]:
    """Real pictures, or rendered ones where there are none."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        return list(rendered())
    loaded = (np.load(path, allow_pickle=False) for path in paths)
    return [Picture(file["rgb"], file["depth_m"].astype(np.float32)) for file in loaded]


def rendered() -> Iterator[Picture]:
    from simtoreal.episodes.settings import RecordConfig
    from simtoreal.episodes.simulated_session import arena_spec
    from simtoreal.evaluation.arena import Arena, Job

    arena = Arena(arena_spec(RecordConfig(randomization="mild")))
    for episode in range(4):
        job = Job("oracle", episode, arena.objects.names[episode])
        _, cell = arena.policy(job.arm)
        seen = cell.reset(arena.scene(job, 0))
        assert seen.rgb is not None
        assert seen.depth_m is not None
        yield Picture(seen.rgb, seen.depth_m)
    arena.close()


def moving(pictures: Sequence[Picture], num: int, seed: int) -> Iterator[Picture]:
    """One of the pictures as a camera sees it that turns and comes closer, with new noise in every frame."""
    rng = np.random.default_rng(seed)
    still = pictures[seed % len(pictures)]
    steps = np.where(np.isfinite(still.depth_m), still.depth_m, 0.0).astype(np.float32)
    for index in range(num):
        turn = cv2.getRotationMatrix2D((320, 240), 0.3 * index, 1.0 + 0.004 * index)
        size, border = (WIDTH_PX, HEIGHT_PX), cv2.BORDER_REFLECT
        rgb = cv2.warpAffine(still.rgb, turn, size, borderMode=border)
        depth = cv2.warpAffine(steps, turn, size, flags=cv2.INTER_NEAREST, borderMode=border)
        yield Picture(corrupt_rgb(np.asarray(rgb), SENSOR, rng), corrupt_depth(np.asarray(depth), None, SENSOR, rng))


class Rig:
    """A controller whose observations lie ready, and a policy that does nothing."""

    control_hz = HZ

    def __init__(self, wrist: Sequence[Picture], table: Sequence[Picture]) -> None:
        self._pictures = list(zip(wrist, table, strict=True))
        self._index = 0
        self._action = Action(np.zeros(3), np.zeros(3), 0.08)

    def get_observation(self) -> Observation:
        self._index += 1
        return self.observe()

    def observe(self) -> Observation:
        # there and back again, so that no frame jumps
        wrist, table = self._pictures[-abs(self._index % (2 * len(self._pictures) - 1) - len(self._pictures) + 1) - 1]
        t_s = time.monotonic()
        T_base_tcp = frames.top_down([0.5, 0.0, 0.3], 0.0)
        other = CameraImage(t_s, table.rgb, table.depth_m, K, np.eye(4))
        return Observation(
            t_s, wrist.rgb, wrist.depth_m, K, T_base_tcp, T_base_tcp, 0.08, np.zeros(7), more_cameras={"table": other}
        )

    def act(self, observation: Observation) -> Action:
        return self._action

    def send_action(self, action: Action) -> Action:
        return action

    def sent(self, action: Action) -> None: ...
    def reset(self) -> None: ...
    def stop(self) -> None: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...


class Timed:
    """A recorder whose steps are timed."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.step_ms: list[float] = []

    def episode_start(self) -> None:
        self.recorder.episode_start()

    def step(self, step: Step) -> None:
        started_s = time.perf_counter()
        self.recorder.step(step)
        self.step_ms.append(1e3 * (time.perf_counter() - started_s))

    def episode_end(self) -> None:
        self.recorder.episode_end()


def loop(rig: Rig, num_steps: int, timed: Timed | None) -> int:
    """Runs the loop in real time; returns the deadlines that it missed."""
    pacer = Pacer(HZ)
    subscribers = [timed] if timed else []
    run_episode(rig, rig, rig.observe(), lambda step: step >= num_steps, subscribers, pacer)  # type: ignore[arg-type]
    return pacer.num_missed


def recording(pictures: Sequence[Picture], effort: Effort, folder: Path) -> list[Row]:
    rig = Rig(list(moving(pictures, 60, 0)), list(moving(pictures, 60, 1)))
    missed_bare = loop(rig, effort.steps, None)
    with DatasetWriter(folder) as writer, Recorder(writer, {"wrist": "wrist", "table": "external"}) as recorder:
        timed = Timed(recorder)
        recorder.prepare(EpisodeInfo(fps=HZ, cameras={}))
        processor_s = time.process_time()
        missed = loop(rig, effort.steps, timed)
        processor_s = time.process_time() - processor_s
        recorder.finish(EpisodeEnd())
        pressure = recorder.pressure
    p50, p99, most = (float(value) for value in np.percentile(timed.step_ms, [50, 99, 100]))
    numbers = {
        "step_ms_p50": p50, "step_ms_p99": p99, "step_ms_max": most, "steps": effort.steps, "missed": missed,
        "missed_bare": missed_bare, "longest_queue": pressure.longest_queue, "num_waits": pressure.num_waits,
        "cores_used": processor_s * HZ / effort.steps,
    }  # fmt: skip
    said = f"median {p50:.2f} ms, 99 % {p99:.2f} ms, most {most:.2f} ms; {missed} of {effort.steps} deadlines missed"
    said += f" ({missed_bare} without recording), queue at most {pressure.longest_queue}"
    said += f", {numbers['cores_used']:.2f} cores"
    reached = most < MAX_STEP_MS and missed <= missed_bare and not pressure.num_waits
    what = "recording two 640 x 480 RGB-D cameras at 20 Hz, time taken of the loop"
    return [Row(what, said, "under 5 ms, none missed", reached, numbers)]


def write_episodes(pictures: Sequence[Picture], effort: Effort, folder: Path) -> Row:
    """Episodes of 100 frames of one camera each, and how large they are."""
    from simtoreal.episodes.records import CameraInfo, EpisodeFrame, FrameImage

    camera = CameraInfo(WIDTH_PX, HEIGHT_PX, has_depth=True, mount="wrist", K=K)
    with DatasetWriter(folder) as writer:
        for number in range(effort.episodes):
            rows = (
                EpisodeFrame(index / HZ, {"wrist": FrameImage(index / HZ, *picture)})
                for index, picture in enumerate(moving(pictures, 100, number))
            )
            writer.write(EpisodeInfo(fps=HZ, cameras={"wrist": camera}), rows, EpisodeEnd())
        rgb, depth = (
            [file.num_bytes / (100 * RAW_BYTES) for file in files]
            for files in (
                [video for entry in writer.entries for video in entry.videos.values()],
                [entry.data for entry in writer.entries],
            )
        )
    shares = [a + b for a, b in zip(rgb, depth, strict=True)]
    said = f"{100 * np.mean(shares):.1f} % of raw, at most {100 * max(shares):.1f} % (n = {len(shares)} episodes; "
    said += f"colour {100 * np.mean(rgb):.1f} %, depth and the rest {100 * np.mean(depth):.1f} %)"
    numbers = {"shares": shares, "rgb": rgb, "depth": depth}
    what = "size of a 640 x 480 RGB-D episode of 100 frames"
    return Row(what, said, "at most 1/5", max(shares) <= MAX_SIZE_FRAC, numbers)


def reading(folder: Path, cache: Path, effort: Effort) -> list[Row]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    view = SmallView("wrist", 64)
    with DatasetReader(folder) as reader:
        from_video, from_cache = SmallFrames(reader, view), SmallFrames(reader, view, cache)
        order = [from_video.index[i] for i in rng.integers(0, len(from_video), effort.reads)]

        def rate(read: object, places: Sequence[tuple[int, int]]) -> float:
            started_s = time.process_time()
            for place in places:
                read(place)  # type: ignore[operator]
            return len(places) / (time.process_time() - started_s)

        def colour(place: tuple[int, int]) -> None:
            from_video.rgb(*place)

        rate(colour, order[:20])
        rgb_hz, both_hz = rate(colour, order), rate(from_video.__getitem__, order)
        for episode in range(len(reader)):
            from_cache[episode, 0]
        cache_hz = rate(from_cache.__getitem__, order * 20)
    os.sched_setaffinity(0, cores)
    what = "reading 64 x 64 crops of 640 x 480 in random order, one core"
    unit = "frames/s"
    return [
        Row(f"{what}: RGB-D from the cache", f"{cache_hz:,.0f} {unit}", f"at least {MIN_CACHE_HZ:,.0f}",
            cache_hz >= MIN_CACHE_HZ, {"rate_hz": cache_hz}),
        Row(f"{what}: RGB from video", f"{rgb_hz:.0f} {unit}", f"at least {MIN_VIDEO_HZ:.0f}",
            rgb_hz >= MIN_VIDEO_HZ, {"rate_hz": rgb_hz}),
        Row(f"{what}: RGB from video and depth from PNG", f"{both_hz:.0f} {unit}", f"at least {MIN_VIDEO_HZ:.0f}",
            both_hz >= MIN_VIDEO_HZ, {"rate_hz": both_hz}),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="see within a minute that it works")
    parser.add_argument("--frames", type=Path, default=Path("/work/shared/data/rgbd_tabletop"))
    arguments = parser.parse_args()
    effort = QUICK if arguments.quick else FULL
    pictures = load_pictures(arguments.frames)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = recording(pictures, effort, folder / "recorded")
        rows.append(write_episodes(pictures, effort, folder / "episodes"))
        rows += reading(folder / "episodes", folder / "cache", effort)
    save("episodes", rows, arguments.quick)


if __name__ == "__main__":
    main()
