"""Control pretraining: stable-baselines3 trains a head in `GraspState-v0` against the measured perception error.

A curriculum keeps it learnable: perception error and dynamics start small and widen while success holds (automatic
domain randomization). Everything at once from the start was tried, and was worse after twice the steps.
"""

import json
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
import torch
from gymnasium import Env
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import SubprocVecEnv, VecMonitor

from simtoreal.envs.adaptive import AdaptiveRandomization, AdaptiveSettings
from simtoreal.envs.gym_envs import EnvConfig, GraspStateEnv
from simtoreal.envs.randomization import load_randomization
from simtoreal.head_interface import ACTION_DIM
from simtoreal.policies.learned_head import OUTPUT_CLIP, LearnedHead, Weights
from simtoreal.policies.servo import ServoHead
from simtoreal.pretraining.checkpoints import load_checkpoint, save_checkpoint
from simtoreal.pretraining.tracking import Tracker
from simtoreal.progress import Bar, Progress

ALGORITHMS = ("SAC", "PPO", "TD3", "DDPG", "A2C")
_WINDOW = 100  # episodes over which success is averaged
_ERROR_STEP, _ERROR_AT = 0.1, 0.8  # the perception error grows by this much when so many episodes succeed
_START_ERROR = 0.3
_ADAPTIVE = AdaptiveSettings(num_probes=6, step=0.34)


@dataclass(frozen=True)
class ControlPlan:
    """How the head is trained."""

    algorithm: str
    total_steps: int
    num_envs: int
    learning_starts: int
    batch_size: int
    gamma: float
    net_arch: tuple[int, ...]
    seed: int
    target: str = "harsh"  # randomization whose dynamics and timing the curriculum widens toward
    save_every_steps: int = 10_000
    demonstration_steps: int = 6_000  # transitions of the servo that an off-policy learner starts from


@dataclass(frozen=True)
class ControlRun:
    """Where a training writes, and whom it tells."""

    folder: Path
    resume: bool
    tracker: Tracker
    progress: Progress


class CurriculumEnv(GraspStateEnv):
    """`GraspState` whose dynamics widen by itself and whose perception error widens with success."""

    def __init__(self, config: EnvConfig, target: str) -> None:
        ranges = load_randomization(target)
        super().__init__(config, AdaptiveRandomization(ranges.dynamics, ranges.timing, _ADAPTIVE))
        self.error_scale = _START_ERROR
        self._recent: deque[bool] = deque(maxlen=40)
        self._misses_told = 0

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = super().step(action)
        if result[2] or result[3]:
            self._recent.append(bool(result[4]["is_success"]))
            if len(self._recent) == self._recent.maxlen and np.mean(self._recent) > _ERROR_AT:
                self.error_scale = min(1.0, self.error_scale + _ERROR_STEP)
                self._recent.clear()
        return result

    def demonstrate(self, servo: ServoHead) -> NDArray[np.float64]:
        """What the scripted servo would do now."""
        if self.num_misses > self._misses_told:
            servo.retry()
        self._misses_told = self.num_misses
        return servo.act(self._observation, self._estimate(), self._interface)

    def curriculum_state(self) -> dict[str, Any]:
        assert self.adaptive is not None
        return {"error_scale": self.error_scale, "adaptive": self.adaptive.state_dict()}

    def load_curriculum(self, state: dict[str, Any]) -> None:
        assert self.adaptive is not None
        self.error_scale = float(state["error_scale"])
        self.adaptive.load_state_dict(state["adaptive"])


def train_head(config: EnvConfig, plan: ControlPlan, run: ControlRun) -> Weights:
    """Trains a head and returns its weights as plain arrays.

    Raises:
        ValueError: stable-baselines3 has no such algorithm for continuous actions.
    """
    if plan.algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {ALGORITHMS}, got {plan.algorithm!r}")
    torch.set_num_threads(1)  # beside the simulator processes on few cores, more would slow down both
    envs = VecMonitor(SubprocVecEnv([_maker(config, plan) for _ in range(plan.num_envs)], start_method="spawn"))
    try:
        envs.seed(plan.seed)
        model = _make_model(plan, envs)
        state = load_checkpoint(run.folder / "control.pt") if run.resume else None
        done = 0
        if state is not None:
            done = _restore(model, envs, state, run.folder)
        elif isinstance(model, OffPolicyAlgorithm) and plan.demonstration_steps:
            _add_demonstrations(model, config, plan, run.progress)
        left = plan.total_steps - done
        if left > 0:
            with run.progress.task("control", left) as bar:
                model.learn(left, callback=_Watch(plan, run, bar, done), progress_bar=False, reset_num_timesteps=False)
        return export_actor(model)
    finally:
        envs.close()


def _maker(config: EnvConfig, plan: ControlPlan) -> Callable[[], Env[Any, Any]]:
    def make() -> Env[Any, Any]:
        return CurriculumEnv(config, plan.target)

    return make


def _make_model(plan: ControlPlan, envs: VecMonitor) -> BaseAlgorithm:
    algorithm: Any = getattr(stable_baselines3, plan.algorithm)
    common: dict[str, Any] = {
        "gamma": plan.gamma,
        "seed": plan.seed,
        "device": "cpu",
        "policy_kwargs": {"net_arch": list(plan.net_arch), "activation_fn": torch.nn.ReLU},
    }
    if plan.algorithm in ("PPO", "A2C"):
        if plan.algorithm == "PPO":
            common |= {"n_steps": 1024, "batch_size": plan.batch_size}
        model: BaseAlgorithm = algorithm("MlpPolicy", envs, **common)
        return model
    if plan.algorithm == "SAC":
        # The potential pays hundredths per period: an entropy bonus that starts at one would drown it.
        common["ent_coef"] = "auto_0.02"
    model = algorithm(
        "MlpPolicy",
        envs,
        learning_starts=plan.learning_starts,
        batch_size=plan.batch_size,
        buffer_size=min(max(plan.total_steps, 20_000), 400_000),
        train_freq=1,
        gradient_steps=plan.num_envs,
        learning_rate=5e-4,
        **common,
    )
    return model


