"""Ranges around what was found stay within what can be simulated, whatever logs say."""

import pytest

from simtoreal.envs.randomization import load_randomization
from simtoreal.identification.ranges_around import ranges_around
from simtoreal.identified import Posterior


def around(mean: float, half: float) -> Posterior:
    return Posterior(mean, half / 4, mean - half / 2, mean + half / 2, half / 2, 8)


def test_a_range_holds_what_was_found() -> None:
    ranges, kept = ranges_around({"tracking_lag_s": around(0.06, 0.01)}, "default", 0.0)
    low, high = load_randomization("default").dynamics.updated(ranges["dynamics"]).tracking_lag_s.ends(0.0)
    assert low < 0.06 < high
    assert kept == {}


def test_a_range_that_reaches_beyond_what_can_be_simulated_ends_there() -> None:
    ranges, kept = ranges_around({"standing_error_m": around(0.04, 0.04)}, "default", 0.0)
    assert ranges["dynamics"]["standing_error_m"].endswith("0.05)")
    assert kept == {}


@pytest.mark.parametrize(
    ("quantity", "mean"), [("standing_error_m", 0.3), ("tracking_lag_s", 30.0), ("observation_latency_s", 9.0)]
)
def test_what_cannot_be_simulated_keeps_the_range_of_the_base_and_says_why(quantity: str, mean: float) -> None:
    ranges, kept = ranges_around({quantity: around(mean, 0.01)}, "default", 0.0)
    assert ranges == {"base": "default"}
    assert "beyond" in kept[quantity]
    assert "belong together" in kept[quantity]
