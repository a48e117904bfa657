"""Fitted curves find what was put in, and factors of data saved come out as they were."""

from collections.abc import Sequence

import numpy as np
import pytest

from simtoreal.transfer.curve.learning_curve import (
    Curves,
    Measured,
    band,
    estimate,
    fit_curves,
    outlook,
    what_was_saved,
)

SIZES = (0, 1, 2, 5, 10, 20, 50)


def measured(loss_at: Sequence[float], rng: np.random.Generator, noise: float = 0.05, seconds: float = 1.0) -> Measured:
    difficulty = rng.normal(0.0, noise, (12, 1))
    loss = np.asarray(loss_at) + difficulty + rng.normal(0.0, 0.3 * noise, (12, len(loss_at)))
    return Measured(tuple(map(str, range(12))), loss, np.full(len(loss_at), seconds))


def law(sizes: Sequence[int], floor: float, drop: float, rate: float) -> list[float]:
    return [floor + drop * (n + 1) ** -rate for n in sizes]


def both(
    tuned: tuple[float, float, float], scratch: tuple[float, float, float], seed: int = 0, noise: float = 0.05
) -> dict[str, Curves]:
    rng = np.random.default_rng(seed)
    arms = {
        "tuned": {s: measured(law(SIZES, *tuned), rng, noise, 2.0) for s in range(3)},
        "scratch": {s: measured(law(SIZES[1:], *scratch), rng, noise, 10.0) for s in range(3)},
    }
    return fit_curves(arms, {"tuned": SIZES, "scratch": SIZES[1:]}, rng)


def test_a_curve_is_found_again_and_lies_in_its_band():
    curves = both((0.1, 0.5, 0.6), (0.1, 0.9, 0.4), noise=0.01)["tuned"]
    found = band(curves.at([0, 5, 30]))
    for one, true in zip(found, law([0, 5, 30], 0.1, 0.5, 0.6), strict=True):
        assert one.value == pytest.approx(true, abs=0.02)
        assert one.low - 0.01 <= true <= one.high + 0.01


def test_a_fitted_curve_never_rises():
    rng = np.random.default_rng(1)
    arms = {"tuned": {s: measured(rng.random(len(SIZES)), rng) for s in range(3)}}
    curves = fit_curves(arms, {"tuned": SIZES}, rng)["tuned"]
    assert (np.diff(curves.at(range(100)), axis=1) <= 1e-12).all()


def test_size_for_is_the_inverse():
    curves = both((0.1, 0.5, 0.6), (0.1, 0.9, 0.4))["tuned"]
    np.testing.assert_allclose(curves.size_for(curves.at([7.0])[:, 0])[curves.drop > 1e-6], 7.0, rtol=1e-6)
    assert curves.size_for(np.full(len(curves.floor), 2.0))[0] == 0.0
    assert curves.size_for(np.full(len(curves.floor), -1.0))[0] == np.inf


def test_data_and_time_saved():
    curves = both((0.1, 0.5, 0.6), (0.1, 0.9, 0.4))
    saved = what_was_saved(curves["tuned"], curves["scratch"])
    needed = (0.5 / (law([50], 0.1, 0.9, 0.4)[0] - 0.1)) ** (1 / 0.6) - 1
    assert saved.at_size == 50
    assert saved.data.low <= 50 / needed <= saved.data.high
    assert 1 < saved.data.value < 50
    assert saved.time.value == pytest.approx(5.0)
    assert not saved.at_least


def test_where_the_source_is_as_good_the_factor_is_a_bound():
    curves = both((0.1, 0.1, 0.6), (0.3, 0.9, 0.4))
    saved = what_was_saved(curves["tuned"], curves["scratch"])
    assert saved.at_least
    assert saved.data.value == 50.0


def test_where_pretraining_harms_the_factor_is_below_one():
    curves = both((0.5, 0.2, 0.6), (0.1, 0.9, 0.6))
    saved = what_was_saved(curves["tuned"], curves["scratch"])
    assert saved.data.high < 1
    assert saved.time.value > 1, "scratch still takes five times as long for a training"


def test_what_more_episodes_bring():
    steep = outlook(both((0.0, 0.9, 0.3), (0.1, 0.9, 0.4), noise=0.02)["tuned"])
    flat = outlook(both((0.3, 0.4, 2.5), (0.1, 0.9, 0.4), noise=0.02)["tuned"])
    assert steep.gain_of_doubling.low > 0.01
    assert steep.num_worth.value >= 50
    assert flat.gain_of_doubling.value < 0.01
    assert flat.num_worth.value == 0


def test_an_estimate_may_be_unbounded():
    values = np.array([1.0, *np.linspace(0, 1, 50), *[np.inf] * 50])
    assert estimate(values).high == np.inf
