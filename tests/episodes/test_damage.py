"""Damaged and misleading datasets: a `DatasetError` that names the file, never a crash, and the rest stays usable."""

import contextlib
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from episode_samples import write_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.repair import repair
from simtoreal.episodes.verify import verify
from simtoreal.episodes.writer import DatasetWriter

FILES = (
    "meta/info.json",
    "meta/tasks.parquet",
    "meta/episodes/chunk-000/file-000.parquet",
    "data/chunk-000/file-001.parquet",
    "videos/observation.images.wrist/chunk-000/file-001.mp4",
)
OF_EPISODE_1 = FILES[3:]
BLOCK_BYTES = 512


def read_all(folder: Path) -> int:
    """Reads whatever can be read; raises only `DatasetError`."""
    num_frames = 0
    with DatasetReader(folder, skip_broken=True) as reader:
        for episode in reader:
            for index in range(len(episode)):
                try:
                    episode.frame(index)
                    num_frames += 1
                except DatasetError as error:
                    assert error.file  # noqa: PT017
        assert all(error.file for error in reader.broken)
    return num_frames


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_off_at_any_block_is_noticed(dataset: Path, name: str) -> None:
    content = (dataset / name).read_bytes()
    step = max(BLOCK_BYTES, len(content) // 40)
    for size in range(0, len(content), step):
        (dataset / name).write_bytes(content[:size])
        with pytest.raises(DatasetError, match="dataset"):
            DatasetReader(dataset)
        assert next(verify(Layout(dataset)), None) is not None
        if name in OF_EPISODE_1:
            with DatasetReader(dataset, skip_broken=True) as reader:
                assert [entry.index for entry in reader.entries] == [0, 2]
                assert reader.broken[0].episode == 1
                assert str(reader.broken[0].file).endswith(name)
            assert read_all(dataset) == 11


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("pristine") / "dataset")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=40),
)  # fmt: skip
def test_no_byte_can_crash_the_reader(pristine: Path, tmp_path: Path, name: str, place: float, junk: bytes) -> None:
    folder = tmp_path / "dataset"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pristine, folder)
    content = bytearray((folder / name).read_bytes())
    at = int(place * len(content))
    content[at : at + len(junk)] = junk[: len(content) - at]
    (folder / name).write_bytes(content)
    changed = bytes(content) != (pristine / name).read_bytes()
    try:
        assert read_all(folder) <= 18
        problems = list(verify(Layout(folder), decode=True))
    except DatasetError as error:
        assert error.file  # noqa: PT017
        problems = [error]
    if changed and name in OF_EPISODE_1:
        assert any(problem.episode == 1 for problem in problems)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists) | st.binary())
def test_any_info_at_all_is_a_dataset_error_or_a_dataset(pristine: Path, tmp_path: Path, text: object) -> None:
    folder = tmp_path / "dataset"
    if not folder.exists():
        shutil.copytree(pristine, folder)
    info = json.loads((pristine / "meta/info.json").read_text())
    for key in ("simtoreal", "features", "fps", "codebase_version", "data_path"):
        changed = {**info, key: text if not isinstance(text, bytes) else text.hex()}
        (folder / "meta/info.json").write_text(json.dumps(changed))
        with contextlib.suppress(DatasetError):  # and nothing else
            DatasetReader(folder).close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda info: info.update(codebase_version="v2.1"), "version 'v2.1'.*simtoreal import"),
        (lambda info: info.pop("simtoreal"), "was not written by simtoreal.*simtoreal import"),
        (lambda info: info["simtoreal"].update(format=99), "has format 99 of simtoreal"),
        (lambda info: info["features"].pop("action"), "column 'action' is not among the features"),
        (lambda info: info["features"].update(speed=info["features"]["action"]), "column 'speed' is among"),
        (lambda info: info["features"]["action"].update(shape=[6]), r"column 'action' has shape \[6\]"),
        (lambda info: info.update(data_path="../../etc/{chunk_index}"), "data_path must be"),
        (lambda info: info.update(fps=0), "fps must lie in"),
    ],
)  # fmt: skip
def test_a_mislabelled_dataset_says_what_is_wrong(dataset: Path, change: object, said: str) -> None:
    info = json.loads((dataset / "meta/info.json").read_text())
    change(info)  # type: ignore[operator]
    (dataset / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DatasetError, match=said):
        DatasetReader(dataset)
    with pytest.raises(DatasetError, match=said):
        DatasetWriter(dataset)
    assert json.loads((dataset / "meta/info.json").read_text()) == info


