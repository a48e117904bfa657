"""Cloning: the actor does what the servo does, critics learn while it stands still, and all levels are shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stable_baselines3
import torch
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from simtoreal.envs.gym_envs import EnvConfig
from simtoreal.pretraining import cloning
from simtoreal.pretraining.cloning import Lesson, Reminder, clone_servo, mean_action, move_actor_slowly
from simtoreal.pretraining.control import ALGORITHMS
from simtoreal.pretraining.curriculum import CurriculumEnv
from simtoreal.progress import Progress


@pytest.fixture
def envs(objects_dir: Path) -> Any:
    vector = VecMonitor(DummyVecEnv([lambda: CurriculumEnv(EnvConfig((str(objects_dir),), "mild"), "harsh")]))
    vector.seed(0)
    yield vector
    vector.close()


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloning, "_ROUND_STEPS", 20)
    monkeypatch.setattr(cloning, "_LAST_STEPS", 600)
    monkeypatch.setattr(cloning, "_CRITIC_STEPS", 50)


def new_model(name: str, envs: Any) -> Any:
    torch.manual_seed(0)
    options: dict[str, Any] = {} if name in ("PPO", "A2C") else {"buffer_size": 2000, "batch_size": 32}
    kwargs = {"net_arch": [64, 64], "activation_fn": torch.nn.ReLU}
    model = getattr(stable_baselines3, name)("MlpPolicy", envs, device="cpu", policy_kwargs=kwargs, seed=0, **options)
    model.set_logger(configure(None, []))
    return model


def teacher_and_learner(model: Any, envs: Any, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Actions (N, 5) of both, along a path of the teacher."""
    wanted, done = [], []
    observations = envs.reset()
    for _ in range(num_steps):
        wanted.append(envs.env_method("demonstrate")[0])
        done.append(model.predict(observations, deterministic=True)[0][0])
        observations = envs.step(wanted[-1][None])[0]
    return np.stack(wanted), np.stack(done)


@pytest.mark.usefixtures("few_steps")
def test_a_clone_does_what_the_servo_does(envs: Any, quiet: Progress):
    model = new_model("SAC", envs)
    clone_servo(model, envs, 1500, 0, quiet)
    wanted, done = teacher_and_learner(model, envs, 200)
    assert np.corrcoef(done[:, 2], wanted[:, 2])[0, 1] > 0.5, "it goes down and up when the servo does"
    assert (np.sign(done[:, 4]) == np.sign(wanted[:, 4])).mean() > 0.9, "the jaws open and close when the servo's do"


@pytest.mark.usefixtures("few_steps")
def test_experience_is_kept_and_critics_learn_while_the_actor_stands_still(
    envs: Any, quiet: Progress, monkeypatch: pytest.MonkeyPatch
):
    model = new_model("SAC", envs)
    critic = [weight.clone() for weight in model.critic.parameters()]
    actors: list[list[torch.Tensor]] = []
    calm = cloning._calm
    monkeypatch.setattr(
        cloning, "_calm", lambda m: (calm(m), actors.append([w.clone() for w in m.actor.parameters()]))[0]
    )
    clone_servo(model, envs, 200, 0, quiet)
    assert model.replay_buffer.pos == 200
    assert np.isfinite(model.replay_buffer.rewards[:200]).all()
    assert all(torch.equal(a, b) for a, b in zip(actors[0], model.actor.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(critic, model.critic.parameters(), strict=True))
    assert all(weight.requires_grad for weight in model.actor.parameters())


@pytest.mark.usefixtures("few_steps")
def test_what_ended_an_episode_is_remembered_and_not_how_the_next_one_began(envs: Any, quiet: Progress):
    model = new_model("SAC", envs)
    clone_servo(model, envs, 400, 0, quiet)
    buffer = model.replay_buffer
    ends = np.flatnonzero(buffer.dones[:400, 0])
    assert len(ends) > 1
    for i in ends[:-1]:  # an episode begins with no recent actions and ends with some
        assert np.abs(buffer.next_observations[i, 0, -15:]).sum() > 0.0
        assert np.abs(buffer.observations[i + 1, 0, -15:]).sum() == 0.0


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_can_start_from_a_clone(name: str, envs: Any, quiet: Progress):
    model = new_model(name, envs)
    clone_servo(model, envs, 60, 0, quiet)
    observations = np.random.default_rng(0).normal(size=(20, *envs.observation_space.shape)).astype(np.float32)
    expected, _ = model.predict(observations, deterministic=True)
    with torch.no_grad():
        mean = mean_action(model, torch.from_numpy(observations)).numpy()
    np.testing.assert_allclose(np.clip(mean, -1.0, 1.0), expected, atol=1e-5)
    assert np.isfinite(expected).all()


def test_a_slow_actor_moves_a_share_of_what_it_would(envs: Any):
    moved = []
    for slowly in (False, True):
        model = new_model("SAC", envs)
        if slowly:
            move_actor_slowly(model)
        before = [weight.detach().clone() for weight in model.actor.parameters()]
        for weight in model.actor.parameters():
            weight.grad = torch.ones_like(weight)
        model.actor.optimizer.step()
        moved.append(
            max(float((a - b.detach()).abs().max()) for a, b in zip(before, model.actor.parameters(), strict=True))
        )
        assert model.actor.optimizer.param_groups[0]["lr"] == model.learning_rate, "what the library tells it stays"
    assert moved[1] == pytest.approx(cloning._ACTOR_RATE_FRAC * moved[0], rel=1e-2)


@pytest.mark.usefixtures("few_steps")
def test_a_reminder_leads_an_actor_back_to_its_lesson_after_a_restart(envs: Any, quiet: Progress, tmp_path: Path):
    model = new_model("SAC", envs)
    clone_servo(model, envs, 300, 0, quiet).save(tmp_path / "lesson.npz")
    observations, actions = Lesson.load(tmp_path / "lesson.npz").tensors()

    def distance() -> float:
        with torch.no_grad():
            return float((mean_action(model, observations) - actions).abs().mean())

    with torch.no_grad():
        for weight in model.actor.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    astray = distance()
    reminder = Reminder((observations, actions), 0)
    reminder.init_callback(model)
    reminder.on_training_start({}, {})
    for _ in range(300):
        reminder.on_step()
    assert distance() < 0.7 * astray


def test_all_levels_are_shown_and_then_one_can_be_set(envs: Any):
    envs.env_method("show_all_levels", True)
    levels = []
    for _ in range(8):
        envs.reset()
        levels.append(envs.get_attr("ranges")[0].progress)
    assert min(levels) < 0.35
    assert max(levels) > 0.65
    envs.env_method("show_all_levels", False)
    envs.env_method("set_level", 0.5)
    envs.reset()
    assert envs.get_attr("ranges")[0].progress == pytest.approx(0.5)
    assert envs.get_attr("error_scale")[0] == pytest.approx(0.5)
