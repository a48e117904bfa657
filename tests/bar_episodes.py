"""Recorded episodes in which an arm grasps a bar, or closes beside it, written as a dataset."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from bar_scenes import SIZE, T_TCP_CAM, K, grasp_pose, look

from simtoreal import frames
from simtoreal.contracts import Action, FloatArray
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeFrame, EpisodeInfo, FrameImage
from simtoreal.episodes.writer import DatasetWriter, WriterSettings

OPEN_M, HELD_M, CLOSED_M = 0.08, 0.024, 0.0
STEPS_DOWN, STEPS_CLOSED, STEPS_UP = 16, 8, 8


def info(**camera: Any) -> EpisodeInfo:
    nominal: dict[str, Any] = {
        "width_px": SIZE[1], "height_px": SIZE[0], "has_depth": True, "mount": "wrist", "K": K,
        "T_mount_cam": T_TCP_CAM,
    }  # fmt: skip
    return EpisodeInfo(20.0, {"wrist": CameraInfo(**{**nominal, **camera})}, domain="mujoco", object_name="bar")


def episode(seed: int, succeeds: bool, depth: bool = True) -> Iterator[EpisodeFrame]:
    """Down onto the bar, or beside it; jaws closed; up, with the bar between them where it succeeded."""
    rng = np.random.default_rng(seed)
    bar = grasp_pose((0.5 + rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03)), rng.uniform(-0.5, 0.5))
    target = bar.copy()
    target[:2, 3] += (0.0, 0.0) if succeeds else (0.03, 0.0)
    start = frames.top_down([*target[:2, 3] + rng.uniform(-0.02, 0.02, 2), 0.28], frames.yaw_of(bar))
    ends_m = HELD_M if succeeds else CLOSED_M
    for step in range(STEPS_DOWN + STEPS_CLOSED + STEPS_UP):
        down = min(step / (STEPS_DOWN - 1), 1.0)
        closed = min(max(step - STEPS_DOWN + 1, 0) / 3, 1.0)
        up_m = 0.02 * max(step - STEPS_DOWN - STEPS_CLOSED + 1, 0)
        tool = frames.interpolate(start, target, down)
        tool[2, 3] += up_m
        seen = bar.copy()
        seen[2, 3] += up_m if succeeds else 0.0
        told_m = OPEN_M if step < STEPS_DOWN else 0.0
        yield _frame(step, tool, seen, (OPEN_M + closed * (ends_m - OPEN_M), told_m), depth)


def _frame(step: int, tool: FloatArray, bar: FloatArray, widths_m: tuple[float, float], depth: bool) -> EpisodeFrame:
    t_s = 0.05 * step
    observation = look(tool, bar)
    picture = FrameImage(t_s, observation.rgb, observation.depth_m if depth else None, observation.T_base_cam)
    action = Action(np.zeros(3), np.zeros(3), widths_m[1])
    return EpisodeFrame(t_s, {"wrist": picture}, tool, widths_m[0], None, t_s, action, action)


def write(folder: Path, successes: tuple[bool, ...], seed: int = 0, depth: bool = True, **camera: Any) -> Path:
    """A dataset with one episode for each entry of `successes`."""
    with DatasetWriter(folder, WriterSettings(lossless_rgb=True)) as writer:
        for number, succeeds in enumerate(successes):
            end = EpisodeEnd(success=succeeds, failure="" if succeeds else "missed")
            writer.write(info(has_depth=depth, **camera), episode(100 * seed + number, succeeds, depth), end)
    return folder