def _add_demonstrations(model: OffPolicyAlgorithm, config: EnvConfig, plan: ControlPlan, progress: Progress) -> None:
    """Fills the replay buffer with what the scripted servo does: an off-policy learner may learn from anybody."""
    assert model.replay_buffer is not None
    env = CurriculumEnv(config, plan.target)
    servo = ServoHead()
    stored: list[list[Any]] = []
    observation, _ = env.reset(seed=plan.seed + 1)
    servo.reset()
    rng = np.random.default_rng(plan.seed + 1)
    with progress.task("demonstrations", plan.demonstration_steps) as bar:
        for _ in range(plan.demonstration_steps):
            wanted = env.demonstrate(servo) + rng.normal(0.0, 0.15, ACTION_DIM) * (1, 1, 1, 1, 0)
            action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
            following, reward, terminated, truncated, _ = env.step(action)
            stored.append([observation, following, action, reward, terminated, truncated and not terminated])
            observation = following
            if terminated or truncated:
                observation, _ = env.reset()
                servo.reset()
            bar.advance()
    env.close()
    num_envs = model.n_envs
    for start in range(0, len(stored) - num_envs + 1, num_envs):
        rows = stored[start : start + num_envs]
        columns = [np.stack([np.asarray(row[i]) for row in rows]) for i in range(4)]
        done = np.array([float(row[4]) for row in rows], dtype=np.float32)
        infos = [{"TimeLimit.truncated": bool(row[5])} for row in rows]
        model.replay_buffer.add(columns[0], columns[1], columns[2], columns[3], done, infos)


class _Watch(BaseCallback):
    """Progress, curves and checkpoints."""

    def __init__(self, plan: ControlPlan, run: ControlRun, bar: Bar, done: int) -> None:
        super().__init__()
        self._plan, self._run, self._bar, self._done = plan, run, bar, done
        self._successes: deque[bool] = deque(maxlen=_WINDOW)
        self._terms: dict[str, deque[float]] = {}
        self._last_saved = done

    @property
    def _steps(self) -> int:
        return self._done + self.n_calls * self.training_env.num_envs

    def _on_step(self) -> bool:
        for info, done in zip(self.locals["infos"], self.locals["dones"], strict=True):
            for name, value in info.get("reward_terms", {}).items():
                self._terms.setdefault(name, deque(maxlen=2000)).append(value)
            if done:
                self._successes.append(bool(info["is_success"]))
        rate = float(np.mean(self._successes)) if self._successes else 0.0
        self._bar.advance(self.training_env.num_envs, f"success {100 * rate:.0f} %")
        if self._steps - self._last_saved >= self._plan.save_every_steps:
            self._save(rate)
        return True

    def _on_training_end(self) -> None:
        self._save(float(np.mean(self._successes)) if self._successes else 0.0)

    def _save(self, rate: float) -> None:
        self._last_saved = self._steps
        curriculum = self.training_env.env_method("curriculum_state")
        self._run.tracker.scalar("control/success", rate, self._steps)
        self._run.tracker.scalar(
            "control/error_scale", float(np.mean([state["error_scale"] for state in curriculum])), self._steps
        )
        for name, values in self._terms.items():
            self._run.tracker.scalar(f"reward/{name}", float(np.mean(values)), self._steps)
        _save_buffer(self.model, self._run.folder)
        save_checkpoint(
            self._run.folder / "control.pt",
            {
                "steps": self._steps,
                "policy": self.model.policy.state_dict(),
                "optimizers": _optimizer_states(self.model),
                "curriculum": json.dumps(curriculum),
                "success": rate,
            },
        )


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
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return
    size = buffer.buffer_size if buffer.full else buffer.pos
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    arrays = {name: getattr(buffer, name)[:size] for name in names}
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


def _restore(model: BaseAlgorithm, envs: VecMonitor, state: dict[str, Any], folder: Path) -> int:
    model.policy.load_state_dict(state["policy"])
    for name, optimizer in _optimizers(model).items():
        optimizer.load_state_dict(state["optimizers"][name])
    entropy = getattr(model, "log_ent_coef", None)
    if entropy is not None:
        with torch.no_grad():
            entropy.copy_(state["optimizers"]["log_ent_coef"])
    for i, curriculum in enumerate(json.loads(state["curriculum"])[: envs.num_envs]):
        envs.env_method("load_curriculum", curriculum, indices=[i])
    buffer: Any = getattr(model, "replay_buffer", None)
    if buffer is not None and (folder / "replay.npz").is_file():
        with np.load(folder / "replay.npz", allow_pickle=False) as data:
            size = len(data["rewards"])
            for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
                getattr(buffer, name)[:size] = data[name]
            buffer.pos, buffer.full = int(data["position"][0]), bool(data["position"][1])
    model.num_timesteps = int(state["steps"])
    return int(state["steps"])


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
    if not policy_squashes(model):
        weights[OUTPUT_CLIP] = np.ones(1, dtype=np.float32)
    _check_export(model, weights)
    return weights


def policy_squashes(model: BaseAlgorithm) -> bool:
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
