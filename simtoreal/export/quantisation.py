"""Static quantisation to eight bits: what is learned becomes integers, what is measured in metres stays float.

Nodes of quantise and dequantise (QDQ) around every convolution, weights per output channel; the ranges of activations
are those met on calibration frames. A hundredth of the weights stays in float: the layers that read grasps and surfaces
off the features, whose outputs are logits and centimetres, and those that meet the channels of the view, whose ranges
have nothing in common.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from simtoreal.export.graph import quiet
from simtoreal.policies.exported import graph_feed
from simtoreal.policies.view import View, ViewSpec

_IN_FLOAT = ("net.readout.weight", "net.surface.weight")
_QUANTISED = ["Conv", "Relu", "Add", "Resize"]


def quantise(source: Path, target: Path, views: Sequence[View], spec: ViewSpec) -> None:
    """Writes an integer version of a graph that `write_graph` wrote.

    Args:
        views: calibration frames; a few hundred of many scenes.

    Raises:
        ValueError: there are no frames.
        OSError: the file cannot be written.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    if not views:
        raise ValueError("int8 needs frames to be calibrated on, and there are none")

    class Frames(CalibrationDataReader):  # type: ignore[misc]  # untyped
        """The frames one by one, as the graph takes them."""

        def __init__(self) -> None:
            self._feeds: Iterator[dict[str, Any]] = (graph_feed(view, spec) for view in views)

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    with quiet("root"):
        quantize_static(
            source, target, Frames(), quant_format=QuantFormat.QDQ, op_types_to_quantize=_QUANTISED, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=_float_nodes(source),
            calibrate_method=CalibrationMethod.MinMax,
        )  # fmt: skip


def _float_nodes(path: Path) -> list[str]:
    """Names of the nodes that come before the features or after them."""
    import onnx

    graph = onnx.load_model(path).graph
    excluded, learned = [], set[str]()  # tensors that a learned layer has touched
    for node in graph.node:
        follows, reads = learned.intersection(node.input), not set(_IN_FLOAT).isdisjoint(node.input)
        if (follows or node.op_type == "Conv") and not reads:
            learned.update(node.output)
        if not follows or reads:
            excluded.append(node.name)
    return excluded
