"""`simtoreal dataset`, from the settings to what lies on the disk."""

import json
from pathlib import Path

import pytest
from episode_samples import write_dataset

from simtoreal import cli
from simtoreal.config import ConfigError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.settings import DatasetConfig


def lengths(folder: Path) -> list[int]:
    with DatasetReader(folder) as reader:
        return [entry.num_frames for entry in reader.entries]


def test_damage_is_found_written_down_and_repaired(dataset: Path, tmp_path: Path, capsys: object) -> None:
    command = ["dataset", f"source={dataset}", f"out={tmp_path / 'out'}"]
    assert cli.main([*command, "action=verify", "decode=true"]) == 0
    assert json.loads((tmp_path / "out/problems.json").read_text())["problems"] == []
    (dataset / "data/chunk-000/file-001.parquet").write_bytes(b"PAR1")
    assert cli.main([*command, "action=verify"]) == 1
    problem = json.loads((tmp_path / "out/problems.json").read_text())["problems"][0]
    assert (problem["episode"], Path(problem["file"]).name) == (1, "file-001.parquet")
    assert cli.main([*command, "action=repair"]) == 0
    assert cli.main([*command, "action=verify"]) == 0
    assert lengths(dataset) == [5, 6]


def test_datasets_are_filtered_split_and_merged(dataset: Path, tmp_path: Path) -> None:
    assert cli.main(["dataset", "action=filter", f"source={dataset}", "success=true", f"out={tmp_path / 'a'}"]) == 0
    assert lengths(tmp_path / "a") == [5, 6]
    other = write_dataset(tmp_path / "other", (2,))
    assert cli.main(["dataset", "action=merge", f"source=[{dataset},{other}]", f"out={tmp_path / 'b'}"]) == 0
    assert lengths(tmp_path / "b") == [5, 7, 6, 2]
    settings = ["by=object", "parts=[near,far]", "shares=[0.7,0.3]", f"out={tmp_path / 'c'}"]
    assert cli.main(["dataset", "action=split", f"source={tmp_path / 'b'}", *settings]) == 0
    assert (lengths(tmp_path / "c/near"), lengths(tmp_path / "c/far")) == ([5, 6, 2], [7])


def test_a_second_time_nothing_is_doubled(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dataset", "action=filter", f"source={dataset}", "objects=b", f"out={tmp_path / 'a'}"]
    assert cli.main(command) == 0
    assert cli.main(command) == 2
    assert "holds a dataset already: choose a new folder" in capsys.readouterr().err
    assert cli.main(["dataset", "action=filter", f"source={dataset}", "objects=c", f"out={tmp_path / 'd'}"]) == 2
    assert "no episode of" in capsys.readouterr().err


def test_settings_must_go_together() -> None:
    with pytest.raises(ConfigError, match="needs source=DIR"):
        DatasetConfig(source=())
    with pytest.raises(ConfigError, match="one for each of shares"):
        DatasetConfig(source=("a",), parts=("train",))
