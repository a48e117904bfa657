"""A head that starts from what the scripted servo does, and not from nothing.

Reinforcement learning from random motion has to find by chance what closes, lifts and holds for a second: after 30,000
steps 14 to 22 % of the episodes succeeded. The servo knows it; its motion is cloned first (DAgger, Ross et al. 2011,
arXiv 1011.0686: the learner moves, the teacher says what it would have done), and reinforcement goes on from there.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional as F

from simtoreal.head_interface import ACTION_DIM
from simtoreal.progress import Progress

_ROUNDS = 10
_LEARNER_FRAC = 0.8  # of the episodes after the first round are moved by the learner, the others by the teacher
_NOISES = (0.0, 0.05, 0.15)  # on the motion of the teacher: what it corrects is worth more than what it does right
_ROUND_STEPS, _LAST_STEPS, _BATCH = 600, 4000, 512  # of gradient
_LEARNING_RATES = (1e-3, 1e-5)
_CRITIC_STEPS = 3000
_REMINDER_RATE = 2e-4
_ACTOR_RATE_FRAC = 0.03  # of what critics learn at
_LOG_STD = -2.5  # of an actor that knows what to do: exploration is a few per cent of the range of its actions
_NO_NOISE_ON_JAWS = np.array([1.0] * (ACTION_DIM - 1) + [0.0])


@dataclass(frozen=True)
class Lesson:
    """What the teacher said where, (N, OBSERVATION_DIM) and (N, ACTION_DIM)."""

    observations: list[NDArray[np.float32]] = field(default_factory=list)
    actions: list[NDArray[np.float32]] = field(default_factory=list)

    def tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(np.stack(self.observations)), torch.from_numpy(np.stack(self.actions))

    def save(self, path: Path) -> None:
        """Keeps the lesson beside the checkpoints, for a training that is taken up again."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, observations=np.stack(self.observations), actions=np.stack(self.actions))

    @classmethod
    def load(cls, path: Path) -> "Lesson":
        """What `save` kept."""
        with np.load(path, allow_pickle=False) as data:
            return cls(list(data["observations"]), list(data["actions"]))


class _SlowAdam(torch.optim.Adam):
    """Adam at a share of the rate it is told, because the library tells actors and critics the same."""

    def step(self, closure: Any = None) -> Any:
        told = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] *= _ACTOR_RATE_FRAC
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, told, strict=True):
                group["lr"] = rate


def move_actor_slowly(model: BaseAlgorithm) -> None:
    """Lets the critics of an off-policy learner find out what its actor does before they move it.

    Critics are wrong about what nobody has done yet, and an actor at their rate follows them there: a clone that always
    succeeded fell to nothing within 1,000 steps, with or without a `Reminder`; this slow it stayed, and got surer.
    """
    actor: Any = getattr(model.policy, "actor", None)
    if actor is not None:
        actor.optimizer = _SlowAdam(actor.parameters(), lr=actor.optimizer.param_groups[0]["lr"])


class Reminder(BaseCallback):
    """Keeps an actor near what it was taught while reinforcement moves it: a step on the lesson in every period.

    DAPG (Rajeswaran et al. 2017, arXiv 1709.10087) adds the same term.
    """

    def __init__(self, lesson: tuple[Tensor, Tensor], seed: int) -> None:
        super().__init__()
        self._lesson = lesson
        self._generator = torch.Generator().manual_seed(seed)

    def _on_training_start(self) -> None:
        self._optimizer = torch.optim.Adam(self.model.policy.parameters(), lr=_REMINDER_RATE)

    def _on_step(self) -> bool:
        _descend(self.model, self._lesson, self._optimizer, self._generator)
        return True


