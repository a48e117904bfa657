"""What the robot's computer has is a closed list, and what it lacks is named with what brings it."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from simtoreal import cli
from simtoreal.config import EvaluateConfig

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "gymnasium", "numba", "scipy", "pybullet", "mujoco", "pyarrow", "av", "trimesh", "psutil", "jinja2")


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def listed() -> set[str]:
    lines = (ROOT / "robot-requirements.txt").read_text(encoding="utf-8").splitlines()
    return {name_of(line) for line in lines if line and not line.startswith("#")}


def test_the_list_is_complete_in_itself() -> None:
    """It is installed with `--no-deps`, so what its packages need has to be in it too."""
    for name in sorted(listed()):
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of the network, which other tests may do without
            continue
        markers = {text: Requirement(text).marker for text in needs}
        needed = {name_of(text) for text, marker in markers.items() if not marker or marker.evaluate({"extra": ""})}
        assert needed <= listed(), f"{name} needs {needed - listed()}"


def test_nothing_of_the_list_is_forbidden_there() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = (entry for entry in contracts if "robot's computer" in entry["name"])
    assert {"torch", "pybullet", "stable_baselines3", "gymnasium", "numba", "scipy"} <= set(
        contract["forbidden_modules"]
    )
    assert not {name.replace("-", "_") for name in listed()} & set(contract["forbidden_modules"])


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"], ["evaluate", "--help"]])
def test_the_command_line_explains_itself_there(arguments: list[str]) -> None:
    done = without_heavy_packages(f"from simtoreal import cli; sys.exit(cli.main({arguments!r}))")
    assert (done.returncode, done.stderr) == (0, "")
    assert "simtoreal" in done.stdout


def test_a_verb_that_cannot_run_there_says_what_to_install(tmp_path: Path) -> None:
    done = without_heavy_packages(f"from simtoreal import cli; sys.exit(cli.main(['evaluate', 'out={tmp_path}']))")
    assert done.returncode == 2
    assert "which is not installed here: pip install 'simtoreal'." in done.stderr
    assert "Traceback" not in done.stderr


def without_heavy_packages(code: str) -> subprocess.CompletedProcess[str]:
    hide = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))"  # an import of what is None fails
    return subprocess.run(
        [sys.executable, "-c", f"{hide}\n{code}"], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_a_module_of_an_extra_is_named_with_that_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def carry_out(config: EvaluateConfig) -> None:
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr("importlib.metadata.requires", lambda name: ["numpy>=1.26", 'onnx>=1.17; extra == "export"'])
    monkeypatch.setattr("simtoreal.evaluation.runner.evaluate", carry_out)
    assert cli.main(["evaluate", f"out={tmp_path}"]) == 2
    assert "pip install 'simtoreal[export]'" in capsys.readouterr().err
