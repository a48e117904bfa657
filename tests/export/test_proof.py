"""A proof names what it demands, and fails by name."""

from pathlib import Path
from typing import Any

import pytest
from export_samples import write_exported

from simtoreal.evaluation.statistics import Difference
from simtoreal.export.parity import Parity, Shift
from simtoreal.export.proof import Figure, Proof, judge
from simtoreal.export.settings import ExportConfig, Precision
from simtoreal.export.success import Success

TRIAL: dict[str, Any] = {
    "num_looks": 300,
    "wall_s": {"p50": 0.001, "p99": 0.004},
    "processor_s": {"p50": 0.001, "p99": 0.002},
    "peak_memory_mb": 110.0,
    "foreign": [],
}


NEAR = Shift(0.001, 0.01, 0.01, 0.0, 1e-5)


def success(lost: float) -> Success:
    arm = {"n_episodes": 100, "n_success": 95, "pc_success": 95.0, "pc_success_ci95": [89.0, 98.0]}
    return Success(arm, arm, Difference(-lost, -lost - 0.03, -lost + 0.03, 0.5))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proof")
    write_exported(folder)
    return folder / "export"


def failed(out: Path, shift: Shift = NEAR, lost: float = 0.0, **changes: Any) -> list[str]:
    trial = {**TRIAL, **{name: changes.pop(name) for name in list(changes) if name in TRIAL}}
    config = ExportConfig(out=out, **changes)
    parity = Parity([shift] * 40)
    figures = judge(config, parity, success(lost), trial, control_hz=20.0)
    return [figure.name for figure in Proof(figures, parity, success(lost), trial, "noise").failed]


def test_what_is_within_its_limits_holds(out: Path) -> None:
    assert failed(out) == []


@pytest.mark.parametrize(
    ("shift", "name"),
    [
        (Shift(0.006, 0.0, 0.0, 0.0, 0.0), "grasp position"),
        (Shift(0.0, 0.06, 0.0, 0.0, 0.0), "grasp angle"),
        (Shift(0.0, 0.0, 0.06, 0.0, 0.0), "grasp quality"),
        (Shift(0.0, 0.0, 0.0, 0.06, 0.0), "worse choice"),
    ],
)
def test_a_grasp_that_moved_too_far_fails_by_name(out: Path, shift: Shift, name: str) -> None:
    assert failed(out, shift) == [name]


def test_single_precision_may_only_round(out: Path) -> None:
    rounded, other = Shift(0.0, 0.0, 0.0, 0.0, 5e-5), Shift(0.0, 0.0, 0.0, 0.0, 5e-4)
    assert failed(out, rounded, precision=Precision.FP32) == []
    assert failed(out, other, precision=Precision.FP32) == ["map difference"]
    assert failed(out, other, precision=Precision.INT8) == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"lost": 0.06}, "success lost"),
        ({"processor_s": {"p50": 0.001, "p99": 0.006}}, "image to action"),
        ({"max_step_s": 0.001}, "image to action"),
        ({"max_size_mb": 0.001}, "size"),
        ({"max_memory_mb": 100.0}, "memory"),
        ({"foreign": ["torch"]}, "foreign packages"),
    ],
)
def test_costs_over_their_limit_fail_by_name(out: Path, changes: dict[str, Any], name: str) -> None:
    assert failed(out, **changes) == [name]


def test_a_policy_that_got_better_has_lost_nothing(out: Path) -> None:
    assert failed(out, lost=-0.2) == []


def test_a_figure_without_limit_holds() -> None:
    assert Figure("size", 1e9, None, "MB").holds
