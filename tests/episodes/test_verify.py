"""What verify finds where every hash fits: a dataset that was made wrong, not one that was damaged."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from episode_samples import write_dataset

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.verify import verify
from simtoreal.episodes.writer import WriterSettings

DATA = "data/chunk-000/file-001.parquet"
TABLE = "meta/episodes/chunk-000/file-000.parquet"


def tell_table(folder: Path) -> None:
    """Writes into the table of episodes what episode 1 looks like now."""
    content = (folder / DATA).read_bytes()
    rows = pq.read_table(folder / TABLE)
    for name, value in (("data/sha256", hashlib.sha256(content).hexdigest()), ("data/bytes", len(content))):
        column = rows[name].to_pylist()
        column[1] = value
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), [column])
    pq.write_table(rows, folder / TABLE)


def change(folder: Path, name: str, edit: Callable[[np.ndarray], None]) -> None:
    """Changes a column of episode 1."""
    rows = pq.read_table(folder / DATA)
    field = rows.schema.field(name)
    column = rows[name].combine_chunks()
    is_vector = pa.types.is_fixed_size_list(field.type)
    flat = np.array(column.flatten() if is_vector else column)
    edit(flat.reshape(len(rows), -1))
    array = (
        pa.FixedSizeListArray.from_arrays(pa.array(flat), type=field.type) if is_vector else pa.array(flat, field.type)
    )
    rows = rows.set_column(rows.column_names.index(name), field, array)
    pq.write_table(rows, folder / DATA)
    tell_table(folder)


def nan_in_pose(values: np.ndarray) -> None:
    values[3, 1] = np.nan


def backwards(values: np.ndarray) -> None:
    values[4, 0] = values[3, 0] - 0.01


def wrong_number(values: np.ndarray) -> None:
    values[5:, 0] = 99


@pytest.mark.parametrize(
    ("column", "edit", "row"),
    [
        ("observation.state", nan_in_pose, 3),
        ("camera_extrinsics.wrist", nan_in_pose, 3),
        ("control_timestamp", backwards, 4),
        ("capture_timestamp.wrist", backwards, 4),
        ("capture_timestamp.state", backwards, 4),
        ("timestamp", backwards, 4),
        ("episode_index", wrong_number, 5),
        ("index", wrong_number, 5),
        ("task_index", wrong_number, 5),
    ],
)
def test_rows_that_cannot_be_true_are_found(
    dataset: Path, column: str, edit: Callable[[np.ndarray], None], row: int
) -> None:
    assert list(verify(Layout(dataset), decode=True)) == []
    change(dataset, column, edit)
    (problem,) = verify(Layout(dataset))
    assert f"column '{column}' cannot be true" in str(problem)
    assert (problem.episode, problem.frame) == (1, row)
    assert str(problem.file).endswith(DATA)
    with DatasetReader(dataset) as reader:  # what is wrong with a number is no reason not to read the rest
        assert sum(1 for episode in reader for _ in episode) == 18
        if column == "observation.state":
            assert reader[1][3].T_base_tcp is None


def test_a_data_file_of_another_dataset_is_found(dataset: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", (7, 7), WriterSettings(lossless_rgb=True))
    (dataset / DATA).write_bytes((other / DATA).read_bytes())
    tell_table(dataset)
    with pytest.raises(DatasetError, match=r"file-001\.parquet, episode 1: has other columns"):
        DatasetReader(dataset)
    with DatasetReader(dataset, skip_broken=True) as reader:
        assert [episode.entry.index for episode in reader] == [0, 2]
    assert ["has other columns" in str(problem) for problem in verify(Layout(dataset))] == [True]


def test_a_file_of_nobody_is_found(dataset: Path) -> None:
    stranger = dataset / "data/chunk-000/file-007.parquet"
    stranger.write_bytes((dataset / DATA).read_bytes())
    (problem,) = verify(Layout(dataset))
    assert str(problem) == f"{stranger}: belongs to no episode: left by a recording that was killed? repair it"


def test_totals_that_are_behind_are_found(dataset: Path) -> None:
    """As a recording leaves them that is killed between its last two steps."""
    info = (dataset / "meta/info.json").read_text()
    write_dataset(dataset, (2,))
    (dataset / "meta/info.json").write_text(info)
    said = [str(problem) for problem in verify(Layout(dataset))]
    assert len(said) == 2
    assert "says total_episodes 3, and there are 4" in said[0]
    with DatasetReader(dataset) as reader:
        assert len(reader) == 4
    write_dataset(dataset, (2,))  # whoever writes next puts them right
    assert list(verify(Layout(dataset))) == []
