"""The recorder in the loop: everything that was seen is written, nothing waits unseen, and errors reach the loop."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from episode_samples import episode_info, rgb_image
from recording_rig import MOUNTS, T_BASE_TABLE_CAM, T_TCP_CAM, Rig, clock

from simtoreal.episodes import recorder as recorder_module
from simtoreal.episodes.episode_writer import EpisodeWriter
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.recorder import Recorder
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame
from simtoreal.episodes.writer import DatasetWriter
from simtoreal.runtime import run_episode


def record(folder: Path, num_steps: int = 6, rig: Rig | None = None, **more: Any) -> Recorder:
    rig = rig or Rig()
    with DatasetWriter(folder) as writer, Recorder(writer, more.get("mounts", MOUNTS), clock) as recorder:
        recorder.prepare(episode_info(cameras={}))
        run_episode(rig, rig, rig.reset(), lambda step: step >= num_steps, [recorder])  # type: ignore[arg-type]
        recorder.finish(EpisodeEnd(success=True))
    return recorder


def test_what_the_loop_saw_and_did_is_in_the_dataset(tmp_path: Path) -> None:
    record(tmp_path / "d")
    with DatasetReader(tmp_path / "d") as reader:
        episode = reader[0]
        assert len(episode) == 6
        assert episode.end.success is True
        assert episode.info.cameras["wrist"].mount == "wrist"
        np.testing.assert_allclose(episode.info.cameras["wrist"].T_mount_cam, T_TCP_CAM, atol=1e-9)
        np.testing.assert_allclose(episode.info.cameras["table"].T_mount_cam, T_BASE_TABLE_CAM)
        assert not episode.info.cameras["table"].has_depth
        for index, frame in enumerate(episode):
            assert (frame.t_s, frame.state_t_s) == pytest.approx((0.05 * index, 0.05 * index))
            assert frame.images["table"].t_s == pytest.approx(0.05 * index - 0.01)
            assert frame.commanded is not None
            assert frame.sent is not None
            assert (frame.commanded.delta_m[0], frame.sent.delta_m[0]) == pytest.approx((0.02, 0.01))
            assert np.abs(frame.images["wrist"].rgb.astype(float) - rgb_image(index)).mean() < 6
            assert np.abs(frame.images["table"].rgb.astype(float) - rgb_image(100 + index)).mean() < 6


def slowly(self: EpisodeWriter, frame: EpisodeFrame) -> None:
    time.sleep(0.02)
    _add(self, frame)


_add = EpisodeWriter.add


def test_a_slow_encoder_holds_the_loop_up_and_drops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "QUEUE_FRAMES", 3)
    monkeypatch.setattr(EpisodeWriter, "add", slowly)
    pressure = record(tmp_path / "d", num_steps=12).pressure
    assert pressure.longest_queue == 3
    assert pressure.num_waits >= 6
    assert 0.1 < pressure.waited_s < 5.0
    assert pressure.longest_step_s <= pressure.waited_s + 0.5
    with DatasetReader(tmp_path / "d") as reader:
        assert [frame.t_s for frame in reader[0]] == pytest.approx(0.05 * np.arange(12))


def test_pictures_are_copied_into_memory_that_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory takes up to ten times as long, whenever the queue grows."""
    pictures: list[np.ndarray] = []  # kept, so that no other one can have the same place

    def note(self: EpisodeWriter, frame: EpisodeFrame) -> None:
        pictures.extend(image.rgb for image in frame.images.values())
        slowly(self, frame)

    monkeypatch.setattr(recorder_module, "QUEUE_FRAMES", 3)
    monkeypatch.setattr(EpisodeWriter, "add", note)
    record(tmp_path / "d", num_steps=30)
    assert (
        len({id(picture) for picture in pictures}) <= 2 * 8
    )  # of each camera 3 filled, and before that 3 in the queue and one at each end of it
    with DatasetReader(tmp_path / "d") as reader:
        for index, frame in enumerate(reader[0]):
            assert np.abs(frame.images["wrist"].rgb.astype(float) - rgb_image(index)).mean() < 6
            assert np.abs(frame.images["table"].rgb.astype(float) - rgb_image(100 + index)).mean() < 6


def refuse(self: EpisodeWriter, frame: EpisodeFrame) -> None:
    raise DatasetError("cannot be written (No space left on device)", file="/dev/full")


def test_a_frame_that_cannot_be_written_stops_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpisodeWriter, "add", refuse)
    with pytest.raises(DatasetError, match="/dev/full: cannot be written"):
        record(tmp_path / "d", num_steps=1000)


def test_an_episode_that_begins_anew_replaces_the_one_before(tmp_path: Path) -> None:
    """As a simulated scene that is lost is drawn again."""
    rig = Rig()
    with DatasetWriter(tmp_path / "d") as writer, Recorder(writer, MOUNTS, clock) as recorder:
        recorder.prepare(episode_info(cameras={}))
        for num_steps in (5, 3):
            run_episode(rig, rig, rig.reset(), lambda step, n=num_steps: step >= n, [recorder])  # type: ignore[arg-type,misc]
        recorder.finish(EpisodeEnd())
        with pytest.raises(DatasetError, match="no step was recorded"):
            recorder.finish(EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        assert [len(episode) for episode in reader] == [3]


@pytest.mark.parametrize(
    ("rig", "mounts", "said"),
    [
        (Rig("wrist"), MOUNTS, "two cameras have one name, 'wrist'"),
        (Rig(), {"wrist": "wrist"}, r"cameras \['table'\] are not among the mounts"),
        (Rig(), {}, "mounts must name"),
    ],
)
def test_cameras_must_have_names_and_mounts(tmp_path: Path, rig: Rig, mounts: dict[str, str], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        record(tmp_path / "d", rig=rig, mounts=mounts)
    with DatasetWriter(tmp_path / "d") as writer:
        assert writer.num_episodes == 0
