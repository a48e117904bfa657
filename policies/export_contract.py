"""`contract.json` of an exported policy: what goes in, what comes out, and which files belong together.

It is written for programs as much as for people: names, types, shapes, units and frames of the graph's tensors, of what
a controller has to observe, and of the action it gets back.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import simtoreal
from simtoreal.bundle import CONTRACT_FILE, Bundle, BundleError
from simtoreal.policies.grasp_map import CELL_PX, FIELDS, HEIGHT_SCALE_M, NUM_FIELDS, NUM_YAWS, WIDTH_SCALE_M
from simtoreal.policies.view import ViewSpec

FORMAT_VERSION = 1
GRAPH_FILE = "encoder.onnx"
_REQUIRED = (GRAPH_FILE, "bundle.yaml", "camera.yaml")
_SEALED = (*_REQUIRED, "head.safetensors")  # files that a policy is made of; each has its hash in the contract
_AGAIN = "copy the whole folder again, or run `simtoreal export` anew"


@dataclass(frozen=True)
class Tensor:
    """One named array at a border: its type, its shape, its unit and the frame that it is given in."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    about: str
    unit: str = ""
    frame: str = ""


@dataclass(frozen=True)
class ExportContract:
    """What was read from `contract.json` and is relied on."""

    precision: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    control_hz: float


def model_inputs(view: ViewSpec) -> tuple[Tensor, ...]:
    """What the graph of a view's encoder takes, in order."""
    square = (view.pixels, view.pixels)
    tensors = []
    if view.modality != "depth":
        tensors.append(Tensor("rgb", "uint8", (*square, 3), "colour of the canonical view, 0 outside of the picture"))
    if view.modality != "rgb":
        tensors.append(
            Tensor("height_m", "float32", square, "height over the nominal table, nan where unknown", "m", "base")
        )
    if view.modality == "rgb":
        tensors.append(Tensor("valid", "bool", square, "whether the pixel lies in the camera's picture"))
    tensors.append(Tensor("edge_m", "float32", (), "edge of the region of the table that the view shows", "m"))
    return tuple(tensors)


def model_outputs(view: ViewSpec) -> tuple[Tensor, ...]:
    """What the graph gives back."""
    cells = view.pixels // CELL_PX
    about = (
        f"for each of {NUM_YAWS} yaw bins over half a turn and each cell of {CELL_PX} px: {', '.join(FIELDS)}; quality "
        f"in [0, 1], width in {WIDTH_SCALE_M} m, height in {HEIGHT_SCALE_M} m over the table, du and dv in cells from "
        "the centre of the cell, dyaw in bins from the middle of the bin"
    )
    return (Tensor("grasp_map", "float32", (NUM_YAWS, NUM_FIELDS, cells, cells), about, "", "view"),)


def describe(bundle: Bundle, view: ViewSpec, precision: str, folder: Path) -> dict[str, Any]:
    """The content of `contract.json` for a folder in which all other files lie already."""
    scale = bundle.scale
    return {
        "format_version": FORMAT_VERSION,
        "simtoreal": simtoreal.__version__,
        "precision": precision,
        "files": {name: _sealed(folder / name) for name in _SEALED if (folder / name).is_file()},
        "graph": {
            "inputs": [asdict(tensor) for tensor in model_inputs(view)],
            "outputs": [asdict(tensor) for tensor in model_outputs(view)],
        },
        "observation": [asdict(tensor) for tensor in _observation(bundle)],
        "action": [asdict(tensor) for tensor in _action(bundle)],
        "control_hz": scale.control_hz,
        "camera": bundle.camera.to_dict(),
        "view": dict(bundle.view),
        "head": bundle.head,
        "robot": {
            "gripper": "parallel jaws",
            "max_opening_m": scale.max_opening_m,
            "max_delta_m": scale.max_delta_m,
            "max_yaw_rad": scale.max_yaw_rad,
            "approach": "from above: tool +Z along base -Z",
            "table": "a plane at z = 0 of the base frame",
        },
        "frames": {
            "base": "base of the robot, +Z up",
            "tcp": "between the finger tips, +Z approach, +X the direction the jaws close in",
            "cam": "optical frame of the camera: +Z forward, +X right, +Y down",
            "view": "virtual camera at the place of the real one, see `view`",
        },
    }


