"""Ranges: what they draw, what they refuse, and that they read back as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal.envs.ranges import OPERATORS, Range

positive = st.floats(1e-6, 1e6)


@st.composite
def any_range(draw: st.DrawFn) -> Range:
    low, high = sorted((draw(positive), draw(positive)))
    return Range(draw(st.sampled_from(OPERATORS)), low, high)


@given(any_range())
def test_text_reads_back_as_the_same_range(chosen: Range) -> None:
    assert Range.parse(str(chosen)).ends(0.7) == chosen.ends(0.7)


@given(any_range(), st.floats(0.0, 1.0), st.floats(-10.0, 10.0))
def test_every_draw_lies_within_the_ends(chosen: Range, share: float, nominal: float) -> None:
    low, high = chosen.ends(nominal)
    assert low <= chosen.at(share, nominal) <= high


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("=U(0.4, 1.0)", (0.4, 1.0)),
        ("*U(0.5, 2)", (1.5, 6.0)),
        ("+U(-1, 1)", (2.0, 4.0)),
        ("=LogU(0.1, 10)", (0.1, 10.0)),
        ("*LogU(0.5, 2)", (1.5, 6.0)),
        ("0.25", (0.25, 0.25)),
        (7, (7.0, 7.0)),
    ],
)
def test_operators_around_a_nominal_of_three(text: object, ends: tuple[float, float]) -> None:
    assert Range.parse(text).ends(3.0) == pytest.approx(ends)


def test_scaling_a_negative_nominal_keeps_the_ends_in_order() -> None:
    assert Range.parse("*U(1, 2)").ends(-3.0) == (-6.0, -3.0)


def test_log_uniform_is_as_often_below_the_middle_factor_as_above() -> None:
    assert Range.parse("=LogU(0.1, 10)").at(0.5, 0.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text",
    ["U(0, 1)", "=U(0 1)", "=N(0, 1)", "=U(2, 1)", "=U(nan, 1)", "=U(0, inf)", "=LogU(0, 1)", "x", "", None, [1], True],
)
def test_what_is_not_a_range_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"allowed|needs"):
        Range.parse(text)
