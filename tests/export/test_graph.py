"""One graph from a view in metres and counts to the grasp map: the numbers of torch, and nothing else in the file."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from export_samples import random_bundle, spec_of, views
from onnx import TensorProto

from simtoreal.export.graph import write_graph
from simtoreal.export.quantisation import quantise
from simtoreal.policies.exported import open_graph
from simtoreal.policies.load import learned_grasp_map, load_encoder


@pytest.mark.parametrize("modality", ["rgbd", "rgb", "depth"])
def test_the_graph_says_what_torch_says(modality: str, tmp_path: Path) -> None:
    bundle, spec = random_bundle(modality), spec_of(modality)
    write_graph(load_encoder(bundle), spec, tmp_path / "encoder.onnx")
    ours, theirs = learned_grasp_map(bundle), open_graph(tmp_path, spec)
    answers = [theirs(view) for view in views(4, modality)]
    for view, answer in zip(views(4, modality), answers, strict=True):
        np.testing.assert_allclose(answer, ours(view), atol=2e-5)
    assert max(np.abs(answers[0] - other).max() for other in answers[1:]) > 0.1, "every view gives the same"


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The same network in single precision and quantised."""
    folder = tmp_path_factory.mktemp("graphs")
    write_graph(load_encoder(random_bundle()), spec_of(), folder / "fp32.onnx")
    quantise(folder / "fp32.onnx", folder / "int8.onnx", views(8), spec_of())
    return onnx.load_model(folder / "fp32.onnx"), onnx.load_model(folder / "int8.onnx")


def test_the_file_does_not_tell_where_it_was_made(graphs: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    for model in graphs:
        assert b".py" not in model.SerializeToString()


def test_convolutions_are_quantised_where_the_features_are_coarse(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    exact, quantised = graphs
    kinds = {item.name: item.data_type for item in quantised.graph.initializer}
    sizes = {item.name: list(item.dims) for item in quantised.graph.initializer}
    parts = ("net.readout", "net.surface", "net.features.stem", "net.features.fine")
    in_float = [name for name in kinds if name.startswith(parts) and name.endswith("weight")]
    assert {kinds[name] for name in in_float} == {TensorProto.FLOAT}
    convolutions = [node for node in exact.graph.node if node.op_type == "Conv"]
    in_integers = [name for name, kind in kinds.items() if kind == TensorProto.INT8 and name.endswith("_quantized")]
    assert len(in_integers) == len(convolutions) - len(in_float)
    weight = "net.features.down.0.0._convolution.weight"
    assert sizes[f"{weight}_scale"] == [16], "one scale for each output channel"


def test_int8_needs_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames to be calibrated on"):
        quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", [], spec_of())
