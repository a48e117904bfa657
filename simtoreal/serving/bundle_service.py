"""A policy bundle as a service: with its own network, or exported and without torch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from simtoreal.bundle import Bundle, load_bundle
from simtoreal.config import Device
from simtoreal.contracts import Policy
from simtoreal.policies.export_contract import GRAPH_FILE
from simtoreal.preflight import resolve_device
from simtoreal.serving.messages import IMAGE, WRIST_IMAGE
from simtoreal.serving.policy_service import PolicyDescription, PolicyService


def open_bundle(folder: Path, device: Device) -> PolicyService:
    """Serves the policy in a folder.

    Raises:
        BundleError: it is no bundle, or broken.
        ConfigError: the device is not there.
        ModuleNotFoundError: torch is not installed, or onnxruntime where the policy is exported.
    """
    bundle = load_bundle(folder)
    description = PolicyDescription(
        name=folder.name,
        control_hz=bundle.scale.control_hz,
        image_key=WRIST_IMAGE if bundle.camera.placement == "wrist" else IMAGE,
        sees_colour=bundle.camera.modality != "depth",
        sees_depth=bundle.camera.modality != "rgb",
    )
    new_policy = _exported(folder) if (folder / GRAPH_FILE).is_file() else _trained(bundle, device)
    new_policy()  # a bundle that does not fit together is refused before anybody connects
    return PolicyService(new_policy, description)


def _exported(folder: Path) -> Callable[[], Policy]:
    from simtoreal.policies.exported import load_exported

    return partial(load_exported, folder)


def _trained(bundle: Bundle, device: Device) -> Callable[[], Policy]:
    try:
        import torch

        from simtoreal.policies.load import make_policy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this bundle runs in torch, and {error.name} is not installed here: export it where it is "
            f"(simtoreal export), and serve the folder with {GRAPH_FILE}"
        ) from error
    torch.set_num_threads(1)  # small networks: more threads cost more than they save, and clients share the cores
    return partial(make_policy, bundle, device=resolve_device(device))
