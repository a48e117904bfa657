"""What the tests of the cell share: three simple objects, how they rest, and where to grasp them."""

from pathlib import Path

import pytest

from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.object_sets import ObjectSet, load_object_set
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import RobotSpec, load_robot
from simtoreal.envs.scene import SceneSampler


@pytest.fixture(scope="session")
def toys(objects_dir: Path, cache_dir: Path) -> ObjectSet:
    return load_object_set(str(objects_dir), cache_dir)


@pytest.fixture(scope="session")
def resting(cache_dir: Path) -> RestingPoses:
    return RestingPoses(cache_dir)


@pytest.fixture(scope="session")
def panda() -> RobotSpec:
    return load_robot("panda")


@pytest.fixture(scope="session")
def library(panda: RobotSpec, resting: RestingPoses, cache_dir: Path) -> GraspLibrary:
    return GraspLibrary(panda.gripper.geometry, resting, cache_dir)


@pytest.fixture(scope="session")
def plain(toys: ObjectSet, resting: RestingPoses) -> SceneSampler:
    """Scenes in which nothing but the placement is drawn."""
    return SceneSampler(toys, resting, load_randomization("none"))


@pytest.fixture(scope="session")
def harsh(toys: ObjectSet, resting: RestingPoses) -> SceneSampler:
    return SceneSampler(toys, resting, load_randomization("harsh"))
