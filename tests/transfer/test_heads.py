"""Heads that learn from logs: what they see is what they saw, failures teach, and a residual stays small."""

from dataclasses import replace

import numpy as np
import pytest

from simtoreal import frames
from simtoreal.bundle import load_bundle
from simtoreal.contracts import Action, GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, NUM_RECENT_ACTIONS, OBSERVATION_DIM, HeadScale
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.learned_head import LearnedHead
from simtoreal.policies.parts import make_head
from simtoreal.policies.residual_head import ResidualHead
from simtoreal.policies.servo import ServoHead
from simtoreal.preflight import find_bundle
from simtoreal.schema import ConfigError
from simtoreal.transfer.control.head_learning import advantage_weights, learn_awr, learn_clone, learn_residual
from simtoreal.transfer.control.head_logs import Seen, Transitions, replay_interface
from simtoreal.transfer.control.heads import check_head
from simtoreal.transfer.settings import FinetuneConfig, HeadStrategy


class Fixed:
    """A grasp that never moves."""

    def reset(self) -> None: ...
    def missed(self, T_base_tcp, slipped=False): ...
    def estimate(self, observation):
        return GraspEstimate(frames.top_down((0.55, 0.05, 0.04), 0.6), 0.03, 0.9, 0.02)


def drive(head) -> tuple[list[Seen], list[np.ndarray]]:
    """A policy on a tool that follows at once and jaws that close on nothing: periods, and what the head saw."""
    policy = GraspPolicy(Fixed(), head, HeadScale())
    policy.reset()
    T, width_m, periods, vectors = frames.top_down((0.5, 0.0, 0.3), 0.1), 0.08, [], []
    for i in range(90):
        observation = Observation(0.05 * i, None, None, np.eye(3), np.eye(4), T, width_m, None)
        action = policy.act(observation)
        vectors.append(np.asarray(head.seen))
        sent = action._replace(delta_m=0.9 * action.delta_m)  # a controller that holds back
        policy.sent(sent)
        periods.append(Seen(observation, action, sent))
        T = frames.moved(T, sent.delta_m, sent.delta_rotation_rad)
        width_m += float(np.clip(sent.gripper_width_m - width_m, -0.01, 0.01))
    return periods, vectors


class Noting:
    """The servo, which keeps what it was shown."""

    def __init__(self) -> None:
        self._servo = ServoHead()

    def act(self, observation, estimate, interface):
        self.seen = interface.vector(observation, estimate)
        return self._servo.act(observation, estimate, interface)


def test_a_log_shows_a_head_what_it_saw_at_run_time():
    periods, vectors = drive(Noting())
    seen, actions, base = replay_interface(periods, Fixed(), ServoHead(), HeadScale())
    arm = OBSERVATION_DIM - NUM_RECENT_ACTIONS * ACTION_DIM
    np.testing.assert_allclose(np.stack(seen)[:, :arm], np.stack(vectors)[:, :arm], atol=1e-5)
    # Steps longer than the largest one are shortened together, so only their direction comes back.
    shown, known = (np.stack(rows)[:, arm:].reshape(-1, ACTION_DIM) for rows in (seen, vectors))
    np.testing.assert_allclose(shown[:, 3:], known[:, 3:], atol=1e-5)
    np.testing.assert_allclose(np.cross(shown[:, :3], known[:, :3]), 0.0, atol=1e-5)
    motion = np.linalg.norm(np.stack(base)[:, :3], axis=1) <= 1.0
    assert motion.sum() > 20
    np.testing.assert_allclose(np.stack(actions)[motion][:, :4], np.stack(base)[motion][:, :4], atol=1e-6)


def transitions(num_episodes: int = 16, shift: float = 0.1) -> Transitions:
    """Episodes in which a motion that differs from the head's by `shift` succeeds, and one that does not fails."""
    rng = np.random.default_rng(0)
    observations = rng.normal(0.0, 1.0, (40 * num_episodes, OBSERVATION_DIM)).astype(np.float32)
    episode = np.repeat(np.arange(num_episodes), 40)
    success = episode % 3 != 2
    base = np.tanh(observations[:, :ACTION_DIM] * 0.3).astype(np.float32)
    actions = base + np.where(success[:, None], shift, -shift) * np.array([1, 1, 1, 1, 0], dtype=np.float32)
    returns = np.where(success, 0.98 ** np.tile(np.arange(39, -1, -1), num_episodes), 0.0).astype(np.float32)
    return Transitions(observations, actions.astype(np.float32), base, returns, success, episode)


def test_successes_weigh_more_than_failures():
    data = transitions()
    weights = advantage_weights(data, np.ones(len(data.episode), dtype=bool))
    assert weights[data.success].mean() > 3 * weights[~data.success].mean()
    assert (weights[~data.success] > 0).all()


def test_a_residual_learns_what_successes_did_otherwise():
    data = transitions()
    learned = learn_residual(data, 0)
    assert learned.gain.low > 0
    head = ResidualHead(ServoHead(), learned.weights)
    corrections = np.stack([head.correction(row) for row in data.observations[:100]])
    assert 0.03 < corrections[:, :4].mean() <= 0.2
    assert (corrections[:, 4] == 0).all()
    assert np.abs(corrections).max() <= 0.2 + 1e-6


@pytest.mark.parametrize("learn", [learn_clone, learn_awr])
def test_a_learned_head_moves_toward_the_successes(learn):
    data = transitions()
    rng = np.random.default_rng(1)
    start = {
        "layers.0.weight": (0.1 * rng.normal(size=(64, OBSERVATION_DIM))).astype(np.float32),
        "layers.0.bias": np.zeros(64, dtype=np.float32),
        "layers.1.weight": (0.1 * rng.normal(size=(ACTION_DIM, 64))).astype(np.float32),
        "layers.1.bias": np.zeros(ACTION_DIM, dtype=np.float32),
    }
    learned = learn(data, start, 0)
    assert learned.gain.mean > 0
    assert LearnedHead(learned.weights).forward(data.observations[0]).shape == (ACTION_DIM,)


def test_cloning_needs_a_learned_head_and_a_residual_does_not():
    bundle = load_bundle(find_bundle("default"))
    with pytest.raises(ConfigError, match="head=residual"):
        check_head(FinetuneConfig(head=HeadStrategy.CLONE), bundle)
    check_head(FinetuneConfig(head=HeadStrategy.RESIDUAL), bundle)


def test_a_bundle_carries_a_residual_over_the_servo():
    bundle = load_bundle(find_bundle("default"))
    learned = learn_residual(transitions(), 0)
    with_residual = replace(bundle, head_weights=learned.weights)
    assert isinstance(make_head(with_residual), ResidualHead)
    assert isinstance(make_head(with_residual, "servo"), ServoHead)


def test_vectors_of_actions_are_their_inverse():
    from simtoreal.head_interface import HeadInterface

    interface, T = HeadInterface(HeadScale()), frames.top_down((0.5, 0.0, 0.3), 0.7)
    observation = Observation(0.0, None, None, np.eye(3), np.eye(4), T, 0.08, None)
    interface.see(observation)
    meant = np.array([0.3, -0.2, 0.5, -0.4, 0.6])
    action: Action = interface.action(meant, observation)
    np.testing.assert_allclose(interface.vector_of(action, observation), meant, atol=1e-9)
