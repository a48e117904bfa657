from pathlib import Path

import pytest
import yaml
from lagging_arm import JAW_SPEED_M_S, LaggingArm

from simtoreal import cli
from simtoreal.envs.randomization import load_randomization
from simtoreal.identified import load_identified


def identify(folder: Path, out: Path, *more: str) -> int:
    return cli.main(["identify", f"episodes={folder}", f"out={out}", *more])


@pytest.fixture(scope="module")
def identified_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    LaggingArm(action_latency_s=0.09, observation_latency_s=0.14).record(folder / "logs", 4)
    assert identify(folder / "logs", folder / "out") == 0
    return folder / "out"


def test_latencies_and_jaws_are_found(identified_folder: Path) -> None:
    found = load_identified(identified_folder / "identified.yaml")
    assert found.mean("observation_latency_s") == pytest.approx(0.14, abs=0.01)
    assert found.mean("action_latency_s") == pytest.approx(0.09, abs=0.01)
    assert found.round_trip_s == pytest.approx(0.23, abs=0.015)
    assert found.mean("gripper_speed_m_s") == pytest.approx(JAW_SPEED_M_S, rel=0.1)
    assert found.robot == "panda"
    assert "friction" in found.unidentified


def test_the_replay_of_held_out_episodes_gets_better(identified_folder: Path) -> None:
    replay = load_identified(identified_folder / "identified.yaml").replay
    assert replay["held_out_episodes"] == [2]
    assert replay["after_mm"] < 0.75 * replay["before_mm"]


def test_the_file_is_a_randomization_that_keeps_what_is_not_known(identified_folder: Path) -> None:
    ranges, base = load_randomization(str(identified_folder / "identified.yaml")), load_randomization("default")
    low, high = ranges.timing.action_latency_s.ends(0.0)
    assert low < 0.1 < high < 0.13
    assert ranges.dynamics.friction == base.dynamics.friction
    assert ranges.visual == base.visual


def test_the_page_shows_posterior_and_plots(identified_folder: Path) -> None:
    page = (identified_folder / "report.html").read_text(encoding="utf-8")
    assert "action_latency_s" in page
    assert "What they do not say" in page
    assert "Command, tool and model" in page


def test_failures_tell_of_the_arm_as_well(tmp_path: Path) -> None:
    LaggingArm(num_periods=60).record(tmp_path / "logs", 2, success=False)
    assert identify(tmp_path / "logs", tmp_path / "out") == 0
    assert load_identified(tmp_path / "out" / "identified.yaml").mean("action_latency_s") == pytest.approx(
        0.1, abs=0.01
    )


def test_stamps_that_are_missing_leave_the_sum(tmp_path: Path) -> None:
    LaggingArm().record(tmp_path / "logs", 2, stamped=False)
    assert identify(tmp_path / "logs", tmp_path / "out") == 0
    found = load_identified(tmp_path / "out" / "identified.yaml")
    assert found.mean("observation_latency_s") is None
    assert found.mean("action_latency_s") is None
    assert found.round_trip_s == pytest.approx(0.18, abs=0.015)
    assert "only the sum" in found.unidentified["action_latency_s"]


def test_without_commands_the_arm_is_unknown_and_keeps_the_default(tmp_path: Path) -> None:
    LaggingArm(num_periods=60).record(tmp_path / "logs", 2, with_commands=False)
    assert identify(tmp_path / "logs", tmp_path / "out") == 0
    plain = yaml.safe_load((tmp_path / "out" / "identified.yaml").read_text())
    assert "commands were recorded" in plain["unidentified"]["action_latency_s"]
    assert "keeps the range" in plain["unidentified"]["action_latency_s"]
    assert "action_latency_s" not in plain["randomization"]["timing"]
    assert plain["posterior"]["observation_latency_s"]["mean"] == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize(
    ("num", "robot", "more", "said"),
    [
        (1, "panda", (), "holds 1 episode"),
        (2, "panda", ("robot=kuka",), "the episodes are of panda"),
        (2, "panda", ("camera=front",), "has no camera 'front'"),
    ],
)
def test_bad_input_is_explained(
    num: int, robot: str, more: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LaggingArm(num_periods=30).record(tmp_path / "logs", num, robot=robot)
    assert identify(tmp_path / "logs", tmp_path / "out", *more) == 2
    assert said in capsys.readouterr().err


def test_episodes_must_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["identify", f"out={tmp_path / 'out'}"]) == 2
    assert "episodes must be given" in capsys.readouterr().err


def test_several_robots_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LaggingArm(num_periods=30).record(tmp_path / "logs", 1, robot="panda")
    LaggingArm(num_periods=30).record(tmp_path / "logs", 1, robot="kuka")
    assert identify(tmp_path / "logs", tmp_path / "out") == 2
    assert "several robots" in capsys.readouterr().err