def test_a_column_that_comes_twice_is_noticed(dataset: Path) -> None:
    path = dataset / "meta/info.json"
    text = path.read_text().replace('"capture_timestamp.state"', '"action"')
    path.write_text(text)
    with pytest.raises(DatasetError, match="the key 'action' comes twice"):
        DatasetReader(dataset)


def test_what_is_no_dataset_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        DatasetReader(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is not a LeRobotDataset"):
        DatasetReader(tmp_path)
    DatasetWriter(tmp_path / "begun").close()
    with pytest.raises(DatasetError, match="holds no finished episode yet"):
        DatasetReader(tmp_path / "begun")


@pytest.mark.parametrize("content", [b"#EXTM3U\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /x.mp4\n", b""])
def test_a_playlist_is_not_followed(dataset: Path, content: bytes) -> None:
    video = dataset / OF_EPISODE_1[1]
    video.write_bytes(content.ljust(video.stat().st_size, b"\n"))
    with DatasetReader(dataset) as reader, pytest.raises(DatasetError, match=r"file-001\.mp4.*cannot be read"):
        reader[1].rgb(0, "wrist")


def test_a_video_with_fewer_pictures_than_rows_is_noticed(tmp_path: Path) -> None:
    """Even where sizes and hashes were made to fit."""
    folder = write_dataset(tmp_path / "dataset", (5, 3))
    short, long = (folder / f"videos/observation.images.wrist/chunk-000/file-00{i}.mp4" for i in (1, 0))
    shutil.copyfile(short, long)
    path = folder / FILES[2]
    rows = pq.read_table(path)
    for part in ("sha256", "bytes"):
        name = f"videos/observation.images.wrist/{part}"
        column = rows[name].to_pylist()
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), [[column[1], column[1]]])
    pq.write_table(rows, path)
    assert [str(problem) for problem in verify(Layout(folder))] == [f"{long}, episode 0: has 3 pictures for 5 rows"]
    with DatasetReader(folder) as reader:
        assert reader[0].frame(2).images["wrist"].rgb is not None
        with pytest.raises(DatasetError, match=r"episode 0, frame 3.*no such frame"):
            reader[0].frame(3)
        assert len(list(reader[1])) == 3


@pytest.mark.parametrize("name", FILES)
def test_a_repair_keeps_what_is_intact(dataset: Path, name: str) -> None:
    (dataset / name).write_bytes((dataset / name).read_bytes()[:-200])
    problems = repair(dataset)
    assert any(str(dataset / name) in str(problem) for problem in problems)
    assert list(verify(Layout(dataset), decode=True)) == []
    lengths = [5, 6] if name in OF_EPISODE_1 else [5, 7, 6]
    with DatasetReader(dataset) as reader:
        assert [len(episode) for episode in reader] == lengths
        assert [episode.end.success for episode in reader] == ([True] * 2 if len(lengths) == 2 else [True, False, True])
    set_aside = [path for path in (dataset / ".simtoreal").rglob("file-*") if path.is_file()]
    assert len(set_aside) == (2 if name in OF_EPISODE_1 else 0)
    write_dataset(dataset, (2,))
    with DatasetReader(dataset) as reader:
        assert len(reader) == len(lengths) + 1


def test_nothing_intact_is_no_reason_to_delete(dataset: Path) -> None:
    for path in dataset.glob("data/*/*.parquet"):
        path.write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="no data file can be read"):
        repair(dataset)
    assert len(list(dataset.glob("videos/*/*/*.mp4"))) == 3
