"""`simtoreal inspect episodes=DIR`: the page, the figures, and what is broken."""

import json
import sys
from pathlib import Path

import pytest
from tabletop import Story, write_story

from simtoreal import cli
from simtoreal.episodes.reader import DatasetReader


def run(folder: Path, out: Path, *more: str) -> int:
    return cli.main(["inspect", f"episodes={folder}", f"out={out}", *more])


def test_the_page_and_the_figures_say_what_is_in_the_dataset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_story(tmp_path / "d", Story(success=False)).close()
    assert run(tmp_path / "d", tmp_path / "out") == 0
    figures = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert figures["summary"]["frames"].startswith("85 at 20 Hz")
    assert figures["episodes"][0]["attempts"][0]["outcome"] == "unclear"
    assert [item["kind"] for item in figures["findings"]] == ["failure_with_object"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/") == 8 + 1  # frames, and the picture of the finding
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "failure with object" in capsys.readouterr().out


def test_an_episode_that_cannot_be_read_is_named_and_the_others_are_shown(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DatasetReader(dataset) as reader:
        path = reader.layout.data(reader.entries[1].data.slot)
    path.write_bytes(path.read_bytes()[:-100])
    assert run(dataset, tmp_path / "out", "episodes_shown=1") == 1
    figures = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert len(figures["episodes"]) == 2
    assert path.name in figures["broken"][0]
    assert "cannot be read" in capsys.readouterr().out


def test_a_folder_that_is_no_dataset_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, tmp_path / "out") == cli.EXIT_ERROR
    assert str(tmp_path) in capsys.readouterr().err


def test_a_viewer_without_episodes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "viewer=rerun"]) == cli.EXIT_ERROR
    assert "episodes=DIR" in capsys.readouterr().err


def test_without_rerun_the_extra_is_named(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(dataset, tmp_path / "out", "viewer=rerun") == cli.EXIT_ERROR
    assert "simtoreal[rerun]" in capsys.readouterr().err
    assert "rerun" not in sys.modules


def test_rerun_gets_the_shown_episodes(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    assert run(dataset, tmp_path / "out", "viewer=rerun", "episodes_shown=2") == 0
    content = (tmp_path / "out" / "episodes.rrd").read_bytes()
    assert content.startswith(b"RRF")
    assert b"episode_0000" in content
    assert b"episode_0002" in content
