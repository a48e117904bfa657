"""`simtoreal compare`: the same scenes are paired, others are not, and what contradicts itself is refused."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simtoreal import cli
from simtoreal.config import ConfigError
from simtoreal.evaluation.comparison import judge_all, load_runs, summarise_all, verdict_of
from simtoreal.evaluation.output_files import RunFolderError
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import EvaluationResult, load_records
from simtoreal.evaluation.settings import CompareConfig, Pairing
from simtoreal.evaluation.statistics import mcnemar_exact

CONFIG = {"world": "pybullet", "reality": "None", "objects": "random_test", "bundle": "default"}
Write = Callable[..., Path]


def record(episode: int, success: bool, seed: int = 0, **changes: Any) -> EpisodeRecord:
    values: dict[str, Any] = {
        "episode": episode, "scene_seed": f"{seed}-{episode}-0", "object_name": f"object {episode % 20}",
        "group": "box" if episode % 2 else "can", "size_class": "small", "success": success,
        "failure": "" if success else "missed", "num_attempts": 1, "duration_s": 3.5,
        "target_name": f"object {episode % 20}", "world_sample": {"friction": 0.5 + episode}, **changes,
    }  # fmt: skip
    return EpisodeRecord(**values)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, successes: Sequence[bool], seed: int = 0, **changes: Any) -> Path:
        records = [record(i, bool(success), seed, **changes) for i, success in enumerate(successes)]
        result = EvaluationResult({"policy": records}, seed, {**CONFIG, "bundle": name})
        result.write(tmp_path / name)
        return tmp_path / name

    return make


def judged(*folders: Path, pairing: Pairing = Pairing.AUTO) -> Any:
    return judge_all(load_runs(CompareConfig(runs=folders)), pairing, 0)


def test_records_come_back_from_the_table_as_they_were(write: Write) -> None:
    folder = write("a", [True, False, True])
    assert load_records(folder) == {"policy": [record(0, True), record(1, False), record(2, True)]}


def test_a_damaged_table_names_the_line(write: Write) -> None:
    folder = write("a", [True, False])
    path = folder / "episodes.csv"
    path.write_text(path.read_text().replace("False", "perhaps", 1))
    with pytest.raises(RunFolderError, match=r"episodes\.csv, line 3"):
        load_records(folder)


def test_the_same_scenes_are_paired_and_a_gain_is_found(write: Write) -> None:
    rng = np.random.default_rng(0)
    first = rng.random(200) < 0.7
    second = first | (rng.random(200) < 0.5)
    (found,) = judged(write("a", first), write("b", second))
    assert (len(found.pairs), found.why_independent, verdict_of(found)) == (200, "", "better")
    assert found.difference.mean == pytest.approx(second.mean() - first.mean())
    assert found.p_mcnemar == mcnemar_exact(second, first) < 0.001


def test_other_seeds_are_other_scenes_and_said_to_be_independent(write: Write) -> None:
    folders = write("a", [True] * 60 + [False] * 40), write("b", [True] * 60 + [False] * 40, seed=1)
    (found,) = judged(*folders)
    assert not found.pairs
    assert "seed 0 and 1" in found.why_independent
    assert verdict_of(found) == "no evidence"
    with pytest.raises(ConfigError, match="pairing=paired"):
        judged(*folders, pairing=Pairing.PAIRED)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"target_name": "spoon"}, "objects object 0 and spoon"), ({"world_sample": {}}, "world_sample")],
)
def test_one_scene_with_two_contents_is_refused(write: Write, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        judged(write("a", [True] * 4), write("b", [True] * 4, **changes))


def test_pairing_can_be_declined(write: Write) -> None:
    (found,) = judged(write("a", [True] * 9), write("b", [False] * 9), pairing=Pairing.INDEPENDENT)
    assert not found.pairs
    assert verdict_of(found) == "worse"


def test_many_comparisons_are_paid_for(write: Write) -> None:
    rng = np.random.default_rng(3)
    folders = [write(name, rng.random(80) < 0.6) for name in "abcd"]
    found = judged(*folders)
    assert len(found) == 6
    assert all(one.corrected.low <= one.difference.low and one.corrected.high >= one.difference.high for one in found)
    assert all(one.corrected.p >= one.difference.p for one in found)
    summary = summarise_all([found[0].a, found[0].b], found)
    assert summary["comparisons"][0]["both"] + summary["comparisons"][0]["only_a"] <= 80


def test_chance_alone_is_seldom_called_better(write: Write) -> None:
    rng = np.random.default_rng(5)
    alarms = 0
    for trial in range(40):
        folders = [write(f"{name}{trial}", rng.random(60) < 0.7) for name in "ab"]
        alarms += verdict_of(judged(*folders)[0]) != "no evidence"
    assert alarms <= 5, "5 % of 40 is 2"


def test_the_command_takes_bare_words(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write("first", [False] * 30 + [True] * 10), write("second", [True] * 40)
    out = tmp_path / "out"
    assert cli.main(["compare", str(first), str(second), f"out={out}", "pictures=0"]) == 0
    shown = capsys.readouterr().out
    assert "second is better than first: +75.0 points" in shown
    found = json.loads((out / "comparison.json").read_text())
    assert found["comparisons"][0]["verdict"] == "better"
    assert (found["comparisons"][0]["only_b"], found["comparisons"][0]["only_a"]) == (30, 0)
    assert "second is better" in (out / "report.html").read_text()


def test_a_run_without_its_bundle_is_compared_all_the_same(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(write(name, [name == "b"] * 6)) for name in "ab"]
    assert cli.main(["compare", *folders, f"out={tmp_path / 'out'}"]) == 0
    assert "no pictures of a: bundle=a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [(["{a}"], "at least two"), (["{a}", "{a}"], "named twice"), (["{a}", "runs={b}"], "given twice"),
     (["{a}", "nowhere"], "cannot read nowhere"), (["{a}", "{b}", "arm=oracle"], "arm=oracle: .* has policy")],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(
    write: Write, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {name: write(name, [True, False]) for name in "ab"}
    arguments = [word.format(**names) for word in words]
    assert cli.main(["compare", *arguments, f"out={tmp_path / 'out'}"]) == 2
    assert re.search(said, capsys.readouterr().err)
