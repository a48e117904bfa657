"""A policy on disk: a folder of safetensors and YAML with its measured figures, its provenance and a card to read.

| file | holds |
|---|---|
| `bundle.yaml` | format version, encoder, view, head, control scale, measured perception error |
| `encoder.safetensors` | weights of the encoder |
| `head.safetensors` | weights of the learned head, where there is one |
| `camera.yaml` | the camera it was trained with |
| `figures.json` | what was measured, with n and intervals |
| `provenance.yaml` | command, configuration, revision, seeds, hashes of the data |
| `README.md` | the card |

Nothing in it can run code when it is read.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from simtoreal.camera_record import CAMERA_FILE, CameraRecord
from simtoreal.head_interface import HeadScale
from simtoreal.perception_error import PerceptionError
from simtoreal.schema import ConfigError
from simtoreal.settings_files import read_mapping

FORMAT_VERSION = 2
CONTRACT_FILE = "contract.json"  # makes a folder an exported one
Arrays = dict[str, NDArray[Any]]
Schema = TypeVar("Schema")


class BundleError(ValueError):
    """A folder is no bundle, is broken, or was written by another version."""


@dataclass(frozen=True)
class Bundle:
    """Everything a policy is made of; `encoder` and `view` are plain mappings that the policy package reads."""

    encoder: dict[str, Any]
    view: dict[str, Any]
    head: str  # "servo" or "learned": the one that won the paired comparison
    scale: HeadScale
    error: PerceptionError
    camera: CameraRecord
    encoder_weights: Arrays
    head_weights: Arrays = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    card: str = ""


def is_exported(folder: Path) -> bool:
    """Whether a folder was written by `simtoreal export`: a bundle with a graph in place of the encoder's weights."""
    return (folder / CONTRACT_FILE).is_file()


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Writes a bundle beside its place, then moves it there: what was there stays until the new one is whole.

    Raises:
        OSError: the folder cannot be written; names it.
        BundleError: a weight is not finite.
    """
    for name in ("encoder_weights", "head_weights"):
        _check_finite(getattr(bundle, name), f"{folder}: {name}")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write_description(bundle, partial)
        _save_weights(bundle.encoder_weights, partial / "encoder.safetensors")
        _exchange(partial, folder)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk as an error of its own
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot write the bundle {folder} ({reason}); free space or choose another out=") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exchange(partial: Path, folder: Path) -> None:
    """Puts a folder in the place of another, or leaves that one where it was."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(partial, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_description(bundle: Bundle, folder: Path) -> None:
    """Writes everything of a bundle but the weights of its encoder, file by file, into a folder that is there.

    Raises:
        OSError: it cannot be written.
    """
    description = {
        "format_version": FORMAT_VERSION,
        "encoder": bundle.encoder,
        "view": bundle.view,
        "head": bundle.head,
        "scale": dataclasses.asdict(bundle.scale),
        "perception_error": bundle.error.to_dict(),
    }
    _dump_yaml(description, folder / "bundle.yaml")
    _dump_yaml(bundle.camera.to_dict(), folder / CAMERA_FILE)
    _dump_yaml(bundle.provenance, folder / "provenance.yaml")
    if bundle.head_weights:
        _save_weights(bundle.head_weights, folder / "head.safetensors")
    (folder / "figures.json").write_text(json.dumps(bundle.figures, indent=1) + "\n")
    (folder / "README.md").write_text(bundle.card, encoding="utf-8")


def _save_weights(weights: Arrays, path: Path) -> None:
    # safetensors writes the memory as it lies; `ascontiguousarray` would turn a scalar into a vector.
    save_file({name: np.asarray(value, order="C") for name, value in weights.items()}, path)


def _dump_yaml(data: dict[str, Any], path: Path) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")


def load_bundle(folder: Path) -> Bundle:
    """Reads and checks a bundle, or what `simtoreal export` made of one: that has no weights of an encoder.

    Raises:
        BundleError: it is no bundle, a file is missing, cut off or not finite, or the format version differs.
    """
    description = _load_yaml(folder / "bundle.yaml")
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{folder}: format_version {version!r}, this package reads {FORMAT_VERSION}; train it anew with "
            "`simtoreal pretrain`, or install the version of simtoreal named in its provenance.yaml"
        )
    with _blame(folder / "bundle.yaml"):
        encoder, view = dict(description["encoder"]), dict(description["view"])
        head = _one_of(description["head"], ("servo", "learned"))
        scale = HeadScale(**description["scale"])
        error = PerceptionError.from_dict(description["perception_error"])
    with _blame(folder / CAMERA_FILE):
        camera = CameraRecord.from_dict(_load_yaml(folder / CAMERA_FILE))
    with _blame(folder / "figures.json"):
        figures = dict(json.loads((folder / "figures.json").read_text(encoding="utf-8")))
    with _blame(folder / "README.md"):
        card = (folder / "README.md").read_text(encoding="utf-8")
    head_path = folder / "head.safetensors"
    return Bundle(
        encoder=encoder,
        view=view,
        head=head,
        scale=scale,
        error=error,
        camera=camera,
        encoder_weights={} if is_exported(folder) else _load_weights(folder / "encoder.safetensors"),
        head_weights=_load_weights(head_path) if head == "learned" or head_path.exists() else {},
        figures=figures,
        provenance=_load_yaml(folder / "provenance.yaml"),
        card=card,
    )


@contextlib.contextmanager
def _blame(path: Path) -> Iterator[None]:
    """Turns whatever is wrong with the content of a file into an error that names it."""
    try:
        yield
    except BundleError:
        raise
    except FileNotFoundError as error:
        raise BundleError(f"{path.parent} is no complete policy bundle: {path.name} is missing") from error
    except KeyError as error:
        raise BundleError(f"{path} lacks the field {error}") from error
    except (AttributeError, TypeError, ValueError, OSError) as error:
        raise BundleError(f"{path}: {error}") from error


def _one_of(value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"head must be one of {allowed}, got {value!r}")
    return str(value)


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        return read_mapping(path)
    except FileNotFoundError as error:
        raise BundleError(f"{path.parent} is no policy bundle: {path.name} is missing") from error
    except ConfigError as error:
        raise BundleError(str(error)) from error


def _load_weights(path: Path) -> Arrays:
    try:
        weights = load_file(path)
    except FileNotFoundError as error:
        raise BundleError(f"{path.parent} is no complete policy bundle: {path.name} is missing") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:  # the last of a type numpy lacks
        raise BundleError(f"{path} is broken or cut off ({error}); copy the bundle again or train it anew") from error
    _check_finite(weights, str(path))
    return weights


def _check_finite(weights: Arrays, where: str) -> None:
    for name, value in weights.items():
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            raise BundleError(f"{where}: tensor {name} is not finite; train the bundle anew")
