"""`simtoreal finetune` from a folder of episodes to bundle, ledger and page: a small net, and no simulator."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from bar_episodes import write

from simtoreal import cli
from simtoreal.bundle import load_bundle
from simtoreal.episodes.errors import DatasetError
from simtoreal.policies.load import load_encoder
from simtoreal.schema import ConfigError
from simtoreal.transfer import pipeline
from simtoreal.transfer.pipeline import EXIT_HARMED, finetune
from simtoreal.transfer.settings import FinetuneConfig
from simtoreal.transfer.trials import arms

STRATEGY = {
    "name": "quick", "about": "for a test", "steps": 24, "batch_size": 8, "learning_rate": 0.008, "unknown_weight": 0.3,
    "depths": {"heads": 1.0, "body": 1.0, "num_stages": 100},
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recorded") / "dataset", (True,) * 6 + (False,))


def settings(source_folder: Path, recorded: Path, out: Path) -> FinetuneConfig:
    out.parent.mkdir(exist_ok=True)
    path = out.parent / "quick.yaml"
    path.write_text(yaml.safe_dump(STRATEGY))
    return FinetuneConfig(
        bundle=str(source_folder), episodes=recorded, strategy="auto", candidates=("zero_shot", str(path)), out=out,
        simulated_frames=0, max_frames=4, workers=1,
    )  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def short_scratch() -> Iterator[None]:
    """Training from nothing takes 400 steps otherwise."""
    real = arms.load_strategy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "load_strategy", lambda name: replace(real(name), steps=4))
        yield


@pytest.fixture(scope="module")
def finished(source_folder: Path, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a fine-tuning that helped."""
    config = settings(source_folder, recorded, tmp_path_factory.mktemp("finished") / "out")
    assert finetune(config) == 0
    return config.out


@pytest.fixture
def config(source_folder: Path, recorded: Path, tmp_path: Path, finished: Path) -> FinetuneConfig:
    """The same settings in a folder of their own, with the trainings done already."""
    shutil.copytree(finished / "trainings", tmp_path / "out" / "trainings")
    return settings(source_folder, recorded, tmp_path / "out")


def test_an_improvement_ships_and_the_ledger_says_why(finished: Path, source_folder: Path):
    ledger = json.loads((finished / "ledger.json").read_text())
    assert ledger["verdict"] == "improved"
    assert ledger["shipped"] == "fine_tuned"
    assert ledger["arms"]["fine_tuned"]["miss"]["mean"] < ledger["arms"]["source"]["miss"]["mean"]
    assert ledger["arms"]["fine_tuned"]["n_episodes"] == 6
    assert ledger["paired"]["source - fine_tuned"]["miss"]["low"] > 0
    assert len(ledger["per_fold"]) == 3
    assert [row["strategy"] for row in ledger["auto"]["tried"]] == ["zero_shot", "quick"]
    assert ledger["cost"]["num_trainable"] == ledger["cost"]["num_parameters"]
    assert ledger["forgetting"] is None
    assert ledger["saved"]["points"]["fine_tuned"]["sizes"] == [0, 1, 2, 5]
    assert ledger["saved"]["data"]["low"] <= ledger["saved"]["data"]["value"]
    assert len(ledger["grounding"]["source"]["responses"]) == 6
    assert {row["kind"] for row in ledger["slices"]} >= {"kind of object", "colour"}
    shipped, source = load_bundle(finished / "bundle"), load_bundle(source_folder)
    assert not np.array_equal(shipped.encoder_weights["readout.weight"], source.encoder_weights["readout.weight"])
    assert shipped.provenance["finetuning"]["verdict"] == "improved"
    load_encoder(shipped)
    page = (finished / "report.html").read_text()
    assert "Fine-tuning: improved" in page
    assert page.count("label yellow") == 2 * 6, "each in the text of the picture and below it"
    assert "real episodes saved by starting from the source" in page


def test_a_second_run_trains_nothing_and_says_the_same(
    config: FinetuneConfig, finished: Path, capsys: pytest.CaptureFixture[str]
):
    files = {path: path.stat().st_mtime_ns for path in (config.out / "trainings").iterdir()}
    finetune(config)
    assert {path: path.stat().st_mtime_ns for path in (config.out / "trainings").iterdir()} == files
    first, again = (json.loads((folder / "ledger.json").read_text()) for folder in (finished, config.out))
    assert first["cost"].pop("wall_s") > again["cost"].pop("wall_s")
    assert again == first
    assert "verdict: improved" in capsys.readouterr().out


