"""Frames that cannot be true are refused with the value and the place, and the episode goes on without them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from episode_samples import camera_info, depth_image, episode_info, frame, rgb_image

from simtoreal import frames
from simtoreal.contracts import Action
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.records import EpisodeEnd, FrameImage
from simtoreal.episodes.writer import DatasetWriter, WriterSettings

NAN_POSE = frames.transform([math.nan, 0.0, 0.0])
MIRROR = np.diag([1.0, 1.0, -1.0, 1.0])
INTEGER_DEPTH = np.ones((48, 64), dtype=np.uint16)
ENDLESS = Action(np.array([math.inf, 0.0, 0.0]), np.zeros(3), 0.0)


def image(**changes: Any) -> dict[str, FrameImage]:
    return {"wrist": FrameImage(0.1, rgb_image(0), depth_image(0))._replace(**changes)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"t_s": 0.04}, "t_s must grow from frame to frame, got 0.04 after 0.05"),
        ({"t_s": 0.05}, "t_s must grow"),
        ({"t_s": math.nan}, "t_s must grow"),
        ({"T_base_tcp": NAN_POSE}, "T_base_tcp must be a finite"),
        ({"T_base_tcp": MIRROR}, "T_base_tcp must be a rotation"),
        ({"T_base_tcp": np.eye(3)}, "T_base_tcp must be a finite"),
        ({"gripper_width_m": math.nan}, "gripper_width_m must be finite"),
        ({"state_t_s": math.inf}, "state_t_s must be finite"),
        ({"joint_positions_rad": np.zeros(6)}, "joint_positions_rad must be 7 finite numbers"),
        ({"joint_positions_rad": np.full(7, np.nan)}, "joint_positions_rad must be 7 finite numbers"),
        ({"sent": ENDLESS}, "sent must be finite"),
        ({"commanded": ENDLESS}, "commanded must be finite"),
        ({"images": {"head": FrameImage(0.1, rgb_image(0))}}, "camera 'head' is not one of the dataset's: wrist"),
        ({"images": image(t_s=-1.0)}, "capture times of camera 'wrist' must not go backwards"),
        ({"images": image(T_base_cam=NAN_POSE)}, "T_base_cam of camera 'wrist'"),
        ({"images": image(rgb=rgb_image(0, 32, 24))}, "rgb must be uint8"),
        ({"images": image(rgb=rgb_image(0).astype(float))}, "rgb must be uint8"),
        ({"images": image(depth_m=depth_image(0, 32, 24))}, "depth_m must be metres"),
        ({"images": image(depth_m=INTEGER_DEPTH)}, "depth_m must be metres"),
        ({"images": image(depth_m=-depth_image(0))}, "depth_m holds negative distances"),
    ],
)
def test_what_cannot_be_true_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with DatasetWriter(tmp_path / "d") as writer, writer.episode(episode_info()) as episode:
        episode.add(frame(0))
        episode.add(frame(1))
        with pytest.raises(DatasetError, match=said) as caught:
            episode.add(frame(2)._replace(**changes))
        assert (caught.value.episode, caught.value.frame) == (0, 2)
        assert caught.value.file == str(tmp_path / "d")
        episode.add(frame(3))
        episode.finish(EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        assert [read.t_s for read in reader[0]] == pytest.approx([0.0, 0.05, 0.15])


@pytest.mark.parametrize("name", ["", "a/b", "..", "observation.images", "state", "x" * 65])
def test_a_camera_needs_a_name_that_a_folder_can_have(tmp_path: Path, name: str) -> None:
    with DatasetWriter(tmp_path / "d") as writer, pytest.raises(DatasetError, match="camera name"):
        writer.episode(episode_info(cameras={name: camera_info()}))


def test_two_cameras_cannot_have_one_name(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d") as writer, pytest.raises(DatasetError, match="two cameras have one name"):
        writer.episode(episode_info(cameras={"wrist": camera_info(), "Wrist": camera_info()}))


@pytest.mark.parametrize("fps", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_must_be_one_of_a_video(tmp_path: Path, fps: float) -> None:
    with DatasetWriter(tmp_path / "d") as writer, pytest.raises(DatasetError, match="fps must lie in"):
        writer.episode(episode_info(fps=fps))


def test_depth_steps_are_a_millimetre_or_finer() -> None:
    with pytest.raises(DatasetError, match="depth_unit_m must lie in"):
        WriterSettings(depth_unit_m=0.002)
