"""What holds for every test: one thread, the same examples in every run, no test on hardware that is not there.

Whatever is built while testing goes to a folder of this session, so that the cache of whoever runs the tests is neither
used nor filled.
"""

import os
import shutil
import tempfile
from pathlib import Path

# Before numpy and torch are imported: threads of theirs beside simulator processes slow both down.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("simtoreal", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("simtoreal")

CACHE = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Points the cache, also that of worker processes, to a folder that all tests of the session share."""
    config.stash[CACHE] = Path(tempfile.mkdtemp(prefix="simtoreal-tests-"))
    os.environ["SIMTOREAL_CACHE"] = str(config.stash[CACHE])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes what was built."""
    shutil.rmtree(config.stash[CACHE], ignore_errors=True)


@pytest.fixture(scope="session")
def cache_dir(pytestconfig: pytest.Config) -> Path:
    """The folder that built objects, resting poses, grasps and frames of this session are kept in."""
    return pytestconfig.stash[CACHE]


@pytest.fixture(scope="session")
def objects_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three simple objects that any parallel gripper can hold: `bar`, `block` and `can`."""
    import trimesh

    folder = tmp_path_factory.mktemp("objects")
    trimesh.creation.box((0.12, 0.025, 0.02)).export(folder / "bar.obj")
    trimesh.creation.box((0.05, 0.03, 0.04)).export(folder / "block.stl")
    trimesh.creation.cylinder(0.02, 0.07).export(folder / "can.ply")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this machine cannot run, with the reason."""
    skipped = {}
    if any(item.get_closest_marker("gpu") for item in items) and not _has_gpu():
        skipped["gpu"] = pytest.mark.skip(reason="torch sees no CUDA device")
    if "SIMTOREAL_ROBOT" not in os.environ:
        skipped["robot"] = pytest.mark.skip(reason="SIMTOREAL_ROBOT is not set")
    for item in items:
        for name, mark in skipped.items():
            if item.get_closest_marker(name):  # the mark itself: a parameter may have the same name
                item.add_marker(mark)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
