"""A bar on a table under a camera that looks straight down: pictures whose one grasp is known exactly."""

import numpy as np
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.contracts import FloatArray, Observation
from simtoreal.policies.view import ViewSpec, make_view
from simtoreal.pretraining.frame_sets import MAX_GRASPS as MAX_SIMULATED
from simtoreal.pretraining.frame_sets import FrameSet
from simtoreal.transfer.data.labels import KnownGrasp
from simtoreal.transfer.data.real_frames import RealFrames, pack, stack, view_rows

VIEW = ViewSpec(pixels=32)
HEIGHT_M, HALF_M = 0.04, (0.035, 0.012)  # of the bar: its top, half its length and half its width
K = np.array([[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]])
SIZE = (48, 64)  # rows and columns of a picture
T_TCP_CAM = frames.transform([0.0, 0.05, -0.1])


def grasp_pose(xy_m: tuple[float, float], yaw_rad: float) -> FloatArray:
    """Jaws across the bar, half way down its side; `yaw_rad` is the direction they close in."""
    return frames.top_down([*xy_m, 0.5 * HEIGHT_M], yaw_rad)


def look(T_base_tcp: FloatArray, T_base_grasp: FloatArray, colour: tuple[int, int, int] = (200, 60, 60)) -> Observation:
    """What the wrist camera sees of a bar that is grasped at `T_base_grasp`."""
    T_base_cam = T_base_tcp @ T_TCP_CAM
    pixels = np.stack(np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0])), axis=-1).astype(np.float64)
    top = camera.at_height(pixels, np.full(SIZE, HEIGHT_M), K, T_base_cam)
    local = frames.apply(frames.invert(T_base_grasp), top)
    is_bar = (np.abs(local[..., 0]) < HALF_M[1]) & (np.abs(local[..., 1]) < HALF_M[0])
    rgb = np.where(is_bar[..., None], colour, (90, 110, 90)).astype(np.uint8)
    depth_m = np.where(is_bar, T_base_cam[2, 3] - HEIGHT_M, T_base_cam[2, 3]).astype(np.float32)
    return Observation(0.0, rgb, depth_m, K, T_base_cam, T_base_tcp, 0.08, None)


def draw(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A tool pose, and a bar that its camera sees."""
    x, y = 0.5 + rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)
    tool = frames.top_down([x, y, rng.uniform(0.20, 0.30)], rng.uniform(-0.4, 0.4))
    bar = grasp_pose((x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04)), rng.uniform(-1.5, 1.5))
    return tool, bar


def real_frames(num_episodes: int, per_episode: int = 3, seed: int = 0, bare: int = 0) -> RealFrames:
    """Episodes with one bar each; `bare` more frames of each carry no label."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, NDArray[np.generic]]] = []
    for episode in range(num_episodes):
        for frame in range(per_episode + bare):
            tool, bar = draw(rng)
            known = (KnownGrasp(bar, 2 * HALF_M[1], True),) if frame < per_episode else ()
            rows.append(
                {
                    **pack(make_view(look(tool, bar), VIEW), known),
                    "episode": np.int32(episode),
                    "frame": np.int32(frame),
                }
            )
    return stack(rows)


def simulated_frames(num: int, seed: int = 100) -> FrameSet:
    """The same scenes as a simulator would label them."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num):
        tool, bar = draw(rng)
        view = make_view(look(tool, bar, (60, 60, 200)), VIEW)
        known = np.array([[*bar[:3, 3], frames.yaw_of(bar), 2 * HALF_M[1], 1.0]])
        seen = view_rows(known, view)
        grasps = np.zeros((MAX_SIMULATED, 6), np.float32)
        grasps[: len(seen)] = seen
        rows.append(
            {"rgb": view.rgb, "height_m": view.height_m.astype(np.float16), "valid": view.valid,
             "edge_m": np.float32(view.edge_m),
             "camera": np.concatenate([view.K.ravel(), view.T_base_view[:3].ravel()]).astype(np.float32),
             "distance_m": np.float32(0.3), "grasps": grasps, "num_grasps": np.int32(len(seen))}
        )  # fmt: skip
    return FrameSet(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})
