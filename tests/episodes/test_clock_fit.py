"""Clocks with a known offset and drift are recovered through delays that scatter."""

import numpy as np
import pytest

from simtoreal.episodes.clock_fit import fit_clock


def messages(
    duration_s: float, rate_hz: float, delay_ms: float, seed: int = 0, start_s: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Stamps of a clock that is 37 ms behind at the start and loses 80 ppm, and when they were received."""
    rng = np.random.default_rng(seed)
    true_s = start_s + np.arange(0.0, duration_s, 1.0 / rate_hz)
    stamps = true_s - 0.037 - 80e-6 * (true_s - start_s)
    return stamps, true_s + 0.002 + rng.exponential(1e-3 * delay_ms, true_s.size)


@pytest.mark.parametrize("seed", range(5))
def test_offset_and_drift_come_out_of_one_way_messages(seed: int) -> None:
    stamps, received = messages(120.0, 30.0, delay_ms=3.0, seed=seed)
    fit = fit_clock(stamps, received)
    assert fit.drift_ppm == pytest.approx(80.0, abs=5.0)
    # the shortest delay, 2 ms, cannot be told from the offset; the rest of the offset is found to half a millisecond
    at_start = fit.to_reference(stamps[0]) - stamps[0]
    assert at_start == pytest.approx(0.037 + 0.002, abs=5e-4)
    assert fit.delay_spread_s == pytest.approx(3e-3 * np.log(2), rel=0.2)


def test_every_message_is_received_after_it_was_sent() -> None:
    stamps, received = messages(20.0, 100.0, delay_ms=5.0)
    assert (received - fit_clock(stamps, received).to_reference(stamps)).min() >= -1e-9


def test_the_order_of_messages_does_not_matter_and_epochs_do_not_cost_precision() -> None:
    stamps, received = messages(60.0, 30.0, delay_ms=2.0, start_s=1.7e9)
    shuffled = np.random.default_rng(1).permutation(stamps.size)
    one, other = fit_clock(stamps, received), fit_clock(stamps[shuffled], received[shuffled])
    assert one.drift_ppm == pytest.approx(other.drift_ppm, abs=0.01)
    assert one.drift_ppm == pytest.approx(80.0, abs=5.0)


def test_a_few_messages_with_scatter_do_not_make_up_a_drift() -> None:
    fit = fit_clock([0.0, 0.1, 0.2], [0.05, 0.13, 0.29])
    assert abs(fit.drift_ppm) <= 1000.0
    assert fit.offset_s == pytest.approx(0.03)


def test_one_message_gives_an_offset() -> None:
    fit = fit_clock([10.0], [10.25])
    assert (fit.offset_s, fit.drift_ppm, fit.num) == (0.25, 0.0, 1)


@pytest.mark.parametrize("times", [([], []), ([1.0], [np.nan]), ([1.0, 2.0], [1.0])])
def test_what_is_no_pair_of_times_is_refused(times: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="finite pairs"):
        fit_clock(*times)