def test_no_evidence_keeps_the_source(config: FinetuneConfig, source_folder: Path):
    assert finetune(replace(config, strategy="zero_shot")) == 0
    ledger = json.loads((config.out / "ledger.json").read_text())
    assert (ledger["verdict"], ledger["shipped"]) == ("no evidence", "source")
    kept, source = load_bundle(config.out / "bundle"), load_bundle(source_folder)
    assert all(
        np.array_equal(kept.encoder_weights[name], source.encoder_weights[name]) for name in kept.encoder_weights
    )


@pytest.fixture
def harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns every gain round: as if fine-tuning had done harm."""
    real = pipeline.run_arms

    def swapped(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        source, tuned = found.held_out["source"], found.held_out["fine_tuned"]
        return found._replace(held_out={**found.held_out, "source": tuned, "fine_tuned": source})

    monkeypatch.setattr(pipeline, "run_arms", swapped)


@pytest.mark.usefixtures("harmful")
def test_harm_is_not_shipped_and_the_exit_status_says_so(config: FinetuneConfig, source_folder: Path):
    assert finetune(config) == EXIT_HARMED
    kept, source = load_bundle(config.out / "bundle"), load_bundle(source_folder)
    assert np.array_equal(kept.encoder_weights["readout.weight"], source.encoder_weights["readout.weight"])
    assert kept.provenance["finetuning"]["verdict"] == "harmed"


@pytest.mark.usefixtures("harmful")
def test_force_ships_harm_and_is_recorded(config: FinetuneConfig, source_folder: Path):
    assert finetune(replace(config, force=True)) == 0
    shipped, source = load_bundle(config.out / "bundle"), load_bundle(source_folder)
    assert not np.array_equal(shipped.encoder_weights["readout.weight"], source.encoder_weights["readout.weight"])
    said = shipped.provenance["finetuning"]
    assert (said["verdict"], said["forced"]) == ("harmed", True)


def test_the_source_folder_is_never_written_to(config: FinetuneConfig, source_folder: Path):
    before = {path: path.read_bytes() for path in source_folder.iterdir()}
    finetune(replace(config, strategy="normalisation"))
    assert {path: path.read_bytes() for path in source_folder.iterdir()} == before


@pytest.mark.parametrize(
    ("successes", "said"),
    [((True,), r"1 of 1 episodes.*at least 3"), ((True, True, False), r"2 of 3 .*episode 2 does not"),
     ((False,) * 4, r"0 of 4 episodes")],
)  # fmt: skip
def test_too_few_successes(config: FinetuneConfig, tmp_path: Path, successes: tuple[bool, ...], said: str):
    folder = write(tmp_path / "few", successes, seed=3)
    with pytest.raises(DatasetError, match=said):
        finetune(replace(config, episodes=folder))


def test_a_dataset_that_changes_meanwhile_is_noticed(
    config: FinetuneConfig, tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "growing"
    shutil.copytree(recorded, folder)
    real = pipeline.run_arms

    def meanwhile(*arguments: object) -> object:
        write(folder, (True,), seed=9)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "run_arms", meanwhile)
    with pytest.raises(DatasetError, match="changed while it was trained on"):
        finetune(replace(config, episodes=folder, strategy="normalisation"))


def test_what_cannot_be_used_is_said_before_anything_is_done(config: FinetuneConfig):
    with pytest.raises(ConfigError, match="episodes must be given"):
        finetune(replace(config, episodes=None))
    with pytest.raises(ConfigError, match="strategy=hedas"):
        finetune(replace(config, strategy="hedas"))
    with pytest.raises(ConfigError, match="simulated_frames=0"):
        finetune(replace(config, strategy="heads"))
    with pytest.raises(ConfigError, match="world=mujoco"):
        replace(config, reality="harsh")


def test_the_command_line_knows_it(config: FinetuneConfig, capsys: pytest.CaptureFixture[str]):
    arguments = ["finetune", f"bundle={config.bundle}", f"out={config.out}", "simulated_frames=0", "workers=1"]
    assert cli.main(arguments) == 2
    assert "episodes=DIR" in capsys.readouterr().err
    assert cli.main([*arguments, f"episodes={config.episodes}", "strategy=normalisation", "max_frames=4"]) in (0, 3)
    assert "verdict:" in capsys.readouterr().out
