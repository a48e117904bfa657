"""Whatever is wanted, steps obey length, change and box, in every period and in those after it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.safety.motion import FREE, Caps, braking_step, shape

SLACK = 1e-9


def test_a_braking_step_comes_to_rest_within_the_distance():
    for distance in np.linspace(0.0, 0.3, 61):
        step, way = braking_step(float(distance), 0.014), 0.0
        while step > 0.0:
            way += step
            step -= 0.014
        assert way == pytest.approx(distance, abs=1e-12)


def test_what_is_allowed_passes_unchanged():
    caps = Caps([("step", 0.03)], 0.025, np.full(3, 0.3), np.full(3, 0.3))
    wanted = np.array([0.01, -0.02, 0.005])
    shaped = shape(wanted, np.array([0.0, -0.01, 0.0]), caps)
    np.testing.assert_array_equal(shaped.step, wanted)
    assert not shaped.acted


def test_the_limit_that_acts_is_named_with_both_numbers():
    caps = Caps([("step", 0.03), ("speed", 0.02)], 1.0, FREE, FREE)
    (acted,) = shape(np.array([0.0, 0.0, 0.05]), np.zeros(3), caps).acted
    assert acted == ("speed", pytest.approx(0.05), 0.02)


@given(
    seed=st.integers(0, 2**32 - 1), max_length=st.floats(0.005, 0.06), max_change=st.floats(0.002, 0.05),
    size=st.floats(0.001, 1.0),
)  # fmt: skip
def test_no_sequence_of_wishes_leads_out(seed: int, max_length: float, max_change: float, size: float):
    rng = np.random.default_rng(seed)
    low, high = np.array([0.25, -0.35, 0.001]), np.array([0.75, 0.35, 0.6])
    at, previous = rng.uniform(low, high), np.zeros(3)
    direction = rng.normal(size=3)
    for _ in range(60):
        if rng.random() < 0.2:
            direction = rng.normal(size=3)
        caps = Caps([("step", max_length)], max_change, at - low, high - at)
        step = shape(size * direction, previous, caps).step
        assert np.linalg.norm(step) <= max_length + SLACK
        assert np.linalg.norm(step - previous) <= max_change + SLACK
        at, previous = at + step, step
        assert (at >= low - SLACK).all()
        assert (at <= high + SLACK).all()


@given(seed=st.integers(0, 2**32 - 1))
def test_a_budget_that_grows_by_itself_is_never_overdrawn(seed: int):
    rng = np.random.default_rng(seed)
    steps, previous, max_change = [], np.zeros(3), 0.01
    for _ in range(80):
        left = 0.3 - sum(np.linalg.norm(step) for step in steps[-19:])
        caps = Caps([("per_second", braking_step(left, max_change / np.sqrt(3)))], max_change, FREE, FREE)
        previous = shape(rng.normal(size=3) + 1.0, previous, caps).step
        steps.append(previous)
        assert sum(np.linalg.norm(step) for step in steps[-20:]) <= 0.3 + SLACK
