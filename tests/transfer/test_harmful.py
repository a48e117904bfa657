"""Episodes that were spoiled on purpose: whatever a fine-tuning learns from them, the source is kept."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from bar_episodes import write
from bar_scenes import VIEW, real_frames, simulated_frames

from simtoreal.bundle import Bundle, CameraRecord, load_bundle, save_bundle
from simtoreal.camera import CameraModel
from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.load import encoder_weights
from simtoreal.policies.parts import view_record
from simtoreal.transfer import preparation
from simtoreal.transfer.data.labels import Hindsight
from simtoreal.transfer.data.simulated import SimulatedFrames
from simtoreal.transfer.pipeline import finetune
from simtoreal.transfer.settings import FinetuneConfig
from simtoreal.transfer.trials import arms
from simtoreal.transfer.tuning.strategy import Depths, Mixture, Strategy
from simtoreal.transfer.tuning.training import Domain, Lesson, tune

QUICK = {
    "name": "quick", "about": "for a test", "steps": 24, "batch_size": 8, "learning_rate": 0.008, "unknown_weight": 0.3,
    "depths": {"heads": 1.0, "body": 1.0, "num_stages": 100}, "mixture": {"start_frac": 0.5, "end_frac": 0.5},
}  # fmt: skip
KINDS = ("shuffled", "calibration", "another_task")


@pytest.fixture(scope="module")
def harmful() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "harmful_episodes.py"
    spec = importlib.util.spec_from_file_location("harmful_episodes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.KINDS == KINDS
    return module


@pytest.fixture(scope="module")
def spoil(harmful: ModuleType) -> Callable[[Path, Path, str, int], Path]:
    return harmful.spoil  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def able(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that sees the bars of the episodes well: it has something to lose."""
    plan = Strategy("sees", "for a test", steps=300, batch_size=16, learning_rate=5e-3,
                    depths=Depths(1.0, 1.0, 100), unknown_weight=0.3, mixture=Mixture(0.5, 0.5))  # fmt: skip
    seen = replace(domain, real=real_frames(24, 3, seed=900), simulated=simulated_frames(64, seed=700))
    net = tune(plan, seen, Lesson(np.arange(24), np.array([], dtype=np.int64), 0)).net
    camera = CameraRecord("wrist", "rgbd", CameraModel.from_fov(64, 48, 1.0))
    bundle = Bundle(asdict(domain.spec), view_record(VIEW), "servo", HeadScale(), PerceptionError(), camera,
                    encoder_weights(net), card="# A policy\n")  # fmt: skip
    folder = tmp_path_factory.mktemp("able") / "bundle"
    save_bundle(bundle, folder)
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recorded") / "dataset", (True,) * 8)


@pytest.fixture(autouse=True)
def simulated_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned in simulation is part of the evidence; here it is bars too, of another colour."""
    found = SimulatedFrames(simulated_frames(48), simulated_frames(40, seed=300), "bars")
    monkeypatch.setattr(preparation, "load_simulated", lambda *arguments: found)


@pytest.fixture(autouse=True)
def short_scratch() -> Iterator[None]:
    real = arms.load_strategy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "load_strategy", lambda name: replace(real(name), steps=4))
        yield


def test_what_is_spoiled_is_what_was_asked_for(
    spoil: Callable[[Path, Path, str, int], Path], tmp_path: Path, recorded: Path
):
    folders = {kind: spoil(recorded, tmp_path / kind, kind, 0) for kind in KINDS}
    with DatasetReader(recorded) as reader:
        before, closed = reader[0][0], reader[0][20]
    shifts = {}
    for kind, folder in folders.items():
        with DatasetReader(folder) as reader:
            assert len(reader) == 8
            first, frame = reader[0][0], reader[0][20]
        image, was = frame.images["wrist"], closed.images["wrist"]
        assert first.T_base_tcp is not None
        np.testing.assert_allclose(first.T_base_tcp, before.T_base_tcp, atol=1e-6)
        assert image.T_base_cam is not None
        assert was.T_base_cam is not None
        assert frame.T_base_tcp is not None
        assert closed.T_base_tcp is not None
        shifts[kind] = (
            float(np.linalg.norm(image.T_base_cam[:3, 3] - was.T_base_cam[:3, 3])),
            float(np.linalg.norm(frame.T_base_tcp[:3, 3] - closed.T_base_tcp[:3, 3])),
        )
    assert shifts["calibration"] == (pytest.approx(0.05, abs=1e-4), pytest.approx(0.0, abs=1e-4))
    assert shifts["shuffled"][0] == pytest.approx(0.0, abs=1e-4)
    assert 0.029 < shifts["shuffled"][1] < 0.081
    assert spoil(recorded, tmp_path / "shuffled", "shuffled", 0) == folders["shuffled"], "it is there already"
    with pytest.raises(ValueError, match="kind must be one of"):
        spoil(recorded, tmp_path / "x", "rotten", 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [(level, kind, seed) for level in ("episodes", "labels") for kind in KINDS for seed in (0, 1)], ids=str
)
def test_the_source_is_kept(
    harmful: ModuleType, able: Path, recorded: Path, tmp_path: Path, case: tuple[str, str, int]
):
    level, kind, seed = case
    labels = harmful.SpoiledLabels(Hindsight(), kind, seed) if level == "labels" else None
    episodes = recorded if labels is not None else harmful.spoil(recorded, tmp_path / "spoiled", kind, seed)
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(QUICK))
    config = FinetuneConfig(
        bundle=str(able), episodes=episodes, out=tmp_path / "out",
        candidates=("zero_shot", str(tmp_path / "quick.yaml")), max_frames=4, workers=1, seed=seed,
    )  # fmt: skip
    try:
        finetune(config, labels)
    except DatasetError:  # so far off that nothing could be learned: refused, and nothing ships
        assert kind == "calibration"
        assert not (config.out / "bundle").exists()
        return
    ledger = json.loads((config.out / "ledger.json").read_text())
    assert ledger["verdict"] in ("harmed", "no evidence"), ledger["reasons"]
    assert ledger["shipped"] == "source"
    kept, source = load_bundle(config.out / "bundle"), load_bundle(able)
    assert np.array_equal(kept.encoder_weights["readout.weight"], source.encoder_weights["readout.weight"])
