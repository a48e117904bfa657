"""What goes in comes out: through writer, files and reader."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from episode_samples import camera_info, depth_image, episode_info, frame, frames_of, rgb_image, write_dataset

from simtoreal.contracts import Action
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame, FrameImage
from simtoreal.episodes.writer import DatasetWriter, WriterSettings

VIDEO_LEVELS = 6.0  # mean error of a smooth picture through H.264
STEP_M = 0.0005


def test_a_frame_comes_back_as_it_was(dataset: Path) -> None:
    with DatasetReader(dataset) as reader:
        read, written = reader[1][3], frame(3, seed=1)
    assert read.t_s == written.t_s
    assert read.state_t_s == written.state_t_s
    np.testing.assert_allclose(read.T_base_tcp, written.T_base_tcp, atol=1e-6)
    np.testing.assert_allclose(read.joint_positions_rad, written.joint_positions_rad, atol=1e-6)
    assert read.gripper_width_m == pytest.approx(written.gripper_width_m, abs=1e-7)
    for name in ("sent", "commanded"):
        there, here = getattr(read, name), getattr(written, name)
        np.testing.assert_allclose(there.delta_m, here.delta_m, atol=1e-8)
        np.testing.assert_allclose(there.delta_rotation_rad, here.delta_rotation_rad, atol=1e-8)
        assert there.gripper_width_m == pytest.approx(here.gripper_width_m)
    image, original = read.images["wrist"], written.images["wrist"]
    assert image.t_s == original.t_s
    np.testing.assert_allclose(image.T_base_cam, original.T_base_cam, atol=1e-6)
    assert np.abs(image.rgb.astype(float) - original.rgb).mean() < VIDEO_LEVELS
    np.testing.assert_array_equal(np.isnan(image.depth_m), np.isnan(original.depth_m))
    assert np.nanmax(np.abs(image.depth_m - original.depth_m)) <= STEP_M / 2 + 1e-6


def test_every_frame_has_the_picture_of_its_own_moment(dataset: Path) -> None:
    """In any order: a decoder that is one frame off would show here."""
    with DatasetReader(dataset) as reader:
        for index in (6, 0, 3, 2, 5, 4, 1):
            shown = reader[1][index].images["wrist"].rgb.astype(float)
            errors = [np.abs(shown - rgb_image(1000 + other)).mean() for other in range(7)]
            assert int(np.argmin(errors)) == index


def test_what_is_known_of_an_episode_comes_back(tmp_path: Path) -> None:
    distortion = np.array([0.1, -0.05, 0.001, 0.002, 0.0])
    info = episode_info(cameras={"wrist": camera_info(distortion=distortion)}, task="lift the mug", object_name="müg")
    end = EpisodeEnd(False, "slipped", 'said "no"\n', {"friction": 0.4, "rgb": [1, 2]}, {"rectangles": [[0.0, 1.5]]})
    with DatasetWriter(tmp_path / "d") as writer:
        assert writer.write(info, frames_of(2), end) == 0
    with DatasetReader(tmp_path / "d") as reader:
        read = reader[0]
        assert read.end == end
        assert (read.info.task, read.info.object_name, read.info.domain) == ("lift the mug", "müg", "mujoco")
        camera = read.info.cameras["wrist"]
        np.testing.assert_array_equal(camera.K, info.cameras["wrist"].K)
        np.testing.assert_array_equal(camera.distortion, distortion)
        np.testing.assert_array_equal(camera.T_mount_cam, info.cameras["wrist"].T_mount_cam)
        assert camera.mount == "wrist"


def test_what_is_not_known_comes_back_as_none(tmp_path: Path) -> None:
    info = episode_info(cameras={"wrist": camera_info(K=None, T_mount_cam=None, mount="unknown")})
    bare = [
        EpisodeFrame(0.0, {"wrist": FrameImage(0.0, rgb_image(0))}),
        EpisodeFrame(0.1, {}),
        EpisodeFrame(0.2, {"wrist": FrameImage(0.15, None, depth_image(1))}),
        EpisodeFrame(0.3, {}, sent=Action(np.ones(3), np.zeros(3), math.nan)),
    ]
    with DatasetWriter(tmp_path / "d") as writer:
        writer.write(info, bare, EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        first, second, third, fourth = reader[0]
        end, camera = reader[0].end, reader[0].info.cameras["wrist"]
    assert (end.success, camera.K, camera.T_mount_cam, camera.distortion) == (None, None, None, None)
    for read in (first, second, third):
        assert (read.T_base_tcp, read.gripper_width_m, read.joint_positions_rad, read.state_t_s) == (None,) * 4
        assert (read.sent, read.commanded) == (None, None)
    assert first.images["wrist"].depth_m is None
    assert first.images["wrist"].rgb is not None
    assert first.images["wrist"].T_base_cam is None
    assert second.images == {}
    assert third.images["wrist"].rgb is None
    assert third.images["wrist"].depth_m is not None
    assert fourth.sent is not None
    assert math.isnan(fourth.sent.gripper_width_m)


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 1), (17, 200)])
def test_pictures_of_any_size_can_be_stored(tmp_path: Path, size: tuple[int, int]) -> None:
    info = episode_info(cameras={"eye": camera_info(width_px=size[0], height_px=size[1])})
    pictures = [FrameImage(0.1 * i, rgb_image(i, *size), depth_image(i, *size)) for i in range(5)]
    with DatasetWriter(tmp_path / "d") as writer:
        writer.write(info, (EpisodeFrame(p.t_s, {"eye": p}) for p in pictures), EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        for read, written in zip(reader[0], pictures, strict=True):
            assert np.abs(read.images["eye"].rgb.astype(float) - written.rgb).mean() < 2 * VIDEO_LEVELS
            np.testing.assert_allclose(read.images["eye"].depth_m, written.depth_m, atol=STEP_M)


def test_lossless_colour_is_lossless(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with DatasetWriter(tmp_path / "d", WriterSettings(lossless_rgb=True)) as writer:
        writer.write(episode_info(), [EpisodeFrame(0.0, {"wrist": FrameImage(0.0, noise)})], EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        np.testing.assert_array_equal(reader[0][0].images["wrist"].rgb, noise)
    assert not (tmp_path / "d/videos").exists()


def test_depth_is_exact_in_steps_and_far_or_missing_is_no_return(tmp_path: Path) -> None:
    depth = np.full((48, 64), 0.4, dtype=np.float32)
    depth[0, :4] = np.nan, np.inf, 100.0, 0.0
    depth[1] = 0.0005 * np.arange(64)
    with DatasetWriter(tmp_path / "d") as writer:
        writer.write(episode_info(), [EpisodeFrame(0.0, {"wrist": FrameImage(0.0, None, depth)})], EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        read = reader[0][0].images["wrist"].depth_m
    assert np.isnan(read[0, :4]).all()
    assert np.isnan(read[1, 0])
    np.testing.assert_allclose(read[1, 1:], depth[1, 1:], atol=1e-9)
    assert read[2, 2] == pytest.approx(0.4, abs=1e-7)


def test_two_cameras_keep_apart(tmp_path: Path) -> None:
    cameras = {"wrist": camera_info(), "table": camera_info(mount="external", has_depth=False)}
    with DatasetWriter(tmp_path / "d") as writer:
        written = [
            EpisodeFrame(
                0.1 * i, {"wrist": FrameImage(0.1 * i, rgb_image(i)), "table": FrameImage(0.05, rgb_image(50))}
            )
            for i in range(3)
        ]
        writer.write(episode_info(cameras=cameras), written, EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        read = reader[0][2]
    assert np.abs(read.images["table"].rgb.astype(float) - rgb_image(50)).mean() < VIDEO_LEVELS
    assert np.abs(read.images["wrist"].rgb.astype(float) - rgb_image(2)).mean() < VIDEO_LEVELS
    assert read.images["table"].t_s == 0.05


def test_a_dataset_is_appended_to(dataset: Path) -> None:
    write_dataset(dataset, (4,))
    with DatasetReader(dataset) as reader:
        assert [len(episode) for episode in reader] == [5, 7, 6, 4]
        assert [entry.first_row for entry in reader.entries] == [0, 5, 12, 18]
        assert reader[3].info.object_name == "b"
        np.testing.assert_array_equal(reader[3].column("index"), [18, 19, 20, 21])


def test_an_appended_camera_must_be_one_of_the_dataset(dataset: Path) -> None:
    with DatasetWriter(dataset) as writer:
        for cameras, said in (
            ({"head": camera_info()}, "has a camera 'head', and the dataset only wrist"),
            ({"wrist": camera_info(width_px=32)}, "width_px=32"),
        ):
            with pytest.raises(DatasetError, match=said):
                writer.episode(episode_info(cameras=cameras))
        with pytest.raises(DatasetError, match="frames per second, and the dataset"):
            writer.episode(episode_info(fps=10.0))
        with writer.episode(episode_info(cameras={})) as episode:  # an episode may lack a camera
            episode.add(EpisodeFrame(0.0, {}))
            episode.finish(EpisodeEnd())
    with DatasetReader(dataset) as reader:
        assert reader[3].info.cameras == {}
        assert reader[3][0].images == {}


def test_the_files_are_those_of_lerobot(dataset: Path) -> None:
    info = json.loads((dataset / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 18, 1)
    assert info["fps"] == 20
    assert info["splits"] == {"train": "0:3"}
    assert info["features"]["observation.images.wrist"]["dtype"] == "video"
    assert info["features"]["observation.depth.wrist"]["shape"] == [48, 64, 1]
    rows = pq.read_table(dataset / "data/chunk-000/file-001.parquet")
    assert set(rows.column_names) == {key for key, f in info["features"].items() if f["dtype"] != "video"}
    assert rows["index"].to_pylist() == list(range(5, 12))
    np.testing.assert_allclose(rows["timestamp"].to_numpy(), np.arange(7) / 20)
    episodes = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["dataset_to_index"] for row in episodes] == [5, 12, 18]
    assert [row["videos/observation.images.wrist/file_index"] for row in episodes] == [0, 1, 2]
    assert episodes[1]["videos/observation.images.wrist/to_timestamp"] == pytest.approx(0.35)
    assert episodes[1]["stats/action/mean"][0] == pytest.approx(0.01)
    stats = json.loads((dataset / "meta/stats.json").read_text())
    assert stats["observation.state"]["count"] == [18]
    assert np.array(stats["observation.images.wrist"]["mean"]).shape == (3, 1, 1)
    assert 0 < stats["observation.images.wrist"]["mean"][0][0][0] < 1


def _interrupted(writer: DatasetWriter) -> None:
    with writer.episode(episode_info()) as episode:
        episode.add(frame(0))
        raise RuntimeError


def _forgotten(writer: DatasetWriter) -> None:
    with writer.episode(episode_info()) as episode:
        episode.add(frame(0))


def test_an_episode_that_is_left_open_is_discarded(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d") as writer:
        with pytest.raises(RuntimeError):
            _interrupted(writer)
        with pytest.raises(DatasetError, match=r"left without finish\(end\) or discard"):
            _forgotten(writer)
        with pytest.raises(DatasetError, match="has no frames"):
            writer.write(episode_info(), [], EpisodeEnd())
        first = writer.episode(episode_info())
        with pytest.raises(DatasetError, match="an episode is open"):
            writer.episode(episode_info())
        first.discard()
        assert writer.write(episode_info(), frames_of(2), EpisodeEnd()) == 0


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DatasetError, match=r"holds other files \(thesis.tex\)"):
        DatasetWriter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
