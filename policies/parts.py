"""What a bundle says of its policy, but for the encoder: no torch here, so that the robot's computer can read it."""

from dataclasses import asdict
from typing import Any, Literal

from simtoreal.bundle import Bundle, BundleError
from simtoreal.policies.grasp_policy import Head
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
