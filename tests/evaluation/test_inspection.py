"""`inspect` tells what a bundle holds, shows where it would grasp, and says plainly what is wrong with a broken one."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from simtoreal import cli
from simtoreal.bundle import Bundle, save_bundle
from simtoreal.camera_record import CameraRecord
from simtoreal.envs.assets import CACHE_ENV
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.evaluation.inspection import bundle_tables, num_parameters
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.policies.encoders import EncoderSpec, build_encoder
from simtoreal.policies.load import encoder_weights
from simtoreal.policies.parts import view_record
from simtoreal.policies.view import ViewSpec

OVERALL = {"n_episodes": 200, "n_success": 188, "pc_success": 94.0, "pc_success_ci95": [89.8, 96.5]}
FIGURES = {
    "random_test": {"policy": OVERALL, "oracle": OVERALL | {"pc_success": 97.5}, "random": None},
    "heads": {"episodes": 120, "objects": "household_train", "success": {"servo": 0.9, "learned": 0.95}},
    "timing": {"policy_step_p50_ms": 1.25, "policy_step_p99_ms": 3.5},
    "training_wall_s": 6000.0,
}
PROVENANCE = {
    "command": "simtoreal pretrain preset=full",
    "started": "2026-01-02T03:04:05+00:00",
    "git_revision": "0123abc",
    "versions": {"simtoreal": "0.1.0", "torch": "2.9"},
    "hardware": {"num_cores": 2, "processor": "[a processor]"},
    "seed": 7,
    "data": {"train_frames": "cafe"},
}


def make_bundle() -> Bundle:
    """An encoder that has learned nothing, with figures that say otherwise."""
    spec = EncoderSpec(width=8)
    return Bundle(
        encoder=asdict(spec),
        view=view_record(ViewSpec()),
        head="servo",
        scale=HeadScale(),
        error=PerceptionError(),
        camera=CameraRecord("wrist", "rgbd", CameraSetup.default("wrist", 64).model),
        encoder_weights=encoder_weights(build_encoder(spec)),
        figures=FIGURES,
        provenance=PROVENANCE,
        card="# A card\n",
    )


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("inspection")
    save_bundle(make_bundle(), folder / "bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_ENV, str(folder / "cache"))
        yield folder / "bundle"


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """A folder with one box, which takes no time to decompose, and one file that is no mesh."""
    import trimesh

    folder = tmp_path / "objects"
    folder.mkdir()
    trimesh.creation.box((0.05, 0.08, 0.04)).export(folder / "brick.stl")
    (folder / "broken.stl").write_text("not a mesh")
    return folder


def text_of(tables: list) -> str:
    return "\n".join(" | ".join([table.title, *map(str, row)]) for table in tables for row in table.rows)


def test_inspect_prints_the_bundle_and_pictures_its_grasps(
    bundle_dir: Path, objects: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert cli.main(["inspect", f"bundle={bundle_dir}", f"objects={objects}", "scenes=2", f"out={out}"]) == 0
    printed, told = capsys.readouterr()
    for expected in ("conv_small", "scripted servo", "94.0 %", "89.8 to 96.5 %", "preset=full", "encoder.safetensors"):
        assert expected in printed
    assert "broken.stl" in told  # left out, and said
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") >= 4  # two scenes, each with the grasp and the map it was read from
    assert "Does it look at the picture?" in page
    assert "map of grasp quality" in page
    assert "Error of the grasp estimate" in page
    assert "0123abc" in page
    assert "[a processor]" in page


def test_tables_hold_figures_with_n_and_intervals_and_where_they_come_from(bundle_dir: Path) -> None:
    text = text_of(bundle_tables(bundle_dir, make_bundle()))
    assert "random_test | policy | 94.0 % | 89.8 to 96.5 % | 200" in text
    assert "random_test | oracle | 97.5 %" in text
    assert "head: learned | 95.0 % | 89.5 to 97.7 % | 120" in text
    assert "random_test | random" not in text  # did not run
    assert "image to action | 1.2 ms, 99th percentile 3.5 ms" in text
    assert "trained in | 100 minutes" in text
    assert "git revision | 0123abc" in text
    assert "data: train frames | cafe" in text
    assert "0.30 | 4.0 | 3.0 | 6.9 | 5.0" in text


def test_the_head_that_ships_is_named_and_the_other_is_mentioned(bundle_dir: Path) -> None:
    head = {"layers.0.weight": np.zeros((5, 31), np.float32), "layers.0.bias": np.zeros(5, np.float32)}
    shipped = replace(make_bundle(), head="learned", head_weights=head)
    assert "head | learned, 160 parameters" in text_of(bundle_tables(bundle_dir, shipped))
    servo = replace(shipped, head="servo")
    assert "head | scripted servo, a learned one is in the bundle too" in text_of(bundle_tables(bundle_dir, servo))
    assert num_parameters(head) == 160


def test_sizes_on_disk_add_up(bundle_dir: Path) -> None:
    rows = {table.title: table.rows for table in bundle_tables(bundle_dir, make_bundle())}["On disk"]
    *files, (last, total) = [(name, float(size.replace(",", ""))) for name, size in rows]
    assert {name for name, _ in files} == {path.name for path in bundle_dir.iterdir()}
    assert last == "together"
    assert total == pytest.approx(sum(size for _, size in files), abs=0.1 * len(files))


def test_a_bundle_without_figures_says_so_instead_of_showing_an_empty_table(bundle_dir: Path) -> None:
    tables = bundle_tables(bundle_dir, replace(make_bundle(), figures={}, provenance={}))
    empty = {table.title: table.note for table in tables if not table.rows}
    assert "run `simtoreal evaluate`" in empty["Measured"]
    assert "does not say" in empty["Where it comes from"]


def test_broken_bundles_are_explained_before_anything_is_drawn(
    bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    cut = tmp_path / "cut"
    save_bundle(make_bundle(), cut)
    weights = cut / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    newer = tmp_path / "newer"
    save_bundle(make_bundle(), newer)
    description = (newer / "bundle.yaml").read_text()
    (newer / "bundle.yaml").write_text(description.replace("format_version: 2", "format_version: 99"))
    for folder, expected in ((tmp_path / "empty", "bundle.yaml"), (cut, "encoder.safetensors"), (newer, "99")):
        assert cli.main(["inspect", f"bundle={folder}", f"out={tmp_path / 'run'}"]) == 2
        assert expected in capsys.readouterr().err


def test_figures_of_a_bundle_survive_the_disk(bundle_dir: Path) -> None:
    assert json.loads((bundle_dir / "figures.json").read_text()) == FIGURES
