"""Closed loop: both policies are compared on the scenes that both finished, and the right way round."""

from pathlib import Path
from typing import Any

import pytest

from simtoreal.config import World
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.progress import Progress
from simtoreal.transfer import online
from simtoreal.transfer.online import measure_online
from simtoreal.transfer.settings import FinetuneConfig

BUNDLES = {"source": Path("source"), "fine_tuned": Path("candidate")}


def record(episode: int, success: bool) -> EpisodeRecord:
    return EpisodeRecord(
        episode, f"0-{episode}-0", f"object {episode % 7}", "random", "small", success, "" if success else "missed",
        1, 3.0, target_name=f"object {episode % 7}",
    )  # fmt: skip


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], list[bool]]:
    """What each arm manages in each world; None is a scene that was lost."""
    found: dict[tuple[str, str], list[bool]] = {}

    def run(config: FinetuneConfig, world: World, arm: tuple[str, Path], progress: Progress) -> list[EpisodeRecord]:
        managed: list[Any] = found[world.value, arm[0]]
        return [record(i, success) for i, success in enumerate(managed) if success is not None]

    monkeypatch.setattr(online, "run_arm", run)
    monkeypatch.setattr(online, "check_world", lambda *arguments, **more: None)
    return found


def test_without_a_world_there_is_nothing(quiet: Progress):
    assert measure_online(FinetuneConfig(), BUNDLES, quiet) is None


def test_a_gain_there_and_nothing_lost_at_home(outcomes: dict[tuple[str, str], list[bool]], quiet: Progress):
    outcomes["mujoco", "source"], outcomes["mujoco", "fine_tuned"] = [False] * 30 + [True] * 10, [True] * 40
    outcomes["pybullet", "source"] = outcomes["pybullet", "fine_tuned"] = [True] * 40
    found = measure_online(FinetuneConfig(world=World.MUJOCO), BUNDLES, quiet)
    assert found is not None
    assert found["gain"]["mean"] == pytest.approx(0.75)
    assert found["gain"]["low"] > 0
    assert found["arms"]["fine_tuned"]["pc_success"] == 100.0
    assert found["source_simulator"]["gain"]["mean"] == 0.0
    assert found["source_simulator"]["gain"]["low"] < 0, "forty equal outcomes are not certainty"


def test_only_scenes_that_both_finished_count(outcomes: dict[tuple[str, str], list[Any]], quiet: Progress):
    outcomes["pybullet", "source"], outcomes["pybullet", "fine_tuned"] = [True, None, True], [True, False, None]
    found = measure_online(FinetuneConfig(world=World.PYBULLET), BUNDLES, quiet)
    assert found is not None
    assert found["arms"]["source"]["n_episodes"] == found["arms"]["fine_tuned"]["n_episodes"] == 1
    assert found["source_simulator"] is None


def test_no_scene_in_common_is_an_error(outcomes: dict[tuple[str, str], list[Any]], quiet: Progress):
    outcomes["pybullet", "source"], outcomes["pybullet", "fine_tuned"] = [True, None], [None, False]
    with pytest.raises(ValueError, match="no scene was finished by both"):
        measure_online(FinetuneConfig(world=World.PYBULLET), BUNDLES, quiet)


def test_from_scratch_meets_the_same_scenes_and_stays_out_of_the_source_simulator(
    outcomes: dict[tuple[str, str], list[Any]], quiet: Progress
):
    outcomes["mujoco", "source"], outcomes["mujoco", "fine_tuned"] = [True, False] * 20, [True] * 40
    outcomes["mujoco", "scratch"] = [None, *[False] * 39]
    outcomes["pybullet", "source"] = outcomes["pybullet", "fine_tuned"] = [True] * 40
    found = measure_online(FinetuneConfig(world=World.MUJOCO), {**BUNDLES, "scratch": Path("scratch")}, quiet)
    assert found is not None
    assert {arm: row["n_episodes"] for arm, row in found["arms"].items()} == dict.fromkeys(
        ("source", "fine_tuned", "scratch"), 39
    )
    assert found["gain_over_scratch"]["mean"] == 1.0
    assert set(found["source_simulator"]["arms"]) == {"source", "fine_tuned"}
    assert found["source_simulator"]["gain_over_scratch"] is None
