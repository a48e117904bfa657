"""Control training: it survives a kill, and what it exports is the actor that it trained."""

import dataclasses
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces

from simtoreal.envs.gym_envs import EnvConfig
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM
from simtoreal.policies.learned_head import LearnedHead, Weights
from simtoreal.pretraining import cloning, control
from simtoreal.pretraining.checkpoints import load_checkpoint, save_checkpoint
from simtoreal.pretraining.control import ALGORITHMS, ControlPlan, ControlRun, train_head
from simtoreal.pretraining.curriculum import CurriculumEnv
from simtoreal.pretraining.head_export import export_actor, load_weights
from simtoreal.progress import Progress

PLAN = ControlPlan(
    algorithm="SAC",
    total_steps=300,
    num_envs=1,
    learning_starts=60,
    batch_size=16,
    gamma=0.97,
    net_arch=(16, 16),
    seed=0,
    cloning_steps=40,
    target="default",
    save_every_steps=100,
    comparison_episodes=1,
)


@pytest.fixture(autouse=True)
def short_cloning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_ROUND_STEPS", "_LAST_STEPS", "_CRITIC_STEPS"):
        monkeypatch.setattr(cloning, name, 5)


@pytest.fixture
def config(objects_dir: Path) -> EnvConfig:
    return EnvConfig((str(objects_dir),), "mild")


