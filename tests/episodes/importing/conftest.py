"""Recordings that several tests read, made once."""

from pathlib import Path

import pytest
from ros_logs import MAPPING, arm_log, write_mcap


@pytest.fixture(scope="session")
def mapping_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The mapping of the topics of `arm_log`."""
    path = tmp_path_factory.mktemp("mapping") / "topics.yaml"
    path.write_text(MAPPING, encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def arm_mcap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of an arm as MCAP."""
    return write_mcap(tmp_path_factory.mktemp("mcap") / "arm.mcap", arm_log())
