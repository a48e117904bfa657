"""Records become figures: counts, intervals, pairing with the oracle, and files that survive what disks do."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.evaluation.output_files import RunFolderError, make_folder, write_text_atomic
from simtoreal.evaluation.records import FAILURES, EpisodeRecord, size_class, to_plain
from simtoreal.evaluation.results import EvaluationResult, episodes_csv, load_eval_info, pair_records, summarise


def make_record(episode: int = 0, success: bool = True, **changes: Any) -> EpisodeRecord:
    values: dict[str, Any] = {
        "episode": episode,
        "scene_seed": f"scene-{episode}",
        "object_name": f"object-{episode % 5}",
        "group": "box" if episode % 2 else "mug",
        "size_class": "medium",
        "success": success,
        "failure": "" if success else "missed",
        "num_attempts": 1,
        "duration_s": 2.5,
    }
    return EpisodeRecord(**(values | changes))


def make_result(**changes: Any) -> EvaluationResult:
    policy = [make_record(i, i % 10 != 0, oracle_success=True, invalid_redraws=int(i == 3)) for i in range(20)]
    oracle = [make_record(i, i != 19, arm="oracle") for i in range(20)]
    random = [make_record(i, i == 7, arm="random") for i in range(20)]
    values: dict[str, Any] = {"records": {"policy": policy, "oracle": oracle, "random": random}, "seed": 3}
    return EvaluationResult(**(values | changes))


@pytest.mark.parametrize(
    ("extents_m", "expected"),
    [
        ((0.085, 0.054, 0.001), "thin"),
        ((0.012, 0.2, 0.2), "thin"),
        ((0.03, 0.05, 0.06), "small"),
        ((0.07, 0.07, 0.11), "medium"),
        ((0.3, 0.02, 0.02), "large"),
    ],
)
def test_size_class(extents_m: tuple[float, float, float], expected: str) -> None:
    assert size_class(extents_m) == expected
    assert size_class(np.array(extents_m)[::-1]) == expected


@pytest.mark.parametrize("extents_m", [(0.0, 0.1, 0.1), (0.1, 0.1), (math.nan, 0.1, 0.1)])
def test_size_class_names_bad_extents(extents_m: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="three positive lengths"):
        size_class(extents_m)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"success": False, "failure": ""}, "success=False does not go with failure=''"),
        ({"success": True, "failure": "missed"}, "does not go with"),
        ({"success": False, "failure": "exploded"}, "one of missed, slipped, dropped"),
        ({"size_class": "huge"}, "size_class must be one of"),
    ],
)
def test_contradictory_records_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_record(**({"episode": 4} | changes))


def test_record_survives_json_with_numpy_values() -> None:
    record = make_record(2, world_sample={"friction": np.float32(0.5), "light": np.ones(2), "seed": np.int64(4)})
    again = EpisodeRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    assert again.world_sample == {"friction": 0.5, "light": [1.0, 1.0], "seed": 4}
    assert again.scene_seed == record.scene_seed
    assert EpisodeRecord.from_dict(record.to_dict() | {"from_a_later_version": 1}).episode == 2
    with pytest.raises(ValueError, match="not an episode record"):
        EpisodeRecord.from_dict({"episode": 2})


def test_eval_info_counts_and_intervals() -> None:
    info = make_result().to_eval_info()
    assert info["overall"]["n_episodes"] == 20
    assert info["overall"]["n_success"] == 18
    assert info["overall"]["pc_success"] == 90.0
    assert info["overall"]["pc_success_ci95"] == pytest.approx([69.9, 97.2], abs=0.1)
    assert info["failures"] == {kind: 2 if kind == "missed" else 0 for kind in FAILURES}
    assert info["invalid"] == {
        "n_invalid": 1,
        "n_drawn": 21,
        "pc_invalid": pytest.approx(100 / 21),
        "n_invalid_per_arm": {"policy": 1, "oracle": 0, "random": 0},
    }
    assert list(info["per_size"]) == ["medium"]
    assert info["per_object"]["object-0"] == {
        "n_episodes": 4,
        "n_success": 2,
        "pc_success": 50.0,
        "pc_success_ci95": pytest.approx([15.0, 85.0], abs=0.1),
    }


def test_oracle_is_compared_on_the_same_scenes_over_objects() -> None:
    oracle = make_result().to_eval_info()["oracle"]
    assert oracle["overall"]["pc_success"] == 95.0
    assert oracle["n_paired"] == 20
    assert oracle["pc_of_oracle"] == pytest.approx(100 * 18 / 19)
    low, high = oracle["pc_of_oracle_ci95"]
    assert low < 100 * 18 / 19 < high
    assert oracle["pc_difference"] == pytest.approx(-5.0)
    assert set(oracle) >= {"per_object", "per_group", "per_size", "failures"}


def test_only_scenes_both_met_are_paired() -> None:
    ours = [make_record(i) for i in range(4)]
    theirs = [make_record(i, scene_seed=f"scene-{i}" if i != 2 else "redrawn", arm="oracle") for i in (3, 2, 1)]
    assert [ours_one.episode for ours_one, _ in pair_records(ours, theirs)] == [1, 3]


def test_arms_that_did_not_run_are_none_and_other_arms_are_listed() -> None:
    servo = [make_record(i, i % 5 != 0, arm="servo") for i in range(20)]
    info = EvaluationResult({"policy": make_result().main, "servo": servo}, seed=0).to_eval_info()
    assert info["oracle"] is None
    assert info["random"] is None
    assert info["other_arms"]["servo"]["pc_difference"] == pytest.approx(10.0)


def test_an_evaluation_without_its_main_arm_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no episodes of arm 'policy'; there are \['oracle'\]"):
        EvaluationResult({"oracle": [make_record(arm="oracle")]}, seed=0)


@given(st.lists(st.booleans(), max_size=40))
def test_summary_is_consistent(outcomes: list[bool]) -> None:
    summary = summarise([make_record(i, ok) for i, ok in enumerate(outcomes)])
    low, high = summary["pc_success_ci95"]
    assert 0.0 <= low <= high <= 100.0
    if outcomes:
        assert low <= summary["pc_success"] <= high
    else:
        assert summary["pc_success"] is None


def test_written_files_read_back(tmp_path: Path) -> None:
    result = make_result(config={"out": tmp_path, "nan": math.nan}, git_revision="abc", timing={"steps_per_s": 9.0})
    written = result.write(tmp_path / "deep" / "run")
    assert load_eval_info(tmp_path / "deep" / "run") == written
    assert load_eval_info(tmp_path / "deep" / "run" / "eval_info.json")["config"] == {"out": str(tmp_path), "nan": None}
    with (tmp_path / "deep" / "run" / "episodes.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 60
    assert {row["arm"] for row in rows} == {"policy", "oracle", "random"}
    assert sorted(item.name for item in (tmp_path / "deep" / "run").iterdir()) == ["episodes.csv", "eval_info.json"]


def test_csv_does_not_depend_on_the_order_episodes_finished() -> None:
    records = list(make_result().main)
    assert episodes_csv({"policy": records}) == episodes_csv({"policy": records[::-1]})


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read"), ("{ half", "not valid JSON"), ("[1]", "not from an evaluation"), ("{}", "lacks overall")],
)
def test_unreadable_results_are_named(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "eval_info.json").write_text(content)
    with pytest.raises(RunFolderError, match=words) as caught:
        load_eval_info(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_file_in_the_place_of_the_run_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("occupied")
    with pytest.raises(RunFolderError, match=r"a file stands where a folder is needed.*out=DIR"):
        make_result().write(tmp_path / "run")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "eval_info.json"
    write_text_atomic(target, "old")

    def refuse(self: Path, other: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunFolderError, match=r"No space left on device.*free\).*free some space.*resume=true"):
        write_text_atomic(target, "new")
    assert target.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["eval_info.json"]


def test_a_read_only_folder_is_said_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, content: bytes) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(RunFolderError, match="read-only: choose another folder"):
        make_folder(tmp_path / "run")


def test_to_plain_leaves_nothing_json_cannot_hold() -> None:
    value = {1: (np.float64(2.0), math.inf), "path": Path("a"), "flag": np.bool_(True), "names": {"x"}}
    assert to_plain(value) == {"1": [2.0, None], "path": "a", "flag": True, "names": ["x"]}
