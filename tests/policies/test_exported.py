"""An exported folder acts as its source does, without torch, and is refused as soon as something in it is not right."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from export_samples import observation, random_bundle, write_exported

from simtoreal.bundle import BundleError, is_exported, load_bundle
from simtoreal.contracts import Action
from simtoreal.policies.exported import load_exported
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.load import load_encoder, make_policy


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source and export of a policy with a learned head."""
    folder = tmp_path_factory.mktemp("exported")
    write_exported(folder, bundle=random_bundle(head="learned"))
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export, to break."""
    return Path(shutil.copytree(exported / "export", tmp_path / "export"))


def actions(policy: GraspPolicy) -> list[Action]:
    policy.reset()
    taken = []
    for step in range(6):
        taken.append(policy.act(observation(step, 0.05 * step)))
        policy.sent(taken[-1])
    return taken


@pytest.mark.parametrize("head", ["bundle", "servo"])
def test_an_export_acts_as_its_source(exported: Path, head: Any) -> None:
    source = actions(make_policy(load_bundle(exported / "source"), head))
    for ours, theirs in zip(source, actions(load_exported(exported / "export", head)), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_another_gripper_changes_the_unit_of_opening(exported: Path) -> None:
    (first, *_) = actions(load_exported(exported / "export", "servo", max_opening_m=0.05))
    assert first.gripper_width_m == pytest.approx(0.05)


def test_it_acts_where_there_is_no_torch_and_no_simulator(exported: Path) -> None:
    code = f"""
import sys
for name in ("torch", "gymnasium", "numba", "scipy", "pybullet", "mujoco", "pyarrow", "av", "trimesh", "psutil"):
    sys.modules[name] = None  # an import of it fails
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
import simtoreal.cli
from simtoreal.policies.exported import load_exported
policy = load_exported(Path({str(exported / "export")!r}))
print(policy.interface.scale.control_hz)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "20.0", done.stderr


def test_an_export_can_be_read_as_a_bundle_but_not_trained(exported: Path) -> None:
    bundle = load_bundle(exported / "export")
    assert is_exported(exported / "export")
    assert not is_exported(exported / "source")
    assert bundle.scale == load_bundle(exported / "source").scale
    assert "export" in bundle.provenance
    with pytest.raises(BundleError, match="bundle it was made from"):
        load_encoder(bundle)


def test_the_contract_says_what_goes_in_and_out(exported: Path) -> None:
    contract = json.loads((exported / "export" / "contract.json").read_text())
    inputs = {tensor["name"]: tensor for tensor in contract["graph"]["inputs"]}
    assert list(inputs) == ["rgb", "height_m", "edge_m"]
    assert inputs["height_m"] | {"about": ""} == {
        "name": "height_m", "dtype": "float32", "shape": [32, 32], "unit": "m", "frame": "base", "about": "",
    }  # fmt: skip
    assert contract["graph"]["outputs"][0]["shape"] == [12, 6, 8, 8]
    observed = {tensor["name"]: tensor for tensor in contract["observation"]}
    assert (observed["depth_m"]["unit"], observed["depth_m"]["frame"]) == ("m", "cam")
    assert observed["rgb"]["shape"] == [48, 48, 3]
    assert {tensor["name"] for tensor in contract["action"]} == set(Action._fields)
    assert contract["control_hz"] == 20.0
    assert contract["robot"]["max_opening_m"] == 0.08
    assert set(contract["files"]) == {"encoder.onnx", "bundle.yaml", "camera.yaml", "head.safetensors"}


def edit_contract(folder: Path, change: Callable[[Any], None]) -> None:
    path = folder / "contract.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def seal(folder: Path, name: str) -> None:
    """Writes into the contract that a file is meant to be as it is."""
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    edit_contract(folder, lambda content: content["files"][name].update(sha256=digest))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def other_rate(folder: Path) -> None:
    path = folder / "bundle.yaml"
    content = yaml.safe_load(path.read_text())
    content["scale"]["control_hz"] = 50.0
    path.write_text(yaml.safe_dump(content))
    seal(folder, "bundle.yaml")


def no_graph(folder: Path) -> None:
    (folder / "encoder.onnx").write_bytes(b"nothing that could be run")
    seal(folder, "encoder.onnx")


def other_graph(folder: Path) -> None:
    import onnx

    model = onnx.load_model(folder / "encoder.onnx")
    (last,) = (node for node in model.graph.node if node.output[0] == "grasp_map")
    last.output[0] = model.graph.output[0].name = "something_else"
    onnx.save_model(model, folder / "encoder.onnx")
    seal(folder, "encoder.onnx")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "contract.json").unlink(), "no exported policy: contract.json is missing"),
        (lambda f: (f / "contract.json").write_text("{"), "contract.json cannot be read"),
        (lambda f: (f / "contract.json").write_text("[]"), "format_version None, this package reads 1"),
        (lambda f: edit_contract(f, lambda c: c.update(format_version=7)), "format_version 7, this package reads 1"),
        (lambda f: edit_contract(f, lambda c: c.pop("precision")), "field 'precision' is missing"),
        (lambda f: edit_contract(f, lambda c: c["files"].pop("camera.yaml")), "files: camera.yaml is missing"),
        (lambda f: edit_contract(f, lambda c: c["files"].update({"../x": {"sha256": ""}})), "'../x' is none of"),
        (lambda f: (f / "head.safetensors").unlink(), "head.safetensors is missing"),
        (lambda f: append(f / "encoder.onnx"), "encoder.onnx is not the file"),
        (lambda f: append(f / "bundle.yaml"), "bundle.yaml is not the file"),
        (lambda f: edit_contract(f, lambda c: c["graph"]["inputs"].pop()), "graph.inputs is"),
        (other_rate, "control_hz=20 and bundle.yaml 50"),
        (no_graph, "no graph that onnxruntime can run"),
        (other_graph, "outputs are"),
    ],
)
def test_a_folder_that_is_not_right_is_refused(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(BundleError, match=message):
        load_exported(folder)
