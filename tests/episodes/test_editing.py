"""Split, filter, merge: the right episodes, renumbered, with their pictures untouched."""

import json
from pathlib import Path

import numpy as np
import pytest
from episode_samples import episode_info, frames_of, write_dataset

from simtoreal.episodes.editing import Criteria, extract, merge, select, split
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.records import EpisodeEnd
from simtoreal.episodes.verify import verify
from simtoreal.episodes.writer import DatasetWriter, WriterSettings

SHARES = {"train": 0.6, "test": 0.4}
VIDEO = "videos/observation.images.wrist/chunk-000"


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten episodes of two to four frames with objects a to e, two each."""
    folder = tmp_path_factory.mktemp("ten") / "d"
    with DatasetWriter(folder) as writer:
        for number in range(10):
            info = episode_info(
                object_name="abcde"[number % 5], domain="real" if number < 4 else "pybullet", task=f"task {number % 2}"
            )
            end = EpisodeEnd(
                success=None if number == 9 else number % 3 == 0, failure="" if number % 3 == 0 else "missed"
            )
            writer.write(info, frames_of(2 + number % 3, number), end)
    return folder


@pytest.mark.parametrize(
    ("criteria", "kept"),
    [
        (Criteria(), list(range(10))),
        (Criteria(success=True), [0, 3, 6]),
        (Criteria(success=False), [1, 2, 4, 5, 7, 8]),
        (Criteria(domains=("real",)), [0, 1, 2, 3]),
        (Criteria(objects=("a", "e"), success=False), [4, 5]),
        (Criteria(tasks=("task 1",), min_frames=4), [5]),
        (Criteria(failures=("missed",), robots=("ur5",)), []),
    ],
)
def test_criteria_keep_what_fits_all_of_them(ten: Path, criteria: Criteria, kept: list[int]) -> None:
    with DatasetReader(ten) as reader:
        assert select(reader.entries, criteria) == kept


def test_a_split_by_object_keeps_an_object_in_one_part(ten: Path) -> None:
    with DatasetReader(ten) as reader:
        draws = [split(reader.entries, SHARES, "object", np.random.default_rng(seed)) for seed in range(6)]
        names = [entry.info.object_name for entry in reader.entries]
    for parts in draws:
        assert sorted(parts["train"] + parts["test"]) == list(range(10))
        assert {names[i] for i in parts["train"]}.isdisjoint(names[i] for i in parts["test"])
        assert len(parts["train"]) == 6
    assert len({tuple(parts["test"]) for parts in draws}) > 1
    with DatasetReader(ten) as reader:
        assert split(reader.entries, SHARES, "object", np.random.default_rng(3)) == draws[3]


def test_a_split_by_episode_has_its_shares(ten: Path) -> None:
    with DatasetReader(ten) as reader:
        parts = split(reader.entries, {"a": 0.7, "b": 0.2, "c": 0.1}, "episode", np.random.default_rng(0))
    assert {name: len(part) for name, part in parts.items()} == {"a": 7, "b": 2, "c": 1}


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"a": 0.5}, "sum to 1"),
        ({"a": 1.5, "b": -0.5}, "positive"),
        ({}, "positive"),
        ({"a": 0.999, "b": 0.001}, "'b' would be"),
    ],
)
def test_shares_must_be_shares(ten: Path, shares: dict[str, float], said: str) -> None:
    with DatasetReader(ten) as reader, pytest.raises(DatasetError, match=said):
        split(reader.entries, shares, "object", np.random.default_rng(0))


def test_an_extract_is_a_dataset_with_the_same_pictures(ten: Path, tmp_path: Path) -> None:
    with DatasetReader(ten) as reader:
        assert extract(reader, [7, 2], tmp_path / "d") == 2
        wanted = [list(reader[7]), list(reader[2])]
    assert list(verify(Layout(tmp_path / "d"), decode=True)) == []
    assert (tmp_path / "d" / VIDEO / "file-000.mp4").read_bytes() == (ten / VIDEO / "file-007.mp4").read_bytes()
    with DatasetReader(tmp_path / "d") as reader:
        assert reader.tasks == ("task 1", "task 0")
        for episode, frames in zip(reader, wanted, strict=True):
            for read, original in zip(episode, frames, strict=True):
                np.testing.assert_array_equal(read.T_base_tcp, original.T_base_tcp)
                np.testing.assert_array_equal(read.images["wrist"].depth_m, original.images["wrist"].depth_m)


def test_a_merge_holds_the_episodes_of_all(ten: Path, dataset: Path, tmp_path: Path) -> None:
    assert merge([dataset, ten], tmp_path / "d") == 13
    stats = json.loads((tmp_path / "d/meta/stats.json").read_text())
    assert stats["action"]["count"] == stats["observation.images.wrist"]["count"] == [47]
    assert list(verify(Layout(tmp_path / "d"), decode=True)) == []
    with DatasetReader(tmp_path / "d") as reader:
        assert [entry.num_frames for entry in reader.entries][:5] == [5, 7, 6, 2, 3]
        assert reader.tasks == ("pick up the object", "task 0", "task 1")


def test_datasets_that_are_stored_otherwise_do_not_merge(dataset: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", (2,), WriterSettings(lossless_rgb=True))
    with pytest.raises(DatasetError, match="is stored otherwise than"):
        merge([dataset, other], tmp_path / "d")
    with DatasetReader(tmp_path / "d") as reader:
        assert len(reader) == 3


def test_a_damaged_episode_is_not_copied(dataset: Path, tmp_path: Path) -> None:
    video = dataset / VIDEO / "file-001.mp4"
    content = bytearray(video.read_bytes())
    content[len(content) // 2] ^= 0xFF
    video.write_bytes(content)
    with (
        DatasetReader(dataset) as reader,
        pytest.raises(DatasetError, match=r"001\.mp4, episode 1: .*hash differs"),
    ):
        extract(reader, [0, 1, 2], tmp_path / "d")
    with DatasetReader(tmp_path / "d") as reader:
        assert len(reader) == 1
