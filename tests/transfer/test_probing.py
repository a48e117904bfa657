"""The grounding probe on recorded frames, and `simtoreal inspect` with a bundle and episodes together."""

from pathlib import Path

import pytest
from bar_episodes import write
from bar_scenes import VIEW, real_frames

from simtoreal import cli
from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.ledger.probing import probe_frames


def test_a_net_is_probed_with_frames_of_all_episodes(source: GraspNet):
    probed = probe_frames(source, real_frames(5, bare=2), VIEW, 0)
    assert probed is not None
    assert probed.found["n_frames"] + probed.found["n_without_grasp"] == 15, "three of each that show something held"
    assert len(probed.found["responses"]) == 6
    assert probed.pictures[0].caption == "as it is"


def test_one_episode_is_too_few_to_probe(source: GraspNet):
    assert probe_frames(source, real_frames(1), VIEW, 0) is None


def test_inspect_takes_a_bundle_and_episodes(source_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    episodes = write(tmp_path / "dataset", (True, True))
    out = tmp_path / "out"
    assert cli.main(["inspect", f"bundle={source_folder}", f"episodes={episodes}", f"out={out}"]) == 0
    shown = capsys.readouterr().out
    assert "Does it look at the picture?" in shown
    assert (out / "report.html").is_file()
    page = (out / "grounding" / "report.html").read_text(encoding="utf-8")
    assert "camera and calibration moved 1 cm" in page
    assert page.count("<img") == 6


def test_episodes_alone_are_not_probed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    episodes = write(tmp_path / "dataset", (True,))
    assert cli.main(["inspect", f"episodes={episodes}", f"out={tmp_path / 'out'}"]) == 0
    assert "Does it look" not in capsys.readouterr().out
    assert not (tmp_path / "out" / "grounding").exists()
