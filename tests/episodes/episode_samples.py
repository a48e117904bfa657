"""Episodes of a few small frames, made from a seed: what is written can be compared with what is read."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeFrame, EpisodeInfo, FrameImage
from simtoreal.episodes.writer import DatasetWriter, WriterSettings

WIDTH_PX, HEIGHT_PX = 64, 48
K = np.array([[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]])


def camera_info(**changes: object) -> CameraInfo:
    nominal: dict[str, object] = {
        "width_px": WIDTH_PX, "height_px": HEIGHT_PX, "has_depth": True, "mount": "wrist", "K": K,
        "T_mount_cam": frames.transform([0.0, 0.05, -0.1]),
    }  # fmt: skip
    return CameraInfo(**{**nominal, **changes})  # type: ignore[arg-type]


def episode_info(**changes: object) -> EpisodeInfo:
    nominal: dict[str, object] = {
        "fps": 20.0, "cameras": {"wrist": camera_info()}, "domain": "mujoco", "robot": "panda", "object_name": "mug",
        "source": "a test",
    }  # fmt: skip
    return EpisodeInfo(**{**nominal, **changes})  # type: ignore[arg-type]


def rgb_image(seed: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> np.ndarray:
    """A smooth picture, as a video keeps it."""
    coarse = np.random.default_rng(seed).integers(40, 215, (3, 4, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC))


def depth_image(seed: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> np.ndarray:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.2, 1.5, (height_px, width_px)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    return depth


def frame(index: int, seed: int = 0, cameras: tuple[str, ...] = ("wrist",)) -> EpisodeFrame:
    """A frame with everything in it."""
    t_s = 0.05 * index
    T_base_tcp = frames.top_down([0.4, 0.01 * index, 0.2], 0.3 * index)
    action = Action(np.array([0.01, 0.0, -0.01]), np.array([0.0, 0.0, 0.02]), 0.08)
    pictures = {
        name: FrameImage(t_s - 0.013, rgb_image(1000 * seed + index), depth_image(1000 * seed + index), T_base_tcp)
        for name in cameras
    }
    return EpisodeFrame(
        t_s=t_s,
        images=pictures,
        T_base_tcp=T_base_tcp,
        gripper_width_m=0.08 - 0.001 * index,
        joint_positions_rad=np.linspace(-1.0, 1.0, 7) + 0.01 * index,
        state_t_s=t_s - 0.002,
        commanded=Action(action.delta_m * 2, action.delta_rotation_rad, 0.09),
        sent=action,
    )


def frames_of(num: int, seed: int = 0, cameras: tuple[str, ...] = ("wrist",)) -> Iterator[EpisodeFrame]:
    return (frame(index, seed, cameras) for index in range(num))


def write_dataset(folder: Path, lengths: tuple[int, ...] = (5, 7, 6), settings: WriterSettings | None = None) -> Path:
    """Episodes of these lengths, with objects a, b, a, b ... in turn; every second one failed."""
    with DatasetWriter(folder, settings) as writer:
        for number, length in enumerate(lengths, start=writer.num_episodes):
            end = EpisodeEnd(
                success=number % 2 == 0, failure="" if number % 2 == 0 else "missed", note=f"note {number}"
            )
            writer.write(episode_info(object_name="ab"[number % 2]), frames_of(length, number), end)
    return folder
