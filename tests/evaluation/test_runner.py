"""The runner: the same records for any number of workers, nothing lost in a kill, and one bad object stops nobody."""

import csv
import dataclasses
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from simtoreal.bundle import Bundle, load_bundle, save_bundle
from simtoreal.config import Arm, EvaluateConfig, Head
from simtoreal.envs.cell import InvalidScene
from simtoreal.evaluation import jobs, runner
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job
from simtoreal.evaluation.journal import JOURNAL_NAME
from simtoreal.evaluation.output_files import RunFolderError
from simtoreal.evaluation.results import EvaluationResult
from simtoreal.evaluation.runner import EvaluationPlan, evaluate, plan_jobs, run_evaluation, spec_from
from simtoreal.progress import Progress

BOTH = ("oracle", "random")


def plan_in(out: Path, **changes: Any) -> EvaluationPlan:
    return dataclasses.replace(EvaluationPlan(6, BOTH, 2, out), **changes)


@pytest.fixture(scope="module")
def finished(
    spec: ArenaSpec, quiet: Progress, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, EvaluationResult]:
    """Oracle and chance on six scenes, by two workers."""
    out = tmp_path_factory.mktemp("finished")
    return out, run_evaluation(spec, plan_in(out), quiet)


def test_oracle_and_chance_meet_the_same_scenes_and_differ(finished: tuple[Path, EvaluationResult]):
    records = finished[1].records
    assert [record.episode for record in records["oracle"]] == list(range(6))
    pairs = list(zip(records["oracle"], records["random"], strict=True))
    # A random hand may press an object through the table, whose scene is then drawn again for that arm alone.
    same = [(a, b) for a, b in pairs if not a.invalid_redraws and not b.invalid_redraws]
    assert len(same) >= 3
    assert all(a.scene_seed == b.scene_seed for a, b in same)
    assert sum(record.success for record in records["oracle"]) >= 5
    assert sum(record.success for record in records["random"]) <= 1
    assert all(b.oracle_success == a.success for a, b in same)


def test_every_object_has_its_turn(finished: tuple[Path, EvaluationResult]):
    names = [record.target_name for record in finished[1].records["oracle"]]
    assert sorted(names[:3]) == sorted(names[3:]) == ["bar", "block", "can"]


def test_one_worker_finds_what_two_found(
    spec: ArenaSpec, quiet: Progress, tmp_path: Path, finished: tuple[Path, EvaluationResult]
):
    alone = run_evaluation(spec, plan_in(tmp_path, workers=1), quiet)
    assert alone.records == finished[1].records


