"""From an actor of stable-baselines3 to a plain head, which needs neither that library nor torch."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm

from simtoreal.policies.learned_head import OUTPUT_CLIP, LearnedHead, Weights


def export_actor(model: BaseAlgorithm) -> Weights:
    """The deterministic actor as plain layers, checked against the original on random observations.

    Raises:
        ValueError: the plain head does not reproduce the actor.
    """
    policy: Any = model.policy
    if hasattr(policy, "actor") and policy.actor is not None:
        actor = policy.actor
        body = actor.latent_pi if hasattr(actor, "latent_pi") else actor.mu
        linears = [module for module in body if isinstance(module, torch.nn.Linear)]
        if hasattr(actor, "latent_pi"):
            linears.append(actor.mu)
    else:
        linears = [module for module in policy.mlp_extractor.policy_net if isinstance(module, torch.nn.Linear)]
        linears.append(policy.action_net)
    weights: Weights = {}
    for i, linear in enumerate(linears):
        weights[f"layers.{i}.weight"] = linear.weight.detach().cpu().numpy().astype(np.float32).copy()
        weights[f"layers.{i}.bias"] = linear.bias.detach().cpu().numpy().astype(np.float32).copy()
    if not _squashes(model):
        weights[OUTPUT_CLIP] = np.ones(1, dtype=np.float32)
    _check_export(model, weights)
    return weights


def _squashes(model: BaseAlgorithm) -> bool:
    """Off-policy actors end in a tanh; on-policy ones give a mean that is clipped to the action space."""
    return getattr(model.policy, "actor", None) is not None


def _check_export(model: BaseAlgorithm, weights: Weights) -> None:
    head = LearnedHead(weights)
    inputs = np.random.default_rng(0).normal(size=(16, weights["layers.0.weight"].shape[1])).astype(np.float32)
    expected, _ = model.predict(inputs, deterministic=True)
    error = max(float(np.abs(head.forward(x) - y).max()) for x, y in zip(inputs, expected, strict=True))
    if not math.isfinite(error) or error > 1e-4:
        raise ValueError(
            f"exported head differs from the trained actor by {error:.2g}; the export does not fit this actor"
        )


def save_weights(weights: Weights, path: Path) -> None:
    """Keeps the weights of a head beside the checkpoints of its training."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)


def load_weights(path: Path) -> Weights | None:
    """What `save_weights` kept; None where it did not."""
    return dict(load_file(path)) if path.is_file() else None
