import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from simtoreal.identified import Identified, IdentifiedError, Posterior, load_identified

FOUND = Identified(
    "panda", 20.0, 4,
    {"observation_latency_s": Posterior(0.1, 0.001, 0.098, 0.102, 0.0, 4),
     "action_latency_s": Posterior(0.06, 0.002, 0.055, 0.065, 0.01, 4)},
    {"friction": "not seen"}, {"base": "default", "timing": {"action_latency_s": "=U(0.05, 0.07)"}},
)  # fmt: skip

LATE = {"mean": 9.0, "sd": 0.1, "low": 8.0, "high": 10.0, "spread": 0.0, "num_episodes": 2}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "identified.yaml"
    path.write_text(yaml.safe_dump({**FOUND.to_plain(), **changes}))
    return path


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    found = load_identified(write(tmp_path))
    assert found == FOUND
    assert found.round_trip_s == pytest.approx(0.16)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "no file of `simtoreal identify`"),
        ({"version": 99}, "version 99"),
        ({"posterior": {"action_latency_s": {"mean": float("nan")}}}, "run `simtoreal identify` again"),
        ({"posterior": 3}, "run `simtoreal identify` again"),
        ({"control_hz": 0}, "control_hz"),
        ({"posterior": {"action_latency_s": LATE}}, "0 to 2"),
        ({"randomization": "default"}, "mapping"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(IdentifiedError, match=said) as raised:
        load_identified(write(tmp_path, **changes))
    assert "identified.yaml" in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentifiedError, match=r"none\.yaml.*`simtoreal identify` writes one"):
        load_identified(tmp_path / "none.yaml")


def test_it_is_read_without_heavy_packages() -> None:
    script = (
        "import sys, simtoreal.identified\n"
        "assert not {'torch', 'scipy', 'pybullet', 'cv2', 'stable_baselines3'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
