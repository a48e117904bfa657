"""Videos play everywhere, appear only when they are whole, and survive errors."""

from pathlib import Path

import av
import numpy as np
import pytest

from simtoreal import frames
from simtoreal.camera import CameraModel
from simtoreal.contracts import Action, GraspEstimate, Observation
from simtoreal.evaluation import video
from simtoreal.evaluation.output_files import RunFolderError
from simtoreal.evaluation.video import VideoWriter
from simtoreal.runtime import Step

CAMERA = CameraModel.from_fov(64, 48, 1.0)


def make_observation() -> Observation:
    T_base_cam = frames.look_at((0.5, 0.0, 0.4), (0.5, 0.0, 0.0), up=(1.0, 0.0, 0.0))
    rgb = np.full((48, 64, 3), 128, dtype=np.uint8)
    return Observation(0.0, rgb, None, CAMERA.K, T_base_cam, np.eye(4), 0.08, None)


def make_estimate() -> GraspEstimate:
    quality_map = np.zeros((8, 8), dtype=np.float32)
    view = np.full((64, 64, 3), 90, dtype=np.uint8)
    return GraspEstimate(frames.top_down((0.5, 0, 0), 0.3), 0.05, 0.9, 0.0, quality_map, view, (32.0, 32.0))


def film(writer: VideoWriter, num_steps: int) -> None:
    writer.episode_start()
    for index in range(num_steps):
        action = Action(np.zeros(3), np.zeros(3), 0.08)
        writer.step(Step(index, make_observation(), action, 0.001, action))
    writer.episode_end()


def test_video_plays_in_browsers_and_holds_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "videos" / "mug.mp4"
    with VideoWriter(path, 20.0, make_estimate) as writer:
        writer.title = "mug"
        film(writer, 15)
        writer.show_outcome(False, "slipped")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (2 * video.PANEL_PX, video.PANEL_PX + video.BAR_PX)
        assert stream.average_rate == 20
        assert sum(1 for _ in container.decode(stream)) == 15 + 24
    content = path.read_bytes()
    assert content.find(b"moov") < content.find(b"mdat"), "the index must come first for a page to play it"


def test_video_appears_only_when_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, 10.0)
    film(writer, 2)
    assert not path.exists()
    writer.close()
    writer.close()
    assert [item.name for item in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(ValueError, match="is closed"):
        film(writer, 1)


def test_what_was_filmed_before_an_error_is_kept(tmp_path: Path) -> None:
    def film_and_fall() -> None:
        with VideoWriter(tmp_path / "a.mp4", 10.0) as writer:
            film(writer, 3)
            raise RuntimeError("the robot fell over")

    with pytest.raises(RuntimeError, match="the robot fell over"):
        film_and_fall()
    assert (tmp_path / "a.mp4").stat().st_size > 0


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10.0) as writer:
        writer.show_outcome(True)
    assert not list(tmp_path.iterdir())


def test_outcome_belongs_to_its_own_episode(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10.0) as writer:
        film(writer, 2)
        writer.episode_start()
        writer.show_outcome(True)
        assert writer.num_frames == 2


def test_bad_rates_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fps must be positive, got 0"):
        VideoWriter(tmp_path / "a.mp4", 0.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"file.*choose another folder"):
        VideoWriter(tmp_path / "file" / "a.mp4", 10.0)


def test_frame_shows_camera_and_map_side_by_side_or_the_camera_twice() -> None:
    with_map = video.compose(make_observation(), make_estimate())
    without = video.compose(make_observation(), None)
    half = video.PANEL_PX
    assert (without[:, :half] == without[:, half:]).all()
    assert (with_map[:, :half] != with_map[:, half:]).any()


def test_outcome_bars_differ_in_more_than_hue() -> None:
    frame = video.compose(make_observation(), None)
    success, failure = (
        video.with_bar(frame, text, colour)[-video.BAR_PX :]
        for text, colour in (("GRASPED", video.SUCCESS), ("FAILED", video.FAILURE))
    )
    assert abs(float(success.mean()) - float(failure.mean())) > 25
