"""What a training with stable-baselines3 needs to go on after a kill: weights, optimizers, curriculum, experience.

The library's own files are pickles; these are tensors and arrays.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from simtoreal.pretraining.checkpoints import load_checkpoint, save_checkpoint

_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def save_learner(model: BaseAlgorithm, envs: VecEnv, folder: Path, steps: int, success: float) -> None:
    """Writes `control.pt` and, of an off-policy learner, `replay.npz`.

    Raises:
        OSError: the folder cannot be written; says which and what to do.
    """
    _save_buffer(model, folder)
    save_checkpoint(
        folder / "control.pt",
        {
            "steps": steps,
            "policy": model.policy.state_dict(),
            "optimizers": _optimizer_states(model),
            "curriculum": json.dumps(envs.env_method("curriculum_state")),
            "success": success,
        },
    )


def restore_learner(model: BaseAlgorithm, envs: VecEnv, folder: Path) -> int | None:
    """Takes up what `save_learner` wrote; returns how many steps it has behind it, None where there is nothing.

    Raises:
        ValueError: the checkpoint is cut off.
    """
    state = load_checkpoint(folder / "control.pt")
    if state is None:
        return None
    model.policy.load_state_dict(state["policy"])
    for name, optimizer in _optimizers(model).items():
        optimizer.load_state_dict(state["optimizers"][name])
    entropy = getattr(model, "log_ent_coef", None)
    if entropy is not None:
        with torch.no_grad():
            entropy.copy_(state["optimizers"]["log_ent_coef"])
    for i, curriculum in enumerate(json.loads(state["curriculum"])[: envs.num_envs]):
        envs.env_method("load_curriculum", curriculum, indices=[i])
    _restore_buffer(model, folder / "replay.npz")
    model.num_timesteps = int(state["steps"])
    return model.num_timesteps


def _optimizers(model: BaseAlgorithm) -> dict[str, torch.optim.Optimizer]:
    policy: Any = model.policy
    found = {"policy": getattr(policy, "optimizer", None)}
    for name in ("actor", "critic"):
        part = getattr(policy, name, None)
        found[name] = getattr(part, "optimizer", None)
    found["entropy"] = getattr(model, "ent_coef_optimizer", None)
    return {name: optimizer for name, optimizer in found.items() if optimizer is not None}


def _optimizer_states(model: BaseAlgorithm) -> dict[str, Any]:
    states: dict[str, Any] = {name: optimizer.state_dict() for name, optimizer in _optimizers(model).items()}
    entropy = getattr(model, "log_ent_coef", None)
    if entropy is not None:
        states["log_ent_coef"] = entropy.detach().clone()
    return states


def _save_buffer(model: BaseAlgorithm, folder: Path) -> None:
    buffer: Any = getattr(model, "replay_buffer", None)
    if buffer is None:
        return
    size = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {name: getattr(buffer, name)[:size] for name in _BUFFER}
    partial = folder / "replay.part.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(partial, position=np.array([buffer.pos, int(buffer.full)]), **arrays)
        partial.replace(folder / "replay.npz")
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(
            f"cannot write {folder / 'replay.npz'}: {error}; free space, then go on with resume=true"
        ) from error


def _restore_buffer(model: BaseAlgorithm, path: Path) -> None:
    buffer: Any = getattr(model, "replay_buffer", None)
    if buffer is None or not path.is_file():
        return
    with np.load(path, allow_pickle=False) as data:
        size = len(data["rewards"])
        for name in _BUFFER:
            getattr(buffer, name)[:size] = data[name]
        buffer.pos, buffer.full = int(data["position"][0]), bool(data["position"][1])