def clone_servo(model: BaseAlgorithm, envs: VecEnv, num_steps: int, seed: int, progress: Progress) -> Lesson:
    """Teaches an actor the servo's motion on `num_steps` transitions of all levels of the curriculum.

    Every transition also goes to the replay buffer of an off-policy learner, whose critics are then trained on them
    while the actor stands still: critics that know nothing would first talk it out of what it knows.

    Args:
        model: its actor is changed in place.
        envs: `CurriculumEnv`s.
        num_steps: transitions, over all environments.
        seed: of the choice between teacher and learner, and of batches.
        progress: shows a bar.

    Returns:
        What the teacher said, for a `Reminder`.
    """
    rng, lesson = np.random.default_rng((seed, 1)), Lesson()
    generator = torch.Generator().manual_seed(seed)
    envs.env_method("show_all_levels", True)
    walk = _Walk(model, envs, rng)
    per_round = max(1, num_steps // (_ROUNDS * envs.num_envs))
    with progress.task("cloning the servo", _ROUNDS * per_round * envs.num_envs) as bar:
        for _ in range(_ROUNDS):
            for _ in range(per_round):
                walk.step(lesson)
                bar.advance(envs.num_envs)
            loss = _fit(model, lesson, _ROUND_STEPS, generator, falling=False)
            walk.learner_frac = _LEARNER_FRAC
            bar.advance(0, f"loss {loss:.3f}")
    _fit(model, lesson, _LAST_STEPS, generator, falling=True)
    envs.env_method("show_all_levels", False)
    _calm(model)
    _train_critics(model, progress)
    return lesson


class _Walk:
    """Steps through the environments, each episode moved by the teacher or by the learner."""

    def __init__(self, model: BaseAlgorithm, envs: VecEnv, rng: np.random.Generator) -> None:
        self._model, self._envs, self._rng = model, envs, rng
        self.learner_frac = 0.0
        self._observations: Any = envs.reset()
        self._drawn = [self._draw() for _ in range(envs.num_envs)]

    def step(self, lesson: Lesson) -> None:
        before = self._observations
        wanted = np.stack(self._envs.env_method("demonstrate"))
        actions, _ = self._model.predict(before, deterministic=True)
        for i, (is_learner, noise) in enumerate(self._drawn):
            if not is_learner:
                shaken = wanted[i] + self._rng.normal(0.0, noise, ACTION_DIM) * _NO_NOISE_ON_JAWS
                actions[i] = np.clip(shaken, -1.0, 1.0)
        after, rewards, dones, infos = self._envs.step(actions)
        lesson.observations.extend(before)
        lesson.actions.extend(wanted)
        self._remember(before, after, actions, rewards, dones, infos)
        self._observations = after
        self._drawn = [self._draw() if done else drawn for done, drawn in zip(dones, self._drawn, strict=True)]

    def _draw(self) -> tuple[bool, float]:
        return bool(self._rng.random() < self.learner_frac), float(self._rng.choice(_NOISES))

    def _remember(self, before: Any, after: Any, actions: Any, rewards: Any, dones: Any, infos: Any) -> None:
        buffer: Any = getattr(self._model, "replay_buffer", None)
        if buffer is None:
            return
        following = after.copy()
        for i in np.flatnonzero(dones):  # `after` already shows the next episode there
            following[i] = infos[i]["terminal_observation"]
        buffer.add(before, following, actions, rewards, dones, infos)


def mean_action(model: BaseAlgorithm, observations: Tensor) -> Tensor:
    """The deterministic action (N, ACTION_DIM) of any actor of stable-baselines3, with its gradient."""
    policy: Any = model.policy
    actor = getattr(policy, "actor", None)
    if actor is None:
        action: Tensor = policy.get_distribution(observations).distribution.mean
    elif hasattr(actor, "get_action_dist_params"):
        action = torch.tanh(actor.get_action_dist_params(observations)[0])
    else:
        action = actor(observations)
    return action


def _fit(model: BaseAlgorithm, lesson: Lesson, num_steps: int, generator: torch.Generator, falling: bool) -> float:
    """Gradient steps on everything that the teacher said so far; returns the last loss."""
    tensors = lesson.tensors()
    first, last = _LEARNING_RATES
    optimizer = torch.optim.Adam(model.policy.parameters(), lr=first)
    loss = 0.0
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = first * (last / first) ** (step / num_steps) if falling else first
        loss = _descend(model, tensors, optimizer, generator)
    return loss


def _descend(
    model: BaseAlgorithm,
    lesson: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> float:
    """One gradient step on a batch of the lesson; returns its loss."""
    observations, actions = lesson
    index = torch.randint(0, len(observations), (_BATCH,), generator=generator)
    loss = F.smooth_l1_loss(mean_action(model, observations[index]), actions[index], beta=0.1)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _calm(model: BaseAlgorithm) -> None:
    """Lets an actor explore around what it has learned and no farther."""
    policy: Any = model.policy
    actor: Any = getattr(policy, "actor", None)
    with torch.no_grad():
        if hasattr(policy, "log_std"):
            policy.log_std.fill_(_LOG_STD)
        elif hasattr(actor, "log_std"):
            actor.log_std.weight.mul_(0.1)
            actor.log_std.bias.fill_(_LOG_STD)
    if hasattr(policy, "actor_target"):
        policy.actor_target.load_state_dict(actor.state_dict())


def _train_critics(model: BaseAlgorithm, progress: Progress) -> None:
    if not isinstance(model, OffPolicyAlgorithm):
        return
    policy: Any = model.policy
    steps_left, step = _CRITIC_STEPS, 100
    policy.actor.requires_grad_(False)  # an optimizer leaves alone what has no gradient
    try:
        with progress.task("critics", math.ceil(steps_left / step)) as bar:
            while steps_left > 0:
                model.train(gradient_steps=min(step, steps_left), batch_size=model.batch_size)
                steps_left -= step
                bar.advance()
    finally:
        policy.actor.requires_grad_(True)
