"""Small frames for training: the right pixels, the right camera, and the same from the cache."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from episode_samples import K, camera_info, episode_info, rgb_image

from simtoreal import camera
from simtoreal.episodes import video_files
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.features import CameraColumns
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.records import EpisodeEnd, EpisodeFrame, FrameImage
from simtoreal.episodes.small_frames import SmallFrames, SmallView
from simtoreal.episodes.writer import DatasetWriter, WriterSettings

COLUMNS = CameraColumns(64, 48, "png", True)


def halves(left: int, right: int) -> np.ndarray:
    picture = np.full((48, 64, 3), left, dtype=np.uint8)
    picture[:, 32:] = right
    return picture


@pytest.fixture
def two_halves(tmp_path: Path) -> Path:
    """Left and right of each picture differ, and so does their depth; the second frame has no depth."""
    depth = np.where(np.arange(64) < 32, 0.5, 1.0).astype(np.float32) * np.ones((48, 1), dtype=np.float32)
    depth[:4] = np.nan
    pictures = [FrameImage(0.0, halves(10, 200), depth), FrameImage(0.1, halves(60, 90)), None]
    with DatasetWriter(tmp_path / "d", WriterSettings(lossless_rgb=True)) as writer:
        rows = [EpisodeFrame(0.1 * i, {} if p is None else {"wrist": p}) for i, p in enumerate(pictures)]
        writer.write(episode_info(cameras={"wrist": camera_info()}), rows, EpisodeEnd())
    return tmp_path / "d"


def test_the_central_square_is_cut_out_and_shrunk(two_halves: Path) -> None:
    with DatasetReader(two_halves) as reader:
        frames = SmallFrames(reader, SmallView("wrist", 12))
        assert len(frames) == 3
        rgb, depth_m = frames[0, 0]
        assert rgb.shape == (12, 12, 3)
        assert (rgb[:, :6] == 10).all()
        assert (rgb[:, 6:] == 200).all()
        assert np.isnan(depth_m[0]).all()
        np.testing.assert_allclose(depth_m[1:, :6], 0.5)
        np.testing.assert_allclose(depth_m[1:, 6:], 1.0)
        assert frames[0, 1].depth_m is None
        assert frames[0, 2] == (None, None)
        with pytest.raises(IndexError):
            frames[0, 3]


def test_a_crop_is_where_it_is_said_to_be(two_halves: Path) -> None:
    with DatasetReader(two_halves) as reader:
        rgb, _ = SmallFrames(reader, SmallView("wrist", 8, (28, 4, 8, 8)))[0, 0]
        np.testing.assert_array_equal(rgb, halves(10, 200)[4:12, 28:36])
        with pytest.raises(DatasetError, match="does not lie inside 64 x 48 pixels"):
            SmallFrames(reader, SmallView("wrist", 8, (60, 4, 8, 8)))
        with pytest.raises(DatasetError, match="there is no camera 'head': wrist"):
            SmallFrames(reader, SmallView("head"))


@pytest.mark.parametrize("key_frame_every", [1, 2])  # 2 in datasets of earlier versions
@pytest.mark.parametrize(("width_px", "height_px"), [(64, 48), (63, 48), (65, 49)])
@pytest.mark.parametrize("crop", [None, (3, 5, 31, 33)])
def test_small_frames_of_videos_are_those_of_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key_frame_every: int, width_px: int, height_px: int,
    crop: tuple[int, int, int, int] | None,
) -> None:  # fmt: skip
    monkeypatch.setitem(video_files._OPTIONS, "g", str(key_frame_every))
    pictures = [rgb_image(seed, width_px, height_px) for seed in range(7)]
    info = episode_info(cameras={"wrist": camera_info(width_px=width_px, height_px=height_px, has_depth=False)})
    with DatasetWriter(tmp_path / "d") as writer:
        rows = [EpisodeFrame(0.05 * i, {"wrist": FrameImage(0.05 * i, rgb)}) for i, rgb in enumerate(pictures)]
        writer.write(info, rows, EpisodeEnd())
    view = SmallView("wrist", 12, crop)
    left, top, width, height = view.crop_of(CameraColumns(width_px, height_px, "video", False))
    with DatasetReader(tmp_path / "d") as reader:
        frames = SmallFrames(reader, view)
        for index in (6, 0, 1, 2, 5, 3, 4, 4, 0):
            cut = pictures[index][top : top + height, left : left + width].astype(np.float32)
            expected = cv2.resize(cut, (12, 12), interpolation=cv2.INTER_AREA)
            rgb = frames[0, index].rgb
            assert np.abs(rgb - expected).mean() < 2
            np.testing.assert_array_equal(rgb, frames.rgb(0, index))


def test_the_intrinsics_follow_the_crop() -> None:
    view = SmallView("wrist", 16, (20, 8, 32, 32))
    point = np.array([[0.02, -0.03, 0.5]])
    u, v = camera.project(point, K, np.eye(4))[0][:2]
    small_u, small_v = camera.project(point, view.K_of(K, COLUMNS), np.eye(4))[0][:2]
    # pixel edges, not centres, scale: (u + 0.5 - left) / 2 - 0.5
    assert (small_u, small_v) == pytest.approx(((u + 0.5 - 20) / 2 - 0.5, (v + 0.5 - 8) / 2 - 0.5))


def test_the_cache_holds_the_same_and_is_used(dataset: Path, tmp_path: Path) -> None:
    with DatasetReader(dataset) as reader:
        plain = SmallFrames(reader, SmallView("wrist", 24))
        cached = SmallFrames(reader, SmallView("wrist", 24), tmp_path / "cache")
        for place in plain.index:
            np.testing.assert_array_equal(cached[place].rgb, plain[place].rgb)
            np.testing.assert_array_equal(cached[place].depth_m, plain[place].depth_m)
    assert len(list((tmp_path / "cache").glob("*.frames"))) == 3
    with DatasetReader(dataset) as reader:
        (dataset / "videos/observation.images.wrist/chunk-000/file-000.mp4").unlink()
        assert SmallFrames(reader, SmallView("wrist", 24), tmp_path / "cache")[0, 0].rgb is not None
        with pytest.raises(DatasetError, match=r"file-000\.mp4"):
            SmallFrames(reader, SmallView("wrist", 25), tmp_path / "cache")[0, 0]


def test_another_picture_has_another_place_in_the_cache(tmp_path: Path) -> None:
    for number in range(2):
        with DatasetWriter(tmp_path / f"d{number}") as writer:
            picture = FrameImage(0.0, rgb_image(number))
            writer.write(episode_info(), [EpisodeFrame(0.0, {"wrist": picture})], EpisodeEnd())
        with DatasetReader(tmp_path / f"d{number}") as reader:
            plain = SmallFrames(reader, SmallView("wrist", 48))[0, 0]
            np.testing.assert_array_equal(SmallFrames(reader, SmallView("wrist", 48), tmp_path)[0, 0].rgb, plain.rgb)
    assert len(list(tmp_path.glob("*.frames"))) == 2


@pytest.mark.parametrize("content", [b"", b"x" * 1000])
def test_a_damaged_cache_says_what_to_delete(dataset: Path, tmp_path: Path, content: bytes) -> None:
    with DatasetReader(dataset) as reader:
        SmallFrames(reader, SmallView("wrist", 24), tmp_path / "cache")[0, 0]
        (path,) = (tmp_path / "cache").glob("*.frames")
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"\.frames: has \d+ bytes and not \d+: delete it"):
            SmallFrames(reader, SmallView("wrist", 24), tmp_path / "cache")[0, 0]
