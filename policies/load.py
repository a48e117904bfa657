"""From a bundle on disk to a policy that acts."""

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from simtoreal.bundle import Bundle, BundleError
from simtoreal.contracts import GraspSource
from simtoreal.policies.encoders import EncoderSpec, GraspNet, build_encoder, for_inference
from simtoreal.policies.grasp_policy import GraspPolicy, Head
from simtoreal.policies.learned_grasps import GraspMap, LearnedGrasps
from simtoreal.policies.learned_head import LearnedHead
from simtoreal.policies.residual_head import ResidualHead, split_residual
from simtoreal.policies.servo import ServoHead
from simtoreal.policies.view import ViewSpec

HeadChoice = Literal["bundle", "servo", "learned"]


def view_of(bundle: Bundle) -> ViewSpec:
    """The view a bundle's encoder looks through.

    Raises:
        BundleError: the bundle describes a view that there is not.
    """
    try:
        return ViewSpec(**{**bundle.view, "centre_m": tuple(bundle.view["centre_m"])})
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"bundle.yaml: view: {error}") from error


def view_record(view: ViewSpec) -> dict[str, Any]:
    """A view as plain data for `bundle.yaml`."""
    return {**asdict(view), "centre_m": list(view.centre_m)}


def load_encoder(bundle: Bundle, device: str = "cpu") -> GraspNet:
    """The encoder of a bundle, ready for inference.

    Raises:
        BundleError: the weights do not fit the encoder that the bundle names.
    """
    try:
        net = build_encoder(EncoderSpec(**bundle.encoder))
        net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in bundle.encoder_weights.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        raise BundleError(f"encoder.safetensors does not fit bundle.yaml: {error}") from error
    return net.to(device).eval()


def encoder_weights(net: GraspNet) -> dict[str, NDArray[Any]]:
    """Weights as arrays for a bundle."""
    return {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}


def as_grasp_map(net: GraspNet, device: str = "cpu") -> GraspMap:
    """An encoder as a plain function from one view (C, P, P) to its grasp map (Y, F, h, w)."""
    net = for_inference(net)

    def grasp_map(view: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            batch = torch.from_numpy(view)[None].to(device, memory_format=torch.channels_last)
            result = net(batch)[0].float().cpu().contiguous()
            result[:, 0].sigmoid_()
        return np.asarray(result.numpy())

    return grasp_map


def make_head(bundle: Bundle, choice: HeadChoice = "bundle") -> Head:
    """The head that a bundle names, with the residual that was learned for it, or the other one without any.

    Raises:
        BundleError: the bundle holds no learned head.
    """
    name = bundle.head if choice == "bundle" else choice
    weights, residual = split_residual(bundle.head_weights)
    if name == "learned" and not weights:
        raise BundleError("head=learned, but the bundle holds no learned head; use head=servo or train stage=control")
    try:
        head: Head = ServoHead() if name == "servo" else LearnedHead(weights)
        return ResidualHead(head, residual) if residual and choice == "bundle" else head
    except ValueError as error:
        raise BundleError(f"head.safetensors: {error}") from error


def make_policy(
    bundle: Bundle, head: HeadChoice = "bundle", device: str = "cpu", source: GraspSource | None = None
) -> GraspPolicy:
    """A policy from a bundle; `source` replaces the learned grasps, to test the head alone."""
    looks = source is None
    if source is None:
        source = LearnedGrasps(as_grasp_map(load_encoder(bundle, device), device), view_of(bundle))
    return GraspPolicy(source, make_head(bundle, head), bundle.scale, looks_again=looks)