def test_a_run_cut_off_in_the_middle_of_a_line_goes_on(
    spec: ArenaSpec, quiet: Progress, tmp_path: Path, finished: tuple[Path, EvaluationResult]
):
    lines = (finished[0] / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(b"".join(lines[:8]) + lines[8][: len(lines[8]) // 2])
    resumed = run_evaluation(spec, plan_in(tmp_path, resume=True, workers=1), quiet)
    assert resumed.records == finished[1].records
    assert path.read_bytes().splitlines(keepends=True)[:8] == lines[:8], "what was finished is not run again"


def test_a_finished_run_is_only_read(
    spec: ArenaSpec, quiet: Progress, finished: tuple[Path, EvaluationResult], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs, "open_arena", lambda _: pytest.fail("nothing is left to run"))
    assert run_evaluation(spec, plan_in(finished[0], resume=True), quiet).records == finished[1].records


def test_another_seed_does_not_go_on_with_this_run(
    spec: ArenaSpec, quiet: Progress, finished: tuple[Path, EvaluationResult], tmp_path: Path
):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    with pytest.raises(RunFolderError, match="seed was '5', now '6'"):
        run_evaluation(dataclasses.replace(spec, seed=6), plan_in(folder, resume=True), quiet)


def test_the_order_of_objects_comes_from_the_seed():
    orders = [tuple(runner._ordered("abcdef", seed)) for seed in (0, 1, 2, 0)]
    assert len(set(orders)) == 3
    assert orders[0] == orders[3]
    assert all(sorted(order) == list("abcdef") for order in orders)


def test_jobs_are_every_arm_of_every_episode():
    planned = list(plan_jobs(("a", "b"), 0, plan_in(Path("x"), episodes=3)))
    assert planned == [Job(arm, i, name) for i, name in enumerate("aba") for arm in BOTH]


def test_a_broken_object_is_reported_and_the_others_are_tried(
    spec: ArenaSpec, quiet: Progress, tmp_path: Path, objects_dir: Path
):
    folder = shutil.copytree(objects_dir, tmp_path / "objects")
    (folder / "torn.stl").write_bytes((folder / "block.stl").read_bytes()[:90])
    (folder / "notes.txt").write_text("not an object")
    result = run_evaluation(
        dataclasses.replace(spec, objects=str(folder)),
        plan_in(tmp_path / "out", episodes=4, arms=("oracle",), workers=1),
        quiet,
    )
    assert len(result.main) == 4
    assert "torn" not in {record.target_name for record in result.main}
    (problem,) = result.problems
    assert "torn.stl" in problem["path"] + problem["reason"]
    info = json.loads(json.dumps(result.to_eval_info()))
    assert info["problems"] == [dict(problem)]


def test_a_folder_without_any_usable_object_says_why(spec: ArenaSpec, quiet: Progress, tmp_path: Path):
    folder = tmp_path / "objects"
    folder.mkdir()
    (folder / "torn.stl").write_bytes(b"solid nothing")
    with pytest.raises(ValueError, match=r"(?s)torn"):
        run_evaluation(dataclasses.replace(spec, objects=str(folder)), plan_in(tmp_path / "out"), quiet)


def test_a_scene_that_the_physics_always_loses_does_not_stop_the_evaluation(
    spec: ArenaSpec, quiet: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    arena = Arena(spec)
    run = arena.run

    def lose_one(job: Job) -> Any:
        if job.episode == 1:
            raise InvalidScene("episode 1, object can: 10 invalid scenes in a row")
        return run(job)

    monkeypatch.setattr(arena, "run", lose_one)
    monkeypatch.setitem(jobs._shared, "arena", arena)
    # In this process: a patch would not reach a worker.
    monkeypatch.setattr(runner, "run_jobs", lambda _, missing, __: map(jobs.run_job, missing))
    result = run_evaluation(spec, plan_in(tmp_path, episodes=3, arms=("oracle",)), quiet)
    arena.close()
    assert [record.episode for record in result.main] == [0, 2]
    assert result.problems[0]["reason"] == "arm oracle: episode 1, object can: 10 invalid scenes in a row"


@pytest.mark.parametrize("modality", ["rgbd", "depth"])
def test_the_command_writes_what_people_and_programs_read(
    modality: str, request: pytest.FixtureRequest, objects_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from simtoreal.evaluation import arena as arena_module

    monkeypatch.setattr(arena_module, "MAX_EPISODE_S", 2.0)  # of what is filmed; workers take their time
    bundle: Path = request.getfixturevalue("bundle_dir" if modality == "rgbd" else "depth_bundle_dir")
    config = EvaluateConfig(
        bundle=str(bundle), objects=str(objects_dir), episodes=2, arms=(Arm.POLICY, Arm.ORACLE), workers=1,
        randomization="none", seed=3, videos=1, out=tmp_path,
    )  # fmt: skip
    evaluate(config)
    info = json.loads((tmp_path / "eval_info.json").read_text())
    assert info["overall"]["n_episodes"] == 2
    assert info["oracle"]["overall"]["n_episodes"] == 2
    assert info["oracle"]["n_paired"] == 2
    assert info["timing"]["policy_step_p50_ms"] > 0
    assert info["config"]["objects"] == str(objects_dir)
    with (tmp_path / "episodes.csv").open() as file:
        assert [row["arm"] for row in csv.DictReader(file)] == ["policy"] * 2 + ["oracle"] * 2
    report = (tmp_path / "report.html").read_text()
    assert "data:image" in report
    (video,) = (tmp_path / "videos").iterdir()
    with av.open(str(video)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) > 30
    assert np.std(pictures[10]) > 5


def spoiled(bundle_dir: Path, folder: Path, **changes: Any) -> str:
    bundle: Bundle = dataclasses.replace(load_bundle(bundle_dir), **changes)
    save_bundle(bundle, folder)
    return str(folder)


def test_what_the_command_asks_for_is_what_the_arena_gets(bundle_dir: Path):
    config = EvaluateConfig(bundle=str(bundle_dir), image_width_px=64, image_height_px=48, seed=9, num_objects=2)
    spec = spec_from(config)
    assert spec.camera is not None
    model, trained = spec.camera.model, load_bundle(bundle_dir).camera.model
    assert (model.width_px, model.height_px) == (64, 48)
    # The field of view is kept: twice the pixels, twice the focal length.
    assert model.fx == pytest.approx(2 * trained.fx)
    assert model.cx == pytest.approx(31.5)
    assert (spec.seed, spec.num_objects, spec.device) == (9, 2, "cpu")
    intrinsics = EvaluateConfig(
        bundle=str(bundle_dir), fx=50.0, fy=51.0, cx=15.0, cy=16.0, distortion=(0.1, 0, 0, 0, 0)
    )
    setup = spec_from(intrinsics).camera
    assert setup is not None
    assert (setup.model.fx, setup.model.cy, setup.model.distortion[0]) == (50.0, 16.0, 0.1)


def test_asking_for_a_head_that_is_not_there_says_what_to_do(bundle_dir: Path):
    with pytest.raises(ValueError, match="holds no learned head; use head=servo"):
        spec_from(EvaluateConfig(bundle=str(bundle_dir), head=Head.LEARNED))


def test_a_changed_bundle_is_another_run(spec: ArenaSpec, bundle_dir: Path, tmp_path: Path):
    other = Path(
        spoiled(bundle_dir, tmp_path / "b", scale=dataclasses.replace(load_bundle(bundle_dir).scale, max_yaw_rad=0.1))
    )
    prints = [
        runner._fingerprint(dataclasses.replace(spec, bundle=folder), plan_in(tmp_path))
        for folder in (bundle_dir, other)
    ]
    copied = shutil.copytree(bundle_dir, tmp_path / "copy")
    assert prints[0]["bundle"] != prints[1]["bundle"]
    same = runner._fingerprint(dataclasses.replace(spec, bundle=copied), plan_in(tmp_path))
    assert same == prints[0], "where a bundle lies does not matter"


def test_a_changed_robot_of_your_own_is_another_run(spec: ArenaSpec, tmp_path: Path):
    text = resources.files("simtoreal.configs").joinpath("robot", "panda.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)
    mine = dataclasses.replace(spec, robot=str(tmp_path / "mine.yaml"))
    before = runner._fingerprint(mine, plan_in(tmp_path))
    assert before == runner._fingerprint(mine, plan_in(tmp_path))
    (tmp_path / "mine.yaml").write_text(text + "# another camera mount\n")
    assert runner._fingerprint(mine, plan_in(tmp_path)) != before
    assert runner._fingerprint(spec, plan_in(tmp_path))["robot"] == spec.robot
