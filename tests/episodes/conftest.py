from pathlib import Path

import pytest
from episode_samples import write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three episodes of five, seven and six frames."""
    return write_dataset(tmp_path / "dataset")
