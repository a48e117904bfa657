"""From an exported folder to a policy that acts: numpy, OpenCV and onnxruntime, and no torch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal.bundle import BundleError, load_bundle
from simtoreal.policies.export_contract import GRAPH_FILE, ExportContract, model_inputs, model_outputs, read_contract
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.learned_grasps import GraspMap, LearnedGrasps
from simtoreal.policies.parts import HeadChoice, make_head, view_of
from simtoreal.policies.view import View, ViewSpec


def load_exported(folder: Path, head: HeadChoice = "bundle", max_opening_m: float | None = None) -> GraspPolicy:
    """A policy from a folder that `simtoreal export` wrote, on one thread.

    Args:
        head: which head moves the arm.
        max_opening_m: of the gripper that it drives; None is the one it was trained with.

    Raises:
        BundleError: the folder is no exported policy, is of another version, or something in it was changed.
        ModuleNotFoundError: onnxruntime is not installed.
    """
    contract = read_contract(folder)
    bundle = load_bundle(folder)
    view, scale = view_of(bundle), bundle.scale
    _check(contract, view, folder)
    if contract.control_hz != scale.control_hz:
        raise BundleError(
            f"{folder}: contract.json says control_hz={contract.control_hz:g} and bundle.yaml {scale.control_hz:g}; "
            "run `simtoreal export` anew"
        )
    if max_opening_m is not None:
        scale = replace(scale, max_opening_m=max_opening_m)
    return GraspPolicy(LearnedGrasps(open_graph(folder, view), view), make_head(bundle, head), scale, looks_again=True)


def open_graph(folder: Path, view: ViewSpec) -> GraspMap:
    """The graph of an exported folder as a function from a canonical view to its grasp map.

    Raises:
        BundleError: it is no graph, or takes or gives something else than the view asks for.
        ModuleNotFoundError: onnxruntime is not installed.
    """
    session = _session(folder / GRAPH_FILE)
    _check_graph(session, view, folder / GRAPH_FILE)
    wanted = [model_outputs(view)[0].name]

    def grasp_map(seen: View) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = session.run(wanted, graph_feed(seen, view))[0]
        return answer

    return grasp_map


def graph_feed(seen: View, view: ViewSpec) -> dict[str, NDArray[Any]]:
    """A canonical view as the inputs of the graph, by name."""
    return {tensor.name: np.asarray(getattr(seen, tensor.name), tensor.dtype) for tensor in model_inputs(view)}


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "an exported policy needs onnxruntime: pip install 'simtoreal[export]', or on the robot's computer "
            "pip install --no-deps -r robot-requirements.txt"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; warnings of its optimizer are nothing that a user can act on
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base class of their own
        raise BundleError(
            f"{path} is no graph that onnxruntime can run: {error}; run `simtoreal export` anew"
        ) from error


def _check(contract: ExportContract, view: ViewSpec, folder: Path) -> None:
    """The contract must say what this version of the package would say of the same view."""
    for field, said, meant in (
        ("graph.inputs", contract.inputs, model_inputs(view)),
        ("graph.outputs", contract.outputs, model_outputs(view)),
    ):
        said_plain, meant_plain = ([(t.name, t.dtype, t.shape) for t in tensors] for tensors in (said, meant))
        if said_plain != meant_plain:
            raise BundleError(
                f"{folder / 'contract.json'}: {field} is {said_plain}, and this version of simtoreal works with "
                f"{meant_plain}; export the bundle with the version that runs it"
            )


def _check_graph(session: Any, view: ViewSpec, path: Path) -> None:
    for kind, has, needs in (
        ("inputs", session.get_inputs(), model_inputs(view)),
        ("outputs", session.get_outputs(), model_outputs(view)),
    ):
        found = {node.name: tuple(node.shape) for node in has}
        wanted = {tensor.name: tensor.shape for tensor in needs}
        if found != wanted:
            raise BundleError(f"{path}: {kind} are {found}, expected {wanted}; run `simtoreal export` anew")