class Spaces(gymnasium.Env[Any, Any]):
    """Only the spaces of the control stage, to build a model without a simulator."""

    observation_space = spaces.Box(-5.0, 5.0, (OBSERVATION_DIM,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(OBSERVATION_DIM, np.float32), {}


def finite(weights: Weights) -> bool:
    return bool(weights) and all(np.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_exported_head_says_what_the_trained_actor_says(name: str):
    torch.manual_seed(3)
    options: dict[str, Any] = {} if name in ("PPO", "A2C") else {"buffer_size": 10}
    kwargs = {"net_arch": [24, 16], "activation_fn": torch.nn.ReLU}
    model = getattr(stable_baselines3, name)("MlpPolicy", Spaces(), device="cpu", policy_kwargs=kwargs, **options)
    with torch.no_grad():  # large enough to meet the bounds of the action space
        for weight in model.policy.parameters():
            weight.mul_(3.0)
    head = LearnedHead(export_actor(model))
    inputs = np.random.default_rng(0).normal(0.0, 2.0, (50, OBSERVATION_DIM)).astype(np.float32)
    expected, _ = model.predict(inputs, deterministic=True)
    assert np.abs(expected).max() > 0.5
    for x, y in zip(inputs, expected, strict=True):
        assert head.forward(x) == pytest.approx(y, abs=1e-4)


def test_an_actor_that_the_plain_head_cannot_express_is_refused():
    kwargs = {"net_arch": [8], "activation_fn": torch.nn.Tanh}
    model = stable_baselines3.SAC("MlpPolicy", Spaces(), device="cpu", buffer_size=10, policy_kwargs=kwargs)
    with pytest.raises(ValueError, match="differs from the trained actor"):
        export_actor(model)


class Killed(Exception):
    """Stands for a kill right after a checkpoint."""


class KilledTracker:
    """Ends the process when the curves of `step` are written, which is before that checkpoint is."""

    def __init__(self, step: int) -> None:
        self._step = step

    def scalar(self, name: str, value: float, step: int) -> None:
        if step >= self._step:
            raise Killed

    def close(self) -> None: ...


def test_a_killed_training_goes_on_from_its_last_checkpoint(
    config: EnvConfig, curves: Any, quiet: Progress, tmp_path: Path
):
    folder = tmp_path / "not" / "there" / "yet"
    with pytest.raises(Killed):
        train_head(config, PLAN, ControlRun(folder, False, KilledTracker(300), quiet))
    state = load_checkpoint(folder / "control.pt")
    assert state is not None
    assert state["steps"] == 200
    with np.load(folder / "replay.npz") as replay:  # demonstrations, and experience but for the step under way
        assert len(replay["rewards"]) == 40 + 199
    longer = dataclasses.replace(PLAN, total_steps=400)
    weights = train_head(config, longer, ControlRun(folder, True, curves, quiet))
    assert finite(weights)
    assert curves.steps["control/success"][0] == 300
    assert curves.steps["control/success"][-1] == 400
    assert {"control/error_scale", "reward/reach", "reward/success"} <= set(curves.values)
    # A finished training is only read.
    again = train_head(config, longer, ControlRun(folder, True, curves, quiet))
    assert all(np.array_equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize(("clone", "trained"), [(0.9, 0.2), (0.5, 0.5), (0.1, 0.8)])
def test_reinforcement_that_made_the_clone_worse_is_not_kept(
    clone: float, trained: float, config: EnvConfig, curves: Any, quiet: Progress, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    rates = iter((clone, trained))
    monkeypatch.setattr(control, "success_rate", lambda *_: next(rates))
    plan = dataclasses.replace(PLAN, total_steps=60)
    kept = train_head(config, plan, ControlRun(tmp_path, False, curves, quiet))
    cloned = load_weights(tmp_path / "clone.safetensors")
    assert cloned is not None
    is_clone = all(np.array_equal(kept[name], cloned[name]) for name in kept)
    assert is_clone == (clone > trained)
    assert curves.values["control/clone"] == [clone]
    assert curves.values["control/trained"] == [trained]


def test_the_same_seed_trains_the_same_head(config: EnvConfig, curves: Any, quiet: Progress, tmp_path: Path):
    plan = dataclasses.replace(PLAN, total_steps=80, cloning_steps=20, learning_starts=10)
    a, b = (train_head(config, plan, ControlRun(tmp_path / name, False, curves, quiet)) for name in "ab")
    assert finite(a)
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_checkpoint_survives_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.pt"
    save_checkpoint(path, {"steps": 1})

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"cannot write .*x\.pt.*resume=true"):
        save_checkpoint(path, {"steps": 2})
    monkeypatch.undo()
    assert load_checkpoint(path) == {"steps": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["x.pt"]


def test_no_checkpoint_is_none_and_a_cut_off_one_says_so(tmp_path: Path):
    path = tmp_path / "control.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, {"weights": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"control\.pt is not a readable checkpoint.*cut off"):
        load_checkpoint(path)


def test_an_algorithm_that_there_is_not_is_refused(config: EnvConfig, curves: Any, quiet: Progress, tmp_path: Path):
    with pytest.raises(ValueError, match="DQN"):
        train_head(config, dataclasses.replace(PLAN, algorithm="DQN"), ControlRun(tmp_path, False, curves, quiet))


@pytest.fixture
def curriculum(config: EnvConfig) -> Any:
    env = CurriculumEnv(config, "harsh")
    yield env
    env.close()


def test_the_curriculum_widens_with_success_and_survives_a_restart(curriculum: CurriculumEnv, config: EnvConfig):
    start = curriculum.error_scale
    assert start < 1.0
    for _ in range(3 * 40):
        curriculum._recent.append(True)
    curriculum.reset(seed=0)
    hold = np.array([0, 0, 0, 0, 1], np.float32)
    for _ in range(160):  # one failure among so many successes
        curriculum.step(hold)
    assert curriculum.error_scale > start
    for _ in range(6):
        curriculum.ranges.record(curriculum.ranges.ends[0], True)
    other = CurriculumEnv(config, "harsh")
    other.load_curriculum(curriculum.curriculum_state())
    assert other.error_scale == curriculum.error_scale
    assert other.ranges.progress == curriculum.ranges.progress > 0.0
    other.close()


def test_demonstrations_succeed_more_often_than_not(curriculum: CurriculumEnv):
    successes = []
    for seed in range(5):
        curriculum.reset(seed=seed)
        done = False
        while not done:
            _, _, terminated, truncated, _ = curriculum.step(curriculum.demonstrate())
            done = terminated or truncated
        successes.append(terminated)
    assert sum(successes) >= 4
