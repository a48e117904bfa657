"""A policy bundle as a service."""

from pathlib import Path

import torch

from simtoreal.bundle import load_bundle
from simtoreal.config import Device
from simtoreal.contracts import Policy
from simtoreal.policies.load import make_policy
from simtoreal.preflight import resolve_device
from simtoreal.serving.messages import IMAGE, WRIST_IMAGE
from simtoreal.serving.policy_service import PolicyDescription, PolicyService


def open_bundle(folder: Path, device: Device) -> PolicyService:
    """Serves the policy in a folder.

    Raises:
        BundleError: it is no bundle, or broken.
        ConfigError: the device is not there.
    """
    torch.set_num_threads(1)  # small networks: more threads cost more than they save, and clients share the cores
    bundle, resolved = load_bundle(folder), resolve_device(device)
    description = PolicyDescription(
        name=folder.name,
        control_hz=bundle.scale.control_hz,
        image_key=WRIST_IMAGE if bundle.camera.placement == "wrist" else IMAGE,
        sees_colour=bundle.camera.modality != "depth",
        sees_depth=bundle.camera.modality != "rgb",
    )

    def new_policy() -> Policy:
        return make_policy(bundle, device=resolved)

    new_policy()  # a bundle that does not fit together is refused before anybody connects
    return PolicyService(new_policy, description)
