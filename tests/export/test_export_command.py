"""The whole command: a folder for the robot, evaluated like any bundle, and a proof that can fail."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from export_samples import random_bundle

from simtoreal.bundle import save_bundle
from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation.arena import Arena, ArenaSpec, Job
from simtoreal.export.command import EXIT_FAILED, export
from simtoreal.export.settings import ExportConfig, Precision
from simtoreal.schema import ConfigError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    save_bundle(random_bundle(), tmp_path / "source")
    return tmp_path / "source"


def settings(source: Path, objects_dir: Path, precision: Precision, n: int) -> ExportConfig:
    out = source.parent / "export"
    out.mkdir(exist_ok=True)
    return ExportConfig(
        bundle=str(source), out=out, precision=precision, frames=8, simulated_objects=(str(objects_dir),), n=n,
        objects=str(objects_dir), randomization="mild", workers=1, max_step_s=1.0,
    )  # fmt: skip


@pytest.mark.slow
def test_an_export_is_proven_and_acts_in_the_arena_as_its_source(
    source: Path, objects_dir: Path, cache_dir: Path
) -> None:
    config = settings(source, objects_dir, Precision.FP32, n=2)
    assert export(config) == 0
    proof = json.loads((config.out / "proof.json").read_text())
    assert proof["holds"]
    assert proof["success"]["source"]["n_episodes"] == 2
    assert proof["success"]["difference"]["mean"] == 0.0, "the same numbers act the same"
    assert (config.out / "proof" / "report.html").stat().st_size > 10_000
    records = []
    for folder in (source, config.out):
        spec = ArenaSpec(
            folder, str(objects_dir), load_randomization("mild").to_plain(), "panda", seed=3, cache_dir=cache_dir
        )
        arena = Arena(spec)
        records.append(arena.run(Job("policy", 0, "block")).record)
        arena.close()
    assert records[0] == records[1]


@pytest.mark.slow
def test_a_proof_that_fails_says_so(source: Path, objects_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A network of noise is not what eight bits keep; and no network is this small.
    config = replace(settings(source, objects_dir, Precision.INT8, n=0), max_size_mb=0.001)
    assert export(config) == EXIT_FAILED
    proof = json.loads((config.out / "proof.json").read_text())
    assert not proof["holds"]
    assert "size" in proof["failed"]
    assert "the proof failed: size is" in capsys.readouterr().err


def test_what_was_exported_already_is_not_exported_again(source: Path, objects_dir: Path) -> None:
    (source / "contract.json").write_text("{}")
    with pytest.raises(ConfigError, match="exported already"):
        export(settings(source, objects_dir, Precision.FP32, n=0))


def test_a_bundle_is_not_overwritten(source: Path, objects_dir: Path) -> None:
    config = settings(source, objects_dir, Precision.FP32, n=0)
    save_bundle(random_bundle(), config.out)
    with pytest.raises(ConfigError, match="would stop being one"):
        export(config)
