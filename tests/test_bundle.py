"""A bundle reads back as it was written, a broken one says which file, and nothing in it can run."""

import dataclasses
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from simtoreal.bundle import Bundle, BundleError, load_bundle, save_bundle
from simtoreal.camera import CameraModel
from simtoreal.camera_record import CameraRecord
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError

FILES = ("bundle.yaml", "camera.yaml", "encoder.safetensors", "figures.json", "provenance.yaml", "README.md")


def make_bundle(seed: int = 0, **changes: Any) -> Bundle:
    rng = np.random.default_rng(seed)
    bundle = Bundle(
        encoder={"name": "conv_small", "modality": "rgbd", "width": 8},
        view={"placement": "wrist", "modality": "rgbd", "pixels": 64, "centre_m": [0.5, 0.0]},
        head="learned",
        scale=HeadScale(max_opening_m=0.07),
        error=PerceptionError(),
        camera=CameraRecord(
            "wrist", "rgbd", CameraModel(64, 48, 60.5, 61.0, 31.2, 24.1, (0.1, -0.02, 0.001, 0.0, 0.0))
        ),
        encoder_weights={
            "features.weight": rng.normal(size=(3, 4)).astype(np.float32),
            "features.num_batches_tracked": np.array(7, dtype=np.int64),
        },
        head_weights={"layers.0.weight": rng.normal(size=(5, 31)).astype(np.float32)},
        figures={"random_test": {"policy": {"pc_success": 91.5, "n_episodes": 200}}},
        provenance={"command": "simtoreal pretrain seed=0", "seed": 0, "note": "größer als 5 °C"},
        card="# Grasping policy\n\nÜber den Tisch.\n",
    )
    return dataclasses.replace(bundle, **changes)


def saved(folder: Path, **changes: Any) -> Path:
    save_bundle(make_bundle(**changes), folder)
    return folder


def edit_yaml(path: Path, **changes: Any) -> None:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path):
    bundle = make_bundle()
    save_bundle(bundle, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    for name in ("encoder_weights", "head_weights"):
        written, read = getattr(bundle, name), getattr(loaded, name)
        assert written.keys() == read.keys()
        assert all(np.array_equal(written[key], read[key]) for key in written)
        assert all(written[key].dtype == read[key].dtype for key in written)
    plain = {"encoder_weights": {}, "head_weights": {}}
    assert dataclasses.replace(loaded, **plain) == dataclasses.replace(bundle, **plain)


def test_weights_that_are_views_of_larger_arrays_are_written_whole(tmp_path: Path):
    turned = np.arange(12, dtype=np.float32).reshape(3, 4).T
    save_bundle(make_bundle(encoder_weights={"turned": turned}), tmp_path / "bundle")
    assert np.array_equal(load_bundle(tmp_path / "bundle").encoder_weights["turned"], turned)


def test_a_bundle_with_the_servo_needs_no_head_weights(tmp_path: Path):
    folder = saved(tmp_path / "bundle", head="servo", head_weights={})
    assert not (folder / "head.safetensors").exists()
    assert load_bundle(folder).head_weights == {}


def test_bundle_yaml_is_for_people_too(tmp_path: Path):
    text = (saved(tmp_path / "bundle") / "bundle.yaml").read_text()
    assert text.startswith("format_version: 2")
    assert "!!" not in text, "no tags: any YAML reader reads it"


@pytest.mark.parametrize("name", [*FILES, "head.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str):
    folder = saved(tmp_path / "bundle")
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path):
    with pytest.raises(BundleError, match=str(tmp_path / "nothing")):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["encoder.safetensors", "head.safetensors"])
@pytest.mark.parametrize("keep_frac", [0.0, 0.1, 0.5, 0.95])
def test_cut_off_weights_are_named(tmp_path: Path, name: str, keep_frac: float):
    path = saved(tmp_path / "bundle") / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep_frac * len(content))])
    with pytest.raises(BundleError, match=f"{name}.*cut off"):
        load_bundle(path.parent)


