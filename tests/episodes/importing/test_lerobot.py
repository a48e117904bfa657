"""LeRobotDataset of strangers, v2.1 and v3.0: rows and pictures that belong together, names that say what they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import frames_or_problem, open_first, problem, read_all
from row_files import FPS, SIZE_PX, picture, state, write_lerobot, write_video

from simtoreal import frames
from simtoreal.episodes.importing.formats import open_source
from simtoreal.episodes.importing.settings import ImportConfig
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.records import CameraInfo, EpisodeEnd, EpisodeFrame, EpisodeInfo, FrameImage
from simtoreal.episodes.writer import DatasetWriter

VIDEO_V3 = "videos/observation.images.front/chunk-000/file-000.mp4"


def change_info(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "meta" / "info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


@pytest.mark.parametrize("as_video", [True, False], ids=["video", "png"])
@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_rows_and_pictures_belong_together(version: str, as_video: bool, tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data", version, as_video)
    source = open_source(ImportConfig(source=folder))
    assert source.names() == ["0", "1"]
    for episode, length in ((1, 5), (0, 4)):  # in any order
        opened = source.open(str(episode))
        assert (opened.info.fps, opened.info.task, opened.info.robot) == (FPS, "pick the cube", "so101")
        read = list(opened.frames)
        assert len(read) == length
        for index, frame in enumerate(read):
            rgb = frame.images["front"].rgb
            assert rgb is not None
            assert rgb.shape == (SIZE_PX, SIZE_PX, 3)
            error = np.abs(rgb.astype(int) - picture(index + 4 * episode).astype(int))
            assert np.median(error) <= (6 if as_video else 0)  # H.264 keeps colours to a few levels
            x, y, z, roll, pitch, yaw, _ = state(index)
            T = frames.transform((x, y, z), frames.rotation_from_rpy((roll, pitch, yaw)))
            np.testing.assert_allclose(frame.T_base_tcp, T, atol=1e-6)  # type: ignore[arg-type]
            assert frame.t_s == pytest.approx(index / FPS, abs=1e-6)


def test_the_gripper_needs_a_range_and_says_so(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data", as_video=False)
    source = open_source(ImportConfig(source=folder))
    assert any("gripper is not imported, nothing says how wide open is" in told for told in source.assumptions)
    widths = [frame.gripper_width_m for frame in read_all(folder, gripper_open_m=0.08)]
    assert widths[:2] == pytest.approx([0.08, 0.072])


def test_names_that_say_nothing_are_said_and_left_out(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data", as_video=False)
    names = {"motors": ["shoulder_pan.pos", "b", "c", "d", "e", "f", "g"]}
    change_info(folder, lambda info: info["features"]["observation.state"].update(names=names))
    source = open_source(ImportConfig(source=folder))
    assert any("do not say what they are: give mapping=FILE" in told for told in source.assumptions)
    assert next(source.open("0").frames).T_base_tcp is None


def test_a_mapping_names_what_is_meant(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data", as_video=False)
    mapping = tmp_path / "m.yaml"
    mapping.write_text("joints: {value: 'observation.state[0:6]', unit_rad: 0.0174533}\nrobot: so101")
    read = read_all(folder, mapping=str(mapping))
    np.testing.assert_allclose(read[0].joint_positions_rad, np.array(state(0)[:6]) * 0.0174533, rtol=1e-5)
    assert "front" in read[0].images


def test_a_video_with_fewer_pictures_than_rows_names_the_frame(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data")
    write_video(folder / VIDEO_V3, [picture(index) for index in range(6)])
    source = open_source(ImportConfig(source=folder))
    assert len(list(source.open("0").frames)) == 4
    with pytest.raises(SourceError) as caught:
        list(source.open("1").frames)
    assert "episode 1, frame 2" in str(caught.value)
    assert "it has fewer pictures than rows" in str(caught.value)


def test_a_codec_that_nobody_has_is_named(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data")
    data = (folder / VIDEO_V3).read_bytes()
    (folder / VIDEO_V3).write_bytes(data.replace(b"avc1", b"xyz1"))
    text = problem(folder)
    assert "file-000.mp4" in text
    assert "no decoder for the video's codec" in text


def test_a_playlist_is_not_played(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data")
    (folder / VIDEO_V3).write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    assert "the video cannot be opened" in problem(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda info: info.update(codebase_version="v1.6"),
            "codebase_version 'v1.6' is not read; v2.0, v2.1, v3.0 are",
        ),
        (lambda info: info.update(codebase_version="v2.1"), "the folder mixes versions"),
        (lambda info: info.update(fps="fast"), "fps='fast' is no rate"),
        (lambda info: info.pop("features"), "features must hold one entry per column"),
        (lambda info: info.update(data_path="../../../etc/{file_index}"), "leads out of the folder"),
        (lambda info: info.update(data_path="{file_index.__class__}"), "cannot be read"),
        (lambda info: info.update(data_path="{secret}/x"), "unknown field 'secret'"),
        (lambda info: info.update(data_path=7), "no template of the paths"),
        (lambda info: info["features"].update(ghost={"dtype": "int64"}), "columns ['ghost'] of meta/info.json"),
        (
            lambda info: info["features"].update({"observation.images.FRONT": {"dtype": "video"}}),
            "two cameras have one name",
        ),
    ],
)
def test_an_info_that_cannot_be_true_is_explained(
    change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path
) -> None:
    folder = write_lerobot(tmp_path / "data")
    change_info(folder, change)
    assert message in problem(folder)


def test_missing_and_damaged_files_name_themselves(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data")
    (folder / VIDEO_V3).write_bytes(b"no video")
    assert "file-000.mp4: the video cannot be opened" in problem(folder)
    (folder / VIDEO_V3).unlink()
    assert "file-000.mp4: the video cannot be opened" in problem(folder)
    write_video(folder / VIDEO_V3, [picture(0)])
    (folder / "data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    assert "the data file cannot be read" in problem(folder)
    (folder / "meta/episodes/chunk-000/file-000.parquet").write_bytes(b"")
    assert "the list of episodes cannot be read" in problem(folder)
    (folder / "meta/info.json").write_text("{")
    assert "the file is not JSON" in problem(folder)


def test_fewer_rows_than_announced_are_an_error(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data", "v2.1", as_video=False)
    path = folder / "data/chunk-000/episode_000000.parquet"
    pq.write_table(pq.read_table(path).slice(0, 2), path)
    source = open_source(ImportConfig(source=folder))
    with pytest.raises(SourceError, match="4 rows are announced, 2 are there"):
        list(source.open("0").frames)
    assert len(list(source.open("1").frames)) == 5


def test_rows_of_another_episode_are_an_error(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data", "v2.1", as_video=False)
    first = folder / "data/chunk-000/episode_000000.parquet"
    first.write_bytes((folder / "data/chunk-000/episode_000001.parquet").read_bytes())
    assert "the row is of episode 1" in problem(folder)


def test_images_outside_the_data_file_are_not_followed(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data", "v2.1", as_video=False)
    path = folder / "data/chunk-000/episode_000000.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        row["observation.images.front"] = {"bytes": None, "path": "/etc/passwd"}
    schema = pq.read_schema(path)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    assert "lies outside the data file, at '/etc/passwd'" in problem(folder)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95, 0.999])
@pytest.mark.parametrize("name", ["data/chunk-000/file-000.parquet", VIDEO_V3, "meta/info.json"])
def test_cut_files_are_no_crash(name: str, share: float, tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "data")
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    found = frames_or_problem(folder)
    assert isinstance(found, str) or (share == 0.999 and len(found) == 9)  # a video ends with its author's name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lerobot(tmp_path_factory.mktemp("lerobot") / "data")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", VIDEO_V3]),
    st.integers(0, 2**31),
    st.binary(min_size=1, max_size=16),
)
def test_damage_anywhere_is_no_crash(whole: Path, name: str, place: int, junk: bytes) -> None:
    path = whole / name
    before = path.read_bytes()
    data = bytearray(before)
    at = place % len(data)
    data[at : at + len(junk)] = junk
    path.write_bytes(data)
    try:
        frames_or_problem(whole)
    finally:
        path.write_bytes(before)


def test_a_dataset_of_this_package_is_taken_as_it_is(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "own") as writer:
        info = EpisodeInfo(10.0, {"c": CameraInfo(SIZE_PX, SIZE_PX, has_depth=True)}, source="somewhere")
        depth_m = np.full((SIZE_PX, SIZE_PX), 0.7, np.float32)
        frame = EpisodeFrame(0.0, {"c": FrameImage(0.0, picture(3), depth_m)}, gripper_width_m=0.04)
        writer.write(info, [frame], EpisodeEnd(success=True, note="slipped"))
    episode = open_first(tmp_path / "own")
    (read,) = episode.frames
    assert read.gripper_width_m == pytest.approx(0.04)
    assert read.images["c"].depth_m is not None
    assert read.images["c"].depth_m[0, 0] == pytest.approx(0.7, abs=0.0006)
    assert (episode.end().success, episode.end().note, episode.end().labels["source"]) == (True, "slipped", "somewhere")
