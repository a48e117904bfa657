"""An encoder as one ONNX graph: from the pictures of a canonical view, in metres and counts, to the grasp map.

Normalisation of the input, the layers with their normalisation folded in, and the quality as a probability are all in
the graph. What follows is not: which grasp to aim at depends on what was seen before.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from simtoreal.policies.encoders import GraspNet, for_inference
from simtoreal.policies.export_contract import model_inputs, model_outputs
from simtoreal.policies.view import HEIGHT_CLIP, HEIGHT_SCALE_M, SIZE_SCALE_M, ViewSpec

OPSET = 18
_EXTRA = "simtoreal export needs the extra: pip install 'simtoreal[export]' (it brings onnx and onnxruntime)"


class ViewToMap(nn.Module):
    """`view.channels` and an encoder in one; inputs are named and ordered as `model_inputs` has them.

    Args:
        net: the encoder.
        modality: of the view.
    """

    def __init__(self, net: GraspNet, modality: str) -> None:
        super().__init__()
        self.net = for_inference(net).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self._modality = modality

    def forward(self, *inputs: Tensor) -> Tensor:
        """Maps a view to (NUM_YAWS, NUM_FIELDS, P/4, P/4), qualities in [0, 1]."""
        answer = self.net(self._channels(*inputs)[None])[0]
        return torch.cat([answer[:, :1].sigmoid(), answer[:, 1:]], 1)

    def _channels(self, *inputs: Tensor) -> Tensor:
        *pictures, edge_m = inputs
        planes: list[Tensor] = []
        if self._modality != "depth":
            planes.append(pictures[0].float().permute(2, 0, 1) / 127.5 - 1.0)
        if self._modality != "rgb":
            height_m = pictures[-1]
            known = torch.logical_not(torch.isnan(height_m))
            scaled = torch.where(known, height_m, torch.zeros_like(height_m)) / HEIGHT_SCALE_M
            planes.append(torch.stack([scaled.clamp(*HEIGHT_CLIP), known.float()]))
        if self._modality == "rgb":
            planes.append(pictures[-1].float()[None])
        planes.append(torch.log(edge_m / SIZE_SCALE_M).expand_as(planes[0][:1]))
        return torch.cat(planes)


def write_graph(net: GraspNet, view: ViewSpec, path: Path) -> None:
    """Writes an encoder as ONNX, in single precision.

    Raises:
        ModuleNotFoundError: the `export` extra is not installed.
        OSError: the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it, and says so in the middle of its work
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_EXTRA) from error
    inputs = model_inputs(view)
    samples = tuple(torch.from_numpy(np.ones(tensor.shape, dtype=tensor.dtype)) for tensor in inputs)
    with quiet("torch.onnx"), torch.no_grad():
        program = torch.onnx.export(
            ViewToMap(net, view.modality).eval(), samples, dynamo=True, opset_version=OPSET, verbose=False,
            input_names=[tensor.name for tensor in inputs], output_names=[model_outputs(view)[0].name],
        )  # fmt: skip
    assert program is not None
    onnx.save_model(_bare(program.model_proto), path)


def _bare(model: "onnx.ModelProto") -> "onnx.ModelProto":  # type: ignore[name-defined]  # noqa: F821
    """Without what the exporter notes about its sources: a tenth of the file, and paths of whoever exported."""
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]
    for node in model.graph.node:
        node.ClearField("doc_string")
    del model.graph.value_info[:]  # shapes follow from the inputs
    return model


@contextlib.contextmanager
def quiet(logger_name: str) -> Iterator[None]:
    """Keeps back what a package says of packages that are not needed here, and advice that was weighed already."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