@pytest.mark.parametrize("name", ["encoder.safetensors", "head.safetensors"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, name: str, value: float):
    path = saved(tmp_path / "bundle") / name
    save_file({"some.weight": np.array([0.0, value], dtype=np.float32)}, path)
    with pytest.raises(BundleError, match=rf"{name}.*some\.weight.*not finite"):
        load_bundle(path.parent)


def test_a_training_that_diverged_is_not_written(tmp_path: Path):
    folder = saved(tmp_path / "bundle")
    with pytest.raises(BundleError, match="not finite"):
        save_bundle(make_bundle(encoder_weights={"w": np.array([np.nan], dtype=np.float32)}), folder)
    assert load_bundle(folder).card == make_bundle().card


@pytest.mark.parametrize("version", [0, 1, None, "2"])
def test_another_format_version_says_what_to_do(tmp_path: Path, version: object):
    folder = saved(tmp_path / "bundle")
    edit_yaml(folder / "bundle.yaml", format_version=version)
    with pytest.raises(BundleError, match=r"format_version .* this package reads 2; train it anew"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bundle.yaml", {"head": "oracle"}, r"head must be one of .*servo.*'oracle'"),
        ("bundle.yaml", {"head": ["servo"]}, "head must be one of"),
        ("bundle.yaml", {"encoder": 7}, "not iterable"),
        ("bundle.yaml", {"scale": {"max_delta_m": 0.02, "colour": 1}}, "colour"),
        ("bundle.yaml", {"scale": {"max_delta_m": -0.02}}, "max_delta_m"),
        ("bundle.yaml", {"scale": {"max_delta_m": "fast"}}, "real number"),
        ("bundle.yaml", {"scale": "fast"}, "mapping"),
        ("bundle.yaml", {"perception_error": {"distance_m": [0.1]}}, "perception error"),
        ("bundle.yaml", {"perception_error": None}, "NoneType"),
        ("camera.yaml", {"distortion": [0.0, 0.0]}, "must have 5 elements"),
        ("camera.yaml", {"fx": -1.0}, "fx must be positive"),
        ("camera.yaml", {"width_px": "wide"}, "wide"),
    ],
    ids=str,
)
def test_a_field_that_makes_no_sense_is_named(tmp_path: Path, name: str, changes: dict[str, Any], message: str):
    folder = saved(tmp_path / "bundle")
    edit_yaml(folder / name, **changes)
    with pytest.raises(BundleError, match=rf"{name}.*{message}"):
        load_bundle(folder)


@pytest.mark.parametrize(("name", "field"), [("bundle.yaml", "view"), ("bundle.yaml", "head"), ("camera.yaml", "fx")])
def test_a_missing_field_is_named(tmp_path: Path, name: str, field: str):
    path = saved(tmp_path / "bundle") / name
    path.write_text(
        yaml.safe_dump({key: value for key, value in yaml.safe_load(path.read_text()).items() if key != field})
    )
    with pytest.raises(BundleError, match=f"{name} lacks the field '{field}'"):
        load_bundle(path.parent)


@pytest.mark.parametrize("name", ["bundle.yaml", "camera.yaml", "provenance.yaml", "figures.json"])
@pytest.mark.parametrize("garbage", [b"", b"{: [", b"- 1\n- 2\n", b"\xff\xfe\x00\x80", b"just words"], ids=repr)
def test_garbage_is_named(tmp_path: Path, name: str, garbage: bytes):
    folder = saved(tmp_path / "bundle")
    (folder / name).write_bytes(garbage)
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_under_another_name_is_refused_and_not_run(tmp_path: Path):
    folder, sprung = saved(tmp_path / "bundle"), tmp_path / "sprung"
    (folder / "encoder.safetensors").write_bytes(pickle.dumps({"weight": Trap(sprung)}))
    with pytest.raises(BundleError, match=r"encoder\.safetensors"):
        load_bundle(folder)
    assert not sprung.exists()


def test_a_yaml_that_would_build_python_objects_is_refused_and_not_run(tmp_path: Path):
    folder, sprung = saved(tmp_path / "bundle"), tmp_path / "sprung"
    (folder / "provenance.yaml").write_text(f"command: !!python/object/apply:os.mkdir ['{sprung}']\n")
    with pytest.raises(BundleError, match=r"provenance\.yaml"):
        load_bundle(folder)
    assert not sprung.exists()


def test_saving_again_replaces_everything(tmp_path: Path):
    folder = saved(tmp_path / "bundle")
    saved(folder, head="servo", head_weights={}, card="second")
    assert load_bundle(folder).card == "second"
    assert not (folder / "head.safetensors").exists(), "a head of the earlier bundle must not stay"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_survives_a_save_that_fails_midway(tmp_path: Path):
    folder = saved(tmp_path / "bundle")
    with pytest.raises(TypeError):
        save_bundle(make_bundle(figures={"what": object()}, card="second"), folder)
    assert load_bundle(folder).card == make_bundle().card
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"], "nothing half-written is left behind"


def test_a_bundle_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = saved(tmp_path / "bundle")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(OSError, match=rf"{folder} \(No space left on device\); free space"):
        save_bundle(make_bundle(card="second"), folder)
    monkeypatch.undo()
    assert load_bundle(folder).card == make_bundle().card
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_survives_when_the_last_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, replace = saved(tmp_path / "bundle"), os.replace

    def fail(source: Path, target: Path) -> None:
        if str(source).endswith(".part"):
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        save_bundle(make_bundle(card="second"), folder)
    monkeypatch.undo()
    assert load_bundle(folder).card == make_bundle().card
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write the bundle .*file/bundle"):
        save_bundle(make_bundle(), tmp_path / "file" / "bundle")
