"""What people look at: pictures and films of the very episodes that were counted, and the command to run it again."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from simtoreal.evaluation import arena as arena_module
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job
from simtoreal.evaluation.presentation import Extras, curves_of_error, present
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.evaluation.results import EvaluationResult
from simtoreal.evaluation.runner import EvaluationPlan
from simtoreal.perception_error import PerceptionError
from simtoreal.progress import Progress


def record_of(episode: int, success: bool, name: str = "block", arm: str = "policy") -> EpisodeRecord:
    failure = "" if success else "missed"
    seed = f"5-{episode}-0"
    return EpisodeRecord(episode, seed, name, "file", "small", success, failure, 1, 3.0, arm=arm, target_name=name)


def result_of(*records: EpisodeRecord) -> EvaluationResult:
    return EvaluationResult({"policy": records}, seed=5)


@pytest.fixture
def stage(spec: ArenaSpec, bundle_dir: Path, monkeypatch: pytest.MonkeyPatch) -> ArenaSpec:
    monkeypatch.setattr(arena_module, "MAX_EPISODE_S", 0.8)
    return dataclasses.replace(spec, bundle=bundle_dir)


def show(
    spec: ArenaSpec, out: Path, result: EvaluationResult, quiet: Progress, num_videos: int = 1, **config: Any
) -> str:
    """The text that a person sees on the terminal."""
    text = io.StringIO()
    plan = EvaluationPlan(len(result.main), ("policy",), 1, out, config=config)
    present(spec, plan, result, num_videos, Console(file=text, width=100), quiet, Extras(lead="A test."))
    return text.getvalue()


def test_failures_are_filmed_first_and_both_kinds_are_shown(stage: ArenaSpec, tmp_path: Path, quiet: Progress):
    result = result_of(record_of(0, True), record_of(1, False), record_of(2, True), record_of(3, False))
    text = show(stage, tmp_path, result, quiet, num_videos=2)
    names = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert names == ["0000-block-grasped.mp4", "0001-block-missed.mp4"]
    assert "report.html" in text
    report = (tmp_path / "report.html").read_text()
    assert all(f"videos/{name}" in report for name in names)
    assert "A test." in report


def test_what_is_shown_is_the_episode_that_was_counted(
    stage: ArenaSpec, tmp_path: Path, quiet: Progress, monkeypatch: pytest.MonkeyPatch
):
    jobs: list[Job] = []
    run = Arena.run

    def remember(self: Arena, job: Job, *rest: Any) -> Any:
        jobs.append(job)
        return run(self, job, *rest)

    monkeypatch.setattr(Arena, "run", remember)
    # What was lifted may be a neighbour: the scene is drawn around the target.
    record = dataclasses.replace(record_of(2, True, "bar"), target_name="can")
    show(stage, tmp_path, result_of(record), quiet)
    assert jobs == [Job("policy", 2, "can")]


def test_the_report_has_the_command_to_run_it_again(stage: ArenaSpec, tmp_path: Path, quiet: Progress):
    show(stage, tmp_path, result_of(record_of(0, True)), quiet, 0, objects="random_test", episodes="1", camera="None")
    report = (tmp_path / "report.html").read_text()
    assert "simtoreal evaluate objects=random_test episodes=1" in report
    assert "camera=None" not in report
    assert not (tmp_path / "videos").exists(), "no films were asked for"


def test_names_of_objects_become_safe_names_of_files(
    stage: ArenaSpec, tmp_path: Path, quiet: Progress, monkeypatch: pytest.MonkeyPatch
):
    scene = Arena.scene
    monkeypatch.setattr(
        Arena, "scene", lambda self, job, redraw: scene(self, job._replace(object_name="block"), redraw)
    )
    show(stage, tmp_path, result_of(record_of(0, False, "../a b/ü<mug>.obj")), quiet)
    (path,) = (tmp_path / "videos").iterdir()
    assert path.name == "0000-___a_b_ü_mug__obj-missed.mp4"
    assert "<mug>" not in (tmp_path / "report.html").read_text()


def test_without_a_learned_policy_there_is_a_report_without_pictures(spec: ArenaSpec, tmp_path: Path, quiet: Progress):
    text = io.StringIO()
    oracle = EvaluationResult({"oracle": [record_of(0, True, arm="oracle")]}, seed=5, main_arm="oracle")
    plan = EvaluationPlan(1, ("oracle",), 1, tmp_path)
    path = present(spec, plan, oracle, 4, Console(file=text, width=100), quiet)
    assert path.is_file()
    assert not (tmp_path / "videos").exists()


def test_curves_of_the_measured_error_are_in_units_that_people_read():
    error = PerceptionError((0.2, 0.4), (0.003, 0.006), (0.001, 0.002), (0.1, 0.2), (0.05, 0.10))
    position, yaw, wrong = curves_of_error(error)
    assert list(position.curves[0].y) == pytest.approx([3.0, 6.0])
    assert list(yaw.curves[0].y) == pytest.approx(np.degrees([0.1, 0.2]))
    assert list(wrong.curves[0].y) == pytest.approx([5.0, 10.0])
