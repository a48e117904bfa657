"""Statistics against published known answers, and the properties any interval must have."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simtoreal.evaluation import statistics

counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
outcome_pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def make_rng() -> np.random.Generator:
    return np.random.default_rng(7)


def paired_counts(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    pairs = [(True, True)] * both + [(True, False)] * only_a + [(False, True)] * only_b + [(False, False)] * neither
    return [a for a, _ in pairs], [b for _, b in pairs]


@pytest.mark.parametrize(
    ("num_success", "n", "low", "high"),
    [(14, 20, 0.481, 0.855), (9, 10, 0.596, 0.982), (35, 50, 0.562, 0.809), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0)],
)
def test_wilson_known_answers(num_success: int, n: int, low: float, high: float) -> None:
    assert statistics.wilson(num_success, n) == pytest.approx((low, high), abs=6e-4)


def test_wilson_knows_nothing_without_trials() -> None:
    assert statistics.wilson(0, 0) == (0.0, 1.0)


@given(counts, st.floats(0.5, 0.99))
def test_wilson_holds_the_estimate_and_is_symmetric(count: tuple[int, int], confidence: float) -> None:
    num_success, n = count
    interval = statistics.wilson(num_success, n, confidence)
    mirrored = statistics.wilson(n - num_success, n, confidence)
    assert 0.0 <= interval.low <= num_success / n <= interval.high <= 1.0
    assert interval == pytest.approx((1 - mirrored.high, 1 - mirrored.low), abs=1e-9)


@given(counts)
def test_wilson_narrows_with_more_trials(count: tuple[int, int]) -> None:
    num_success, n = count
    few, many = statistics.wilson(num_success, n), statistics.wilson(10 * num_success, 10 * n)
    assert many.high - many.low < few.high - few.low


def test_wilson_covers_the_truth() -> None:
    hits = 0
    for num_success in make_rng().binomial(60, 0.9, size=600):
        low, high = statistics.wilson(int(num_success), 60)
        hits += low <= 0.9 <= high
    assert 0.92 < hits / 600 < 0.99


@pytest.mark.parametrize(("num_success", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 95)])
def test_wilson_names_bad_input(num_success: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"num_success|confidence"):
        statistics.wilson(num_success, n, confidence)


@pytest.mark.parametrize(("rate_a", "rate_b", "n"), [(0.6, 0.8, 81), (0.8, 0.9, 199), (0.9, 0.95, 434)])
def test_power_known_answers(rate_a: float, rate_b: float, n: int) -> None:
    assert statistics.power_n(rate_a, rate_b) == n
    assert statistics.power_n(rate_b, rate_a) == n


def test_power_refuses_equal_rates_and_percent() -> None:
    with pytest.raises(ValueError, match="equal rates"):
        statistics.power_n(0.8, 0.8)
    with pytest.raises(ValueError, match=r"rate_b must lie in \[0, 1\], got 90"):
        statistics.power_n(0.8, 90)


def test_mcnemar_known_answers() -> None:
    """10 against 2 discordant pairs: 2 * P(X <= 2 | 12, 1/2) = 158 / 4096."""
    a, b = paired_counts(both=30, only_a=10, only_b=2, neither=8)
    assert statistics.mcnemar_exact(a, b) == pytest.approx(158 / 4096)
    assert statistics.mcnemar_exact(a, a) == 1.0


def test_newcombe_paired_known_answer() -> None:
    """Newcombe (1998), Statistics in Medicine 17:2635, table II, method 10: 36, 12, 2, 0 -> 0.0569 to 0.3404."""
    a, b = paired_counts(both=36, only_a=12, only_b=2, neither=0)
    difference = statistics.paired_difference(a, b, rng=make_rng())
    assert difference.mean == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.0569, 0.3404), abs=1e-3)


@given(outcome_pairs)
def test_paired_difference_is_antisymmetric(pairs: list[tuple[bool, bool]]) -> None:
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    forward = statistics.paired_difference(a, b, rng=make_rng())
    backward = statistics.paired_difference(b, a, rng=make_rng())
    assert forward.low <= forward.mean <= forward.high
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low), abs=1e-9)
    assert forward.p == pytest.approx(backward.p)


@settings(max_examples=20, deadline=None)
@given(outcome_pairs, st.integers(1, 10))
def test_clustered_interval_holds_the_mean_and_is_never_narrower(
    pairs: list[tuple[bool, bool]], num_objects: int
) -> None:
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    plain = statistics.paired_difference(a, b, rng=make_rng())
    clusters = [i % num_objects for i in range(len(a))]
    clustered = statistics.paired_difference(a, b, clusters, rng=make_rng())
    assert clustered.mean == plain.mean
    assert clustered.low <= plain.low
    assert clustered.high >= plain.high
    assert 0.0 < clustered.p <= 1.0


def test_one_bad_object_widens_the_interval_and_weakens_the_evidence() -> None:
    """Forty losses on one object of ten are one finding, not forty."""
    a = [True] * 360 + [False] * 40
    b = [True] * 400
    clusters = [i // 40 for i in range(400)]
    episodes = statistics.paired_difference(a, b, rng=make_rng())
    objects = statistics.paired_difference(a, b, clusters, rng=make_rng())
    assert episodes.p < 1e-6
    assert objects.p > 0.5
    assert objects.low < 2 * episodes.low


def test_paired_ratio_of_perfect_arms_is_not_certain() -> None:
    ratio = statistics.paired_ratio([True] * 50, [True] * 50, list(range(50)), rng=make_rng())
    assert ratio.ratio == 1.0
    assert ratio.low < 0.95


def test_paired_ratio_known_answer_and_no_oracle_success() -> None:
    ratio = statistics.paired_ratio([1, 1, 0, 0], [1, 1, 1, 1], list("abcd"), rng=make_rng())
    assert ratio.ratio == 0.5
    assert ratio.low <= 0.5 <= ratio.high
    assert math.isnan(statistics.paired_ratio([0, 0], [0, 0], list("ab"), rng=make_rng()).ratio)


def test_cluster_bootstrap_matches_the_normal_interval_for_single_episode_clusters() -> None:
    values = (make_rng().random(400) < 0.8).astype(float)
    sums = np.stack([values, np.ones(400)], axis=1)
    interval = statistics.cluster_bootstrap(sums, range(400), lambda total: total[:, 0] / total[:, 1], rng=make_rng())
    half_width = 1.96 * values.std() / 20
    assert interval == pytest.approx((values.mean() - half_width, values.mean() + half_width), abs=0.006)


def test_same_generator_state_gives_the_same_interval() -> None:
    a, b = paired_counts(20, 5, 3, 2)
    clusters = [i % 6 for i in range(30)]
    first = statistics.paired_difference(a, b, clusters, rng=make_rng())
    assert statistics.paired_difference(a, b, clusters, rng=make_rng()) == first


def test_boschloo_known_answer_and_degenerate_tables() -> None:
    """The job satisfaction example of scipy's documentation: one-sided 0.0356, two-sided twice that."""
    assert statistics.boschloo(74, 117, 31, 63) == pytest.approx(2 * 0.0356, abs=2e-4)
    assert statistics.boschloo(7, 7, 9, 9) == 1.0
    assert statistics.boschloo(0, 7, 0, 9) == 1.0
    with pytest.raises(ValueError, match="arm b has no trials"):
        statistics.boschloo(1, 2, 0, 0)


