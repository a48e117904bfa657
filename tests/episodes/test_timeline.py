"""Between samples there is interpolation, across gaps there is nothing, and timing is measured as it is."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simtoreal import frames
from simtoreal.episodes.clock_fit import fit_clock
from simtoreal.episodes.lag import Lag
from simtoreal.episodes.timeline import TimingReport, Track, between_arrays, latest, measure_stream, pose_track

TURN = frames.transform((1.0, 0.0, 0.2), frames.rotation_about_z(np.pi / 2))


def test_a_pose_between_two_lies_on_the_line_and_on_the_shortest_arc() -> None:
    track = pose_track(max_gap_s=0.5)
    track.add(1.0, np.eye(4))
    track.add(1.4, TURN)
    quarter = track.at(1.1)
    assert quarter is not None
    np.testing.assert_allclose(
        quarter, frames.transform((0.25, 0.0, 0.05), frames.rotation_about_z(np.pi / 8)), atol=1e-12
    )
    np.testing.assert_array_equal(track.at(1.4), TURN)


def test_gaps_are_not_bridged_and_ends_not_extended() -> None:
    track = pose_track(max_gap_s=0.2)
    for t_s in (0.0, 0.1, 0.5):
        track.add(t_s, np.eye(4))
    assert track.at(0.05) is not None
    assert track.at(0.3) is None
    assert track.at(0.5) is not None
    assert track.at(-0.01) is None
    assert track.at(0.51) is None


def test_commands_hold_until_the_next_one() -> None:
    track: Track[str] = Track(latest, max_gap_s=1.0)
    track.add(0.0, "open")
    track.add(0.5, "close")
    assert [track.held_at(t_s) for t_s in (-0.1, 0.0, 0.49, 0.5, 9.0)] == [None, "open", "open", "close", "close"]
    assert track.held_at(9.0, max_age_s=1.0) is None


def test_time_that_goes_back_is_refused_and_time_that_stands_replaces() -> None:
    track = Track(between_arrays, max_gap_s=1.0)
    track.add(1.0, np.array([1.0]))
    track.add(1.0, np.array([2.0]))
    assert track.at(1.0) == 2.0
    with pytest.raises(ValueError, match=r"goes back from 1\.000000 s to 0\.900000 s"):
        track.add(0.9, np.array([1.0]))
    with pytest.raises(ValueError, match="nan"):
        track.add(float("nan"), np.array([1.0]))


@given(st.lists(st.floats(0.001, 0.3), min_size=100, max_size=200), st.floats(0.0, 1.0))
def test_forgetting_changes_nothing_from_there_on(steps_s: list[float], share: float) -> None:
    whole, short = Track(between_arrays, max_gap_s=0.2), Track(between_arrays, max_gap_s=0.2)
    times_s = np.cumsum(steps_s)
    for t_s in times_s:
        for track in (whole, short):
            track.add(float(t_s), np.array([t_s * t_s]))
    cut_s = float(times_s[0] + share * (times_s[-1] - times_s[0]))
    short.forget_before(cut_s)
    for t_s in np.linspace(cut_s, times_s[-1], 20):
        np.testing.assert_array_equal(whole.at(float(t_s)), short.at(float(t_s)))  # type: ignore[arg-type]
        np.testing.assert_array_equal(whole.held_at(float(t_s)), short.held_at(float(t_s)))  # type: ignore[arg-type]


@given(st.floats(0.0, 1.0), st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6))
def test_interpolation_is_a_rigid_motion_that_meets_both_ends(share: float, numbers: list[float]) -> None:
    T = frames.transform(numbers[:3], frames.rotation_from_vector(numbers[3:]))
    between = frames.interpolate(TURN, T, share)
    np.testing.assert_allclose(between[:3, :3] @ between[:3, :3].T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(frames.interpolate(TURN, T, 0.0), TURN, atol=1e-12)
    np.testing.assert_allclose(frames.interpolate(TURN, T, 1.0), T, atol=1e-7)


def test_rate_jitter_and_gaps_are_measured() -> None:
    rng = np.random.default_rng(0)
    stamps = np.arange(0, 20, 0.05) + rng.normal(scale=0.002, size=400)
    stamps = np.delete(stamps, range(100, 120))
    timing = measure_stream("/camera", stamps, max_gap_s=0.2)
    assert timing.rate_hz == pytest.approx(20.0, rel=0.02)
    assert timing.jitter_s == pytest.approx(0.6745 * 2**0.5 * 0.002, rel=0.2)  # of the difference of two normals
    assert timing.longest_gap_s == pytest.approx(1.05, abs=0.01)
    assert (timing.num, timing.num_gaps, timing.num_backward) == (380, 1, 0)


def test_stamps_that_go_back_or_stand_still_are_counted() -> None:
    timing = measure_stream("x", [0.0, 0.1, 0.1, 0.05, 0.2])
    assert (timing.num_backward, timing.num_repeated) == (1, 1)
    assert measure_stream("x", [1.0]).rate_hz == 0.0


def test_the_report_is_a_table_and_plain_values() -> None:
    report = TimingReport(
        [measure_stream("/camera", np.arange(0, 2, 0.05))],
        {"/camera": fit_clock([0.0, 1.0], [0.25, 1.25])},
        {"tool after command": Lag(0.12, 0.98), "camera after tool": Lag(None, 0.1, "one of them does not move")},
        ["a remark"],
    )
    table = report.table().splitlines()
    assert table[2].startswith("| /camera | 40 | 20.00 |")
    assert "| 250.00 | 0.0 | 0.00 |" in table[2]
    assert table[3:] == [
        "tool after command: +120 ms (correlation 0.98)",
        "camera after tool: no lag can be told: one of them does not move",
        "a remark",
    ]
    plain = json.loads(json.dumps(report.to_plain()))
    assert TimingReport.from_plain(plain).table() == report.table()
    with pytest.raises(ValueError, match="not a report of timing"):
        TimingReport.from_plain({"streams": [{"x": 1}]})
    assert plain["clocks"]["/camera"]["offset_s"] == pytest.approx(0.25)
    assert plain["lags"]["tool after command"]["lag_s"] == 0.12