def _observation(bundle: Bundle) -> Iterator[Tensor]:
    height, width = bundle.camera.model.height_px, bundle.camera.model.width_px
    yield Tensor("t_s", "float64", (), "capture time on a monotonic clock", "s")
    if bundle.camera.modality != "depth":
        yield Tensor("rgb", "uint8", (height, width, 3), "colour; other sizes and lenses are warped", "", "cam")
    if bundle.camera.modality != "rgb":
        yield Tensor("depth_m", "float32", (height, width), "along the optical axis, nan is no return", "m", "cam")
    yield Tensor("K", "float64", (3, 3), "intrinsics; pixel centres are whole numbers", "px", "cam")
    yield Tensor("distortion", "float64", (5,), "OpenCV k1 k2 p1 p2 k3, or none for a pinhole", "", "cam")
    yield Tensor("T_base_cam", "float64", (4, 4), "camera pose at capture", "m", "base")
    yield Tensor("T_base_tcp", "float64", (4, 4), "measured tool pose", "m", "base")
    yield Tensor("gripper_width_m", "float64", (), "measured opening", "m")


def _action(bundle: Bundle) -> Iterator[Tensor]:
    scale = bundle.scale
    period = f"in one period of 1/{scale.control_hz:g} s"
    yield Tensor("delta_m", "float64", (3,), f"translation of the setpoint {period}", "m", "base")
    yield Tensor("delta_rotation_rad", "float64", (3,), f"rotation vector of the setpoint {period}", "rad", "base")
    yield Tensor("gripper_width_m", "float64", (), f"commanded opening, 0 to {scale.max_opening_m:g}", "m")


def read_contract(folder: Path) -> ExportContract:
    """Reads `contract.json` and makes sure that the files beside it are the ones it was written for.

    Raises:
        BundleError: it is missing, broken or of another version, or a file is missing or was changed.
    """
    path = folder / CONTRACT_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder} is no exported policy: {CONTRACT_FILE} is missing; `simtoreal export` writes it"
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path} cannot be read ({error}); {_AGAIN}") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path}: format_version {version!r}, this package reads {FORMAT_VERSION}; export the bundle with the "
            "version of simtoreal that runs it"
        )
    try:
        contract = ExportContract(
            str(content["precision"]),
            _tensors(content["graph"]["inputs"]),
            _tensors(content["graph"]["outputs"]),
            float(content["control_hz"]),
        )
        seals = {str(name): str(seal["sha256"]) for name, seal in content["files"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: field {error} is missing or malformed; {_AGAIN}") from error
    _check_seals(folder, seals)
    return contract


def _tensors(entries: Any) -> tuple[Tensor, ...]:
    return tuple(Tensor(**{**entry, "shape": tuple(int(size) for size in entry["shape"])}) for entry in entries)


def _check_seals(folder: Path, seals: dict[str, str]) -> None:
    for name in _REQUIRED:
        if name not in seals:
            raise BundleError(f"{folder / CONTRACT_FILE}: files: {name} is missing; {_AGAIN}")
    for name, digest in seals.items():
        if name not in _SEALED:
            raise BundleError(f"{folder / CONTRACT_FILE}: files: {name!r} is none of {', '.join(_SEALED)}; {_AGAIN}")
        if not (folder / name).is_file():
            raise BundleError(f"{folder}: {name} is missing; {_AGAIN}")
        if _sealed(folder / name)["sha256"] != digest:
            raise BundleError(f"{folder / name} is not the file that {CONTRACT_FILE} was written for; {_AGAIN}")


def _sealed(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "num_bytes": len(content)}
