"""`simtoreal curve` from a folder of episodes to curve.json and page: a small net, nested subsets, and going on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from bar_episodes import write

from simtoreal.config import World
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError
from simtoreal.transfer.curve import command
from simtoreal.transfer.curve.command import SCRATCH, TUNED, curve, plan_tasks
from simtoreal.transfer.curve.points import make_split
from simtoreal.transfer.settings import CurveConfig, TransferConfig
from simtoreal.transfer.tuning.strategy import Strategy, load_strategy

QUICK = {
    "name": "quick", "about": "for a test", "steps": 24, "batch_size": 8, "learning_rate": 0.008, "unknown_weight": 0.3,
    "depths": {"heads": 1.0, "body": 1.0, "num_stages": 100},
}  # fmt: skip


@pytest.fixture(scope="module")
def config(source_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CurveConfig:
    folder = tmp_path_factory.mktemp("curve")
    (folder / "quick.yaml").write_text(yaml.safe_dump(QUICK))
    return CurveConfig(
        bundle=str(source_folder), episodes=write(folder / "dataset", (True,) * 6 + (False,)), strategy="auto",
        candidates=("zero_shot", str(folder / "quick.yaml")), out=folder / "out", simulated_frames=0, max_frames=4,
        workers=1, sizes=(0, 1, 3), seeds=(0, 1), held_out_frac=0.34,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def short_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(name: str) -> Strategy:
        return replace(load_strategy(name), steps=4)

    monkeypatch.setattr(command, "load_strategy", quick)


def test_sizes_are_nested_and_nobody_is_judged_by_what_taught_it():
    judgeable, others = np.arange(10), np.array([20, 21])
    split = make_split(judgeable, others, 0.3, 4)
    assert len(split.held_out) == 3
    assert set(split.row) | set(split.held_out) == {*range(10), 20, 21}
    assert not set(split.row) & set(split.held_out)
    assert not np.array_equal(split.row, make_split(judgeable, others, 0.3, 5).row)
    assert len(make_split(np.arange(3), np.arange(0), 0.8, 0).row) == 1, "one is always left to train on"


def test_what_is_planned():
    splits = {seed: make_split(np.arange(10), np.arange(0), 0.3, seed) for seed in (0, 1)}
    tasks = plan_tasks(CurveConfig(sizes=(0, 1, 5, 50), seeds=(0, 1)), splits)
    assert {task.size for task in tasks if task.arm == TUNED} == {0, 1, 5, 7}, "7 is all there are"
    assert {task.size for task in tasks if task.arm == SCRATCH} == {1, 5, 7}


def test_a_curve_from_episodes_to_page_and_again(config: CurveConfig, capsys: pytest.CaptureFixture[str]):
    curve(config)
    found = json.loads((config.out / "curve.json").read_text())
    assert found["arms"][TUNED]["sizes"] == [0, 1, 3, 5]
    assert found["arms"][SCRATCH]["sizes"] == [1, 3, 5]
    assert len(found["points"]) == 2 * (4 + 3)
    misses = found["arms"][TUNED]["measured"]["value"]
    assert misses[-1] < misses[0]
    assert found["saved"]["data"]["low"] <= found["saved"]["data"]["value"] <= found["saved"]["data"]["high"]
    shown = capsys.readouterr().out
    assert "Real data saved" in shown
    assert "more are worth recording" in shown
    assert "Learning curve" in (config.out / "report.html").read_text()
    files = {
        path: path.stat().st_mtime_ns for kind in ("points", "trainings") for path in (config.out / kind).iterdir()
    }
    curve(config)
    assert {path: path.stat().st_mtime_ns for path in files} == files, "nothing is done twice"
    assert json.loads((config.out / "curve.json").read_text()) == found


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_workers(config: CurveConfig, tmp_path: Path):
    configs = [replace(config, out=tmp_path / str(n), workers=n, sizes=(0, 1), seeds=(0,)) for n in (1, 2)]
    for one in configs:
        one.out.mkdir()
        curve(replace(one, strategy=str(config.candidates[1])))
    found = [json.loads((one.out / "curve.json").read_text())["points"] for one in configs]
    keyed = [{(p["arm"], p["size"]): p["miss"] for p in points} for points in found]
    assert keyed[0].keys() == keyed[1].keys()
    for key, miss in keyed[0].items():
        np.testing.assert_allclose(keyed[1][key], miss, atol=0.05)


def test_success_in_a_world_is_a_curve_of_its_own(config: CurveConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def run(config: TransferConfig, world: World, arm: tuple[str, Path], progress: Progress) -> list[EpisodeRecord]:
        size = int(arm[1].name.split("-")[1])
        return [
            EpisodeRecord(i, f"0-{i}-0", f"o{i}", "box", "small", i < 4 + size, "" if i < 4 + size else "missed", 1,
                          2.0, target_name=f"o{i}")
            for i in range(12)
        ]  # fmt: skip

    monkeypatch.setattr(command, "run_arm", run)
    monkeypatch.setattr(command, "check_world", lambda *arguments, **more: None)
    curve(replace(config, world=World.PYBULLET))
    found = json.loads((config.out / "curve.json").read_text())["online"]
    assert found["arms"][TUNED]["measured"]["value"] == pytest.approx([8 / 12, 7 / 12, 5 / 12, 3 / 12])
    assert found["loss"] == "failure"


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"sizes": (5, 1)}, "must grow"), ({"seeds": (1, 1)}, "each one once"), ({"seeds": ()}, "seeds")],
)
def test_settings_that_make_no_sense(changes: dict[str, object], said: str):
    with pytest.raises(ConfigError, match=said):
        CurveConfig(**changes)  # type: ignore[arg-type]
