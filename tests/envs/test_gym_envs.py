"""The environments keep Gymnasium's contract, repeat with their seed, and can be learned in."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import trimesh
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO, SAC

import simtoreal  # noqa: F401  # registers the environments
from simtoreal.envs.adaptive import AdaptiveRandomization, AdaptiveSettings
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.gym_envs import MAX_STEPS, EnvConfig, GraspCameraEnv, GraspStateEnv
from simtoreal.envs.randomization import load_randomization
from simtoreal.head_interface import ACTION_DIM, NUM_OF_ESTIMATE, OBSERVATION_DIM
from simtoreal.policies.servo import ServoHead

IDS = ("simtoreal/GraspState-v0", "simtoreal/GraspCamera-v0")
TERMS = {"reach", "align", "grip", "lift", "success", "time", "collision", "smooth"}


def make(name: str, objects_dir: Path, **options: Any) -> gymnasium.Env[Any, Any]:
    if name == IDS[1]:
        options.setdefault("camera", CameraSetup.default("wrist", 40))
    return gymnasium.make(name, objects=(str(objects_dir),), **options)


@pytest.fixture
def state_env(objects_dir: Path) -> Iterator[GraspStateEnv]:
    env = GraspStateEnv(EnvConfig(objects=(str(objects_dir),)), randomization="mild")
    yield env
    env.close()


def flat(observation: Any) -> np.ndarray:
    parts = observation.values() if isinstance(observation, dict) else [observation]
    return np.concatenate([np.ravel(part).astype(np.float64) for part in parts])


def play(env: gymnasium.Env[Any, Any], seed: int, num_steps: int) -> list[tuple[np.ndarray, float]]:
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    trace = [(flat(observation), 0.0)]
    for _ in range(num_steps):
        observation, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, ACTION_DIM).astype(np.float32))
        trace.append((flat(observation), float(reward)))
        if terminated or truncated:
            observation, _ = env.reset()
            trace.append((flat(observation), 0.0))
    return trace


@pytest.mark.parametrize("name", IDS)
def test_the_contract_of_gymnasium_is_kept(name: str, objects_dir: Path):
    env = make(name, objects_dir, randomization="default", render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=name == IDS[0])
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_a_seed_repeats_and_another_differs(name: str, objects_dir: Path):
    env, other = (make(name, objects_dir, randomization="harsh") for _ in range(2))
    play(other, 9, 3)  # what was played before must not matter
    first, again, different = play(env, 4, 25), play(other, 4, 25), play(env, 5, 25)
    for (a, reward_a), (b, reward_b) in zip(first, again, strict=True):
        assert np.array_equal(a, b)
        assert reward_a == reward_b
    assert not np.array_equal(first[0][0], different[0][0])
    env.close()
    other.close()


@pytest.mark.parametrize("name", IDS)
def test_observations_stay_in_their_space_under_harsh_randomization(name: str, objects_dir: Path):
    env = make(name, objects_dir, randomization="harsh", num_objects=2)
    rng = np.random.default_rng(0)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        for _ in range(15):
            assert env.observation_space.contains(observation)
            assert np.isfinite(flat(observation)).all()
            observation, reward, *_ = env.step(rng.uniform(-1, 1, ACTION_DIM).astype(np.float32))
            assert np.isfinite(reward)
    env.close()


def test_every_step_tells_its_reward_terms(state_env: GraspStateEnv):
    _, info = state_env.reset(seed=0)
    assert info["redraws"] >= 0
    for _ in range(5):
        _, reward, _, _, info = state_env.step(np.zeros(ACTION_DIM, dtype=np.float32))
        assert set(info["reward_terms"]) == TERMS
        assert reward == pytest.approx(sum(info["reward_terms"].values()))
        assert info["is_success"] is False
        assert info["failure"] == "timed_out"


def test_the_servo_finishes_episodes_with_success(state_env: GraspStateEnv):
    successes = []
    for seed in range(4):
        observation, _ = state_env.reset(seed=seed)
        servo, total, terminated, truncated = ServoHead(), 0.0, False, False
        while not (terminated or truncated):
            action = servo.act(state_env._observation, state_env._estimate(), state_env._interface)
            observation, reward, terminated, truncated, info = state_env.step(action.astype(np.float32))
            total += reward
        assert observation.shape == (OBSERVATION_DIM,)
        assert info["is_success"] == terminated
        assert not terminated or info["failure"] == ""
        assert not terminated or total > 2.0
        successes.append(terminated)
    assert sum(successes) >= 3


def test_an_episode_of_standing_still_is_cut_off_in_time(state_env: GraspStateEnv):
    state_env.reset(seed=0)
    hold = np.array([0, 0, 0, 0, 1], dtype=np.float32)
    for step in range(1, MAX_STEPS + 1):
        _, _, terminated, truncated, info = state_env.step(hold)
        assert not terminated
        assert truncated == (step == MAX_STEPS)
    assert info["failure"] == "timed_out"


def test_a_scene_that_the_physics_loses_ends_the_episode_without_blame(state_env: GraspStateEnv):
    state_env.reset(seed=0)
    T = state_env.cell.object_poses()[0]
    T[:3, 3] = (3.0, 0.0, 1.0)
    state_env.cell._world.set_pose(state_env.cell._bodies[0], T)
    observation, reward, terminated, truncated, info = state_env.step(np.zeros(ACTION_DIM, dtype=np.float32))
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["redraws"] == 1
    assert state_env.observation_space.contains(observation)
    _, info = state_env.reset()
    assert info["redraws"] >= 1


def test_a_perception_without_error_shows_the_true_grasp(objects_dir: Path):
    env = GraspStateEnv(EnvConfig(objects=(str(objects_dir),)), randomization="none")
    env.error_scale = 0.0
    observation, _ = env.reset(seed=3)
    goal = env._true.estimate(env._observation)
    assert goal is not None
    offset = (goal.T_base_grasp[:3, 3] - env._observation.T_base_tcp[:3, 3]) / 0.1
    assert np.linalg.norm(observation[:3]) == pytest.approx(np.linalg.norm(offset), abs=1e-4)
    env.close()


def test_adaptive_randomization_is_asked_and_told(objects_dir: Path):
    ranges = load_randomization("harsh")
    adaptive = AdaptiveRandomization(ranges.dynamics, ranges.timing, AdaptiveSettings(probe_frac=1.0, num_probes=1))
    env = GraspStateEnv(EnvConfig(objects=(str(objects_dir),)), adaptive=adaptive, randomization="none")
    env.reset(seed=0)
    dynamics = env.cell.scene.world.dynamics
    assert dynamics.tracking_lag_s <= ranges.dynamics.tracking_lag_s.high  # type: ignore[union-attr]
    hold = np.array([0, 0, 0, 0, 1], dtype=np.float32)
    for _ in range(MAX_STEPS):
        _, _, _, truncated, _ = env.step(hold)
    assert truncated
    assert adaptive.progress == 0.0, "a failed probe does not widen anything"
    assert env.cell.scene.world.dynamics.object_scale == 1.0, "where things stand stays as it was drawn"
    env.close()


def test_broken_objects_are_redrawn_and_a_set_without_a_good_one_says_so(tmp_path: Path):
    trimesh.creation.box((0.3, 0.3, 0.3)).export(tmp_path / "crate.stl")  # no gripper holds it
    env = GraspStateEnv(EnvConfig(objects=(str(tmp_path),)), randomization="none")
    with pytest.raises(RuntimeError, match=r"no valid scene in .* draws"):
        env.reset(seed=0)
    env.close()


def test_a_camera_env_shows_what_its_camera_has(objects_dir: Path):
    config = EnvConfig(objects=(str(objects_dir),), randomization="none")
    for modality, keys in (
        ("rgb", {"rgb", "state"}),
        ("depth", {"depth_m", "state"}),
        ("rgbd", {"rgb", "depth_m", "state"}),
    ):
        env = GraspCameraEnv(CameraSetup.default("external", 32, modality), config=config, render_mode="rgb_array")
        observation, _ = env.reset(seed=0)
        assert set(observation) == keys
        assert observation["state"].shape == (OBSERVATION_DIM - NUM_OF_ESTIMATE,)
        picture = env.render()
        assert (picture is None) == (modality == "depth")
        env.close()


def test_a_render_mode_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="human"):
        GraspStateEnv(render_mode="human")


def test_an_unknown_option_is_refused_by_name(objects_dir: Path):
    with pytest.raises(TypeError, match="colour"):
        make(IDS[0], objects_dir, colour="red")


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (SAC, {"learning_starts": 50, "train_freq": 4, "batch_size": 16, "policy_kwargs": {"net_arch": [16, 16]}}),
        (PPO, {"n_steps": 100, "batch_size": 50, "policy_kwargs": {"net_arch": [16, 16]}}),
    ],
)
def test_a_head_can_be_trained_in_the_state_environment(algorithm: Any, options: dict[str, Any], objects_dir: Path):
    env = make(IDS[0], objects_dir, randomization="default")
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **options)
    model.learn(200)
    action, _ = model.predict(env.reset(seed=0)[0], deterministic=True)
    assert np.isfinite(action).all()
    env.close()


def test_a_policy_can_be_trained_from_images_in_the_camera_environment(objects_dir: Path):
    env = make(IDS[1], objects_dir, randomization="mild")
    with warnings.catch_warnings():
        # stable-baselines3 cannot know that `depth_m` is an image of metres and flattens it: that is meant.
        warnings.simplefilter("ignore", UserWarning)
        model = PPO("MultiInputPolicy", env, n_steps=64, batch_size=32, seed=0, device="cpu")
    model.learn(64)
    observation, _ = env.reset(seed=0)
    assert np.isfinite(model.predict(observation)[0]).all()
    env.close()
