"""From a bundle on disk to a policy that acts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simtoreal.bundle import Bundle, BundleError
from simtoreal.contracts import GraspSource
from simtoreal.policies.encoders import EncoderSpec, GraspNet, build_encoder, for_inference
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.learned_grasps import GraspMap, LearnedGrasps
from simtoreal.policies.parts import HeadChoice, make_head, view_of
from simtoreal.policies.view import View, ViewSpec, to_tensor

TensorMap = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (C, P, P) to (Y, F, h, w), qualities in [0, 1]


def load_encoder(bundle: Bundle, device: str = "cpu") -> GraspNet:
    """The encoder of a bundle, ready for inference.

    Raises:
        BundleError: the weights do not fit the encoder that the bundle names, or it was exported and holds none.
    """
    if not bundle.encoder_weights:
        raise BundleError(
            "encoder.safetensors does not fit bundle.yaml: there are no weights; an exported folder can be evaluated "
            "and deployed, for everything else give the bundle it was made from"
        )
    try:
        net = build_encoder(EncoderSpec(**bundle.encoder))
        net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in bundle.encoder_weights.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        raise BundleError(f"encoder.safetensors does not fit bundle.yaml: {error}") from error
    return net.to(device).eval()


def encoder_weights(net: GraspNet) -> dict[str, NDArray[Any]]:
    """Weights as arrays for a bundle."""
    return {name: value.detach().cpu().numpy() for name, value in net.state_dict().items()}


def as_grasp_map(net: GraspNet, device: str = "cpu") -> TensorMap:
    """An encoder as a plain function from one view (C, P, P) to its grasp map (Y, F, h, w)."""
    net = for_inference(net)

    def grasp_map(view: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            batch = torch.from_numpy(view)[None].to(device, memory_format=torch.channels_last)
            result = net(batch)[0].float().cpu().contiguous()
            result[:, 0].sigmoid_()
        return np.asarray(result.numpy())

    return grasp_map


def make_policy(
    bundle: Bundle, head: HeadChoice = "bundle", device: str = "cpu", source: GraspSource | None = None
) -> GraspPolicy:
    """A policy from a bundle; `source` replaces the learned grasps, to test the head alone."""
    looks = source is None
    if source is None:
        source = LearnedGrasps(learned_grasp_map(bundle, device), view_of(bundle))
    return GraspPolicy(source, make_head(bundle, head), bundle.scale, looks_again=looks)


def learned_grasp_map(bundle: Bundle, device: str = "cpu") -> GraspMap:
    """The encoder of a bundle as a function from a canonical view to its grasp map.

    Raises:
        BundleError: the weights or the view do not fit.
    """
    return map_of_views(load_encoder(bundle, device), view_of(bundle), device)


def map_of_views(net: GraspNet, spec: ViewSpec, device: str = "cpu") -> GraspMap:
    """An encoder as a function from a canonical view to its grasp map."""
    answer = as_grasp_map(net, device)

    def grasp_map(view: View) -> NDArray[np.float32]:
        return answer(to_tensor(view, spec))

    return grasp_map
