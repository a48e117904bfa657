"""Perception or control: the table names the side that costs more, and says so only beyond doubt."""

import pytest

from simtoreal.envs.randomization import load_randomization
from simtoreal.evaluation.records import EpisodeRecord
from simtoreal.identified import Identified, Posterior
from simtoreal.transfer.control.gap import advice, gap_on_logs, judge_cells
from simtoreal.transfer.ledger.gap_page import gap_tables


def records(rate: float, num: int = 60) -> list[EpisodeRecord]:
    return [
        EpisodeRecord(i, f"0-{i}-0", f"object {i % 9}", "random", "small", good, "" if good else "missed", 1, 3.0,
                      target_name=f"object {i % 9}")
        for i, good in enumerate([i < rate * num for i in range(num)])
    ]  # fmt: skip


def cells(learned: float, source: float, oracle: float) -> dict[tuple[str, str], list[EpisodeRecord]]:
    return {("learned", "source"): records(learned), ("privileged", "source"): records(source),
            ("learned", "oracle"): records(learned), ("privileged", "oracle"): records(oracle)}  # fmt: skip


@pytest.mark.parametrize(
    ("learned", "source", "oracle", "first"),
    [(0.5, 0.9, 0.92, "perception"), (0.45, 0.5, 0.95, "control"), (0.9, 0.9, 0.92, "neither")],
)
def test_the_larger_certain_gap_comes_first(learned: float, source: float, oracle: float, first: str):
    found = judge_cells(cells(learned, source, oracle), seed=0)
    assert found["first"] == first
    assert len(found["table"]) == 4
    assert found["perception_gain"]["mean"] == pytest.approx(source - learned, abs=0.02)


def identified(latency_s: float, before_mm: float = 1.0, after_mm: float = 1.0) -> Identified:
    found = Posterior(latency_s, 0.001, latency_s - 0.003, latency_s + 0.003, 0.0, 5)
    replay = {"before_mm": before_mm, "after_mm": after_mm}
    return Identified("panda", 20.0, 5, {"action_latency_s": found}, replay=replay)


@pytest.mark.parametrize(
    ("miss", "home", "arm", "first"),
    [
        (0.5, 0.2, identified(0.03), "perception"),
        (0.21, 0.2, identified(0.4), "control"),
        (0.21, 0.2, identified(0.03, 20.0, 2.0), "control"),
        (0.21, 0.2, identified(0.03, 20.0, 19.0), "neither"),
        (0.21, 0.2, identified(0.03), "neither"),
        (None, None, identified(0.4), "control"),
        (None, None, None, "unknown"),
    ],
)
def test_logs_tell_which_side_is_off(miss, home, arm, first):
    assert gap_on_logs(miss, home, arm, load_randomization("harsh"))["first"] == first


def test_control_first_offers_the_head():
    logs = gap_on_logs(0.2, 0.2, identified(0.4), load_randomization("harsh"))
    said = advice({"logs": logs, "online": None}, "runs/record")
    assert "head=identified" in said
    tables = gap_tables({"gap": {"logs": logs, "online": None, "problem": "", "advice": said}, "head": None})
    assert any("400 ms" in cell for row in tables[0].rows for cell in row)


def test_nothing_is_shown_where_nobody_looked():
    assert gap_tables({"gap": None}) == []
