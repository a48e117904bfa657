import numpy as np
import pytest

from simtoreal import frames
from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.head_interface import ACTION_DIM, OBSERVATION_DIM, HeadInterface, HeadScale
from simtoreal.policies.residual_head import BOUND, ResidualHead, split_residual

OBSERVATION = Observation(0.0, None, None, np.eye(3), np.eye(4), frames.top_down((0.5, 0.0, 0.3), 0.2), 0.08, None)
ESTIMATE = GraspEstimate(frames.top_down((0.52, 0.01, 0.05), 0.3), 0.03, 0.9)


class Steady:
    """Always the same action."""

    def act(self, observation, estimate, interface):
        return np.array([0.95, 0.0, -0.95, 0.0, 1.0])


def weights(scale: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "residual.0.weight": rng.normal(0.0, 1.0, (8, OBSERVATION_DIM)).astype(np.float32),
        "residual.0.bias": np.zeros(8, dtype=np.float32),
        "residual.1.weight": (scale * rng.normal(0.0, 1.0, (ACTION_DIM, 8))).astype(np.float32),
        "residual.1.bias": np.zeros(ACTION_DIM, dtype=np.float32),
        BOUND: np.array([0.2, 0.2, 0.2, 0.2, 0.0], dtype=np.float32),
    }


def act(head) -> np.ndarray:
    interface = HeadInterface(HeadScale())
    interface.see(OBSERVATION)
    return np.asarray(head.act(OBSERVATION, ESTIMATE, interface))


def test_a_residual_that_learned_nothing_changes_nothing():
    np.testing.assert_array_equal(act(ResidualHead(Steady(), weights(0.0))), act(Steady()))


def test_however_wild_it_stays_within_its_bound_and_off_the_jaws():
    apart = act(ResidualHead(Steady(), weights(1e3))) - act(Steady())
    assert 0.1 < np.abs(apart).max() <= 0.2 + 1e-6
    assert apart[4] == 0.0
    assert np.abs(act(ResidualHead(Steady(), weights(1e3)))).max() <= 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({BOUND: np.full(ACTION_DIM, 0.9, dtype=np.float32)}, "residual.bound"),
        ({"residual.0.bias": np.zeros(3, dtype=np.float32)}, "expected 44 inputs"),
        ({"residual.1.weight": np.full((ACTION_DIM, 8), np.nan, dtype=np.float32)}, "not finite"),
    ],
)
def test_what_does_not_fit_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        ResidualHead(Steady(), {**weights(1.0), **change})


def test_weights_are_told_apart():
    plain, residual = split_residual({"layers.0.weight": np.zeros((1, 1), dtype=np.float32), **weights(1.0)})
    assert set(plain) == {"layers.0.weight"}
    assert len(residual) == 5
