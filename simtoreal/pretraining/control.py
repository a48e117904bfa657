"""Control pretraining: stable-baselines3 trains a head in `GraspState-v0` against the measured perception error.

The head starts from what the scripted servo does (`cloning`), and a curriculum keeps the rest learnable (`curriculum`):
everything at once from the start was tried, and was worse after twice the steps.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
import torch
from gymnasium import Env
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import SubprocVecEnv, VecMonitor

from simtoreal.envs.gym_envs import EnvConfig
from simtoreal.head_interface import ACTION_DIM
from simtoreal.policies.learned_head import LearnedHead, Weights
from simtoreal.pretraining.cloning import Lesson, Reminder, clone_servo, move_actor_slowly
from simtoreal.pretraining.curriculum import CurriculumEnv
from simtoreal.pretraining.head_export import export_actor, load_weights, save_weights
from simtoreal.pretraining.learner_state import restore_learner, save_learner
from simtoreal.pretraining.tracking import Tracker
from simtoreal.progress import Bar, Progress

ALGORITHMS = ("SAC", "PPO", "TD3", "DDPG", "A2C")
_WINDOW = 100  # episodes over which success is averaged
_START_LEVEL = 0.5  # of the curriculum, for a head that has been cloned; it narrows again where that is too much
_LEARNING_RATE = 3e-4
_CLONE_ENTROPY = 0.0005
_NOISE = 0.05  # of deterministic actors, while they explore
_CLONE, _LESSON = "clone.safetensors", "lesson.npz"


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
    cloning_steps: int  # transitions on which the servo is cloned before reinforcement; 0 starts from nothing
    target: str = "harsh"  # randomization whose dynamics and timing the curriculum widens toward
    save_every_steps: int = 10_000
    comparison_episodes: int = 60  # after which the better of clone and trained actor is kept


@dataclass(frozen=True)
class ControlRun:
    """Where a training writes, and whom it tells."""

    folder: Path
    resume: bool
    tracker: Tracker
    progress: Progress


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
        done = restore_learner(model, envs, run.folder) if run.resume else None
        if done is None:
            done = 0
            if plan.cloning_steps:
                lesson = clone_servo(model, envs, plan.cloning_steps, plan.seed, run.progress)
                envs.env_method("set_level", _START_LEVEL)
                lesson.save(run.folder / _LESSON)
                save_weights(export_actor(model), run.folder / _CLONE)
                save_learner(model, envs, run.folder, 0, 0.0)
        left = plan.total_steps - done
        if left > 0:
            with run.progress.task("control", left) as bar:
                callbacks: list[BaseCallback] = [_Watch(plan, run, bar, done)]
                if plan.cloning_steps:
                    callbacks.append(Reminder(Lesson.load(run.folder / _LESSON).tensors(), plan.seed))
                model.learn(left, callback=callbacks, progress_bar=False, reset_num_timesteps=False)
        return _better(export_actor(model), envs, plan, run)
    finally:
        envs.close()


def _better(trained: Weights, envs: VecMonitor, plan: ControlPlan, run: ControlRun) -> Weights:
    """The trained head, or the clone that it started from where reinforcement has made it worse.

    Both meet episodes of all levels of the curriculum. Which was kept is told, and both rates are logged.
    """
    clone = load_weights(run.folder / _CLONE) if plan.cloning_steps else None
    if clone is None or plan.total_steps == 0:
        return trained
    rates = {}
    for name, weights in (("clone", clone), ("trained", trained)):
        with run.progress.task(f"head: {name}", plan.comparison_episodes) as bar:
            rates[name] = success_rate(LearnedHead(weights), envs, plan.comparison_episodes, plan.seed, bar)
        run.tracker.scalar(f"control/{name}", rates[name], plan.total_steps)
    kept = "trained" if rates["trained"] >= rates["clone"] else "clone"
    told = ", ".join(f"{name} {100 * rate:.0f} %" for name, rate in rates.items())
    run.progress.say(f"learned head, {plan.comparison_episodes} episodes of all levels each: {told}; {kept} is kept")
    return trained if kept == "trained" else clone


def success_rate(head: LearnedHead, envs: VecMonitor, num_episodes: int, seed: int, bar: Bar) -> float:
    """Share of successful episodes over all levels of the curriculum; the same episodes for the same seed."""
    envs.env_method("show_all_levels", True)
    envs.seed(seed + 1000)
    observations: Any = envs.reset()
    # The same number from every environment: the first to end are not a fair sample.
    left, successes = np.full(envs.num_envs, -(-num_episodes // envs.num_envs)), []
    while left.any():
        observations, _, dones, infos = envs.step(np.stack([head.forward(row) for row in observations]))
        for i in np.flatnonzero(dones & (left > 0)):
            successes.append(bool(infos[i]["is_success"]))
            left[i] -= 1
            bar.advance()
    envs.env_method("show_all_levels", False)
    return float(np.mean(successes))


def _maker(config: EnvConfig, plan: ControlPlan) -> Callable[[], Env[Any, Any]]:
    def make() -> Env[Any, Any]:
        return CurriculumEnv(config, plan.target)

    return make


def _make_model(plan: ControlPlan, envs: VecMonitor) -> BaseAlgorithm:
    algorithm: Any = getattr(stable_baselines3, plan.algorithm)
    settings: dict[str, Any] = {
        "gamma": plan.gamma,
        "seed": plan.seed,
        "device": "cpu",
        "learning_rate": _LEARNING_RATE,
        "policy_kwargs": {"net_arch": list(plan.net_arch), "activation_fn": torch.nn.ReLU},
    }
    if plan.algorithm == "PPO":
        settings |= {"n_steps": 1024, "batch_size": plan.batch_size}
    elif plan.algorithm != "A2C":
        settings |= {
            # A clone has filled the buffer: there is nothing to explore at random.
            "learning_starts": 0 if plan.cloning_steps else plan.learning_starts,
            "batch_size": plan.batch_size,
            "buffer_size": min(max(plan.cloning_steps + plan.total_steps, 20_000), 400_000),
            "train_freq": 1,
            "gradient_steps": plan.num_envs,
        }
    if plan.algorithm == "SAC":
        # The potential pays hundredths per period: an entropy bonus that starts at one would drown it. A clone is
        # surer of itself than the bonus that adapts would ever let it be.
        settings["ent_coef"] = _CLONE_ENTROPY if plan.cloning_steps else "auto_0.005"
    elif plan.algorithm in ("TD3", "DDPG"):
        settings["action_noise"] = NormalActionNoise(np.zeros(ACTION_DIM), np.full(ACTION_DIM, _NOISE))
    model: BaseAlgorithm = algorithm("MlpPolicy", envs, **settings)
    if plan.cloning_steps:
        move_actor_slowly(model)
    model.set_logger(configure(None, []))  # `_Watch` tells the tracker; critics are trained before `learn` makes one
    return model


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
        self._bar.advance(self.training_env.num_envs, f"success {100 * self._rate:.0f} %")
        if self._steps - self._last_saved >= self._plan.save_every_steps:
            self._save()
        return True

    def _on_training_end(self) -> None:
        self._save()

    @property
    def _rate(self) -> float:
        return float(np.mean(self._successes)) if self._successes else 0.0

    def _save(self) -> None:
        self._last_saved = self._steps
        tracker, steps = self._run.tracker, self._steps
        curriculum = self.training_env.env_method("curriculum_state")
        tracker.scalar("control/success", self._rate, steps)
        tracker.scalar("control/error_scale", float(np.mean([state["error_scale"] for state in curriculum])), steps)
        ends = [end["progress"] for state in curriculum for end in state["adaptive"].values()]
        tracker.scalar("control/level", float(np.mean(ends)), steps)
        for name, values in self._terms.items():
            tracker.scalar(f"reward/{name}", float(np.mean(values)), steps)
        save_learner(self.model, self.training_env, self._run.folder, steps, self._rate)