def test_independent_difference_known_answer() -> None:
    """Newcombe (1998), Statistics in Medicine 17:873, table II, method 10: 56/70 - 48/80 -> 0.0524 to 0.3339."""
    difference = statistics.independent_difference(56, 70, 48, 80)
    assert difference.mean == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert 0.001 < difference.p < 0.02


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [([1, 0], [1], "one length"), ([], [], "one length"), ([0.5], [1], "success or failure"), ([1], [2], "outcomes b")],
)
def test_bad_pairs_are_named(a: list[float], b: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        statistics.paired_difference(a, b, rng=make_rng())


def test_wrong_number_of_clusters_is_named() -> None:
    with pytest.raises(ValueError, match="one cluster per episode"):
        statistics.paired_difference([1, 0], [1, 1], ["only one"], rng=make_rng())


def test_paired_means_of_known_differences() -> None:
    rng = np.random.default_rng(0)
    b = rng.normal(10.0, 5.0, 200)
    a = b + rng.normal(0.5, 1.0, 200)
    found = statistics.paired_mean_difference(a, b, list(range(200)), rng=rng)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.4, "what both arms share does not widen the interval"
    assert found.p < 0.01


def test_paired_means_cover_as_promised_with_few_clusters() -> None:
    """Six clusters of three: the plain bootstrap covers 86 % here."""
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(6), 3).tolist()
    covered = 0
    for _ in range(200):
        values = np.repeat(rng.normal(0.0, 1.0, 6), 3) + rng.normal(0.0, 0.2, 18)
        found = statistics.paired_mean_difference(values, np.zeros(18), clusters, rng=rng)
        covered += found.low <= 0.0 <= found.high
    assert covered >= 184


def test_paired_means_of_one_cluster_say_nothing() -> None:
    found = statistics.paired_mean_difference([1.0, 2.0], [0.0, 0.0], ["a", "a"], rng=np.random.default_rng(0))
    assert (found.mean, found.low, found.high, found.p) == (1.5, -math.inf, math.inf, 1.0)


@pytest.mark.parametrize("bad", [([1.0], [1.0, 2.0]), ([], []), ([math.nan], [0.0])])
def test_paired_means_refuse_what_cannot_be_paired(bad: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match=r"paired values|cluster"):
        statistics.paired_mean_difference(*bad, ["a"] * len(bad[0]), rng=np.random.default_rng(0))


def test_holm_is_between_no_correction_and_bonferroni() -> None:
    p = np.array([0.2, 0.001, 0.04, 0.03])
    corrected = statistics.holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(4 * p, 1.0)).all()
    assert corrected[1] == pytest.approx(0.004)
    assert statistics.holm([]).tolist() == []
