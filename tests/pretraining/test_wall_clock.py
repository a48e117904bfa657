"""The time of a run adds up over its starts."""

import time
from pathlib import Path

import pytest

from simtoreal.pretraining.wall_clock import WallClock


def test_time_adds_up_over_the_starts_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    path = tmp_path / "not" / "there" / "wall_time.json"
    first = WallClock(path, resume=True)
    now_s = 160.0
    first.keep()
    now_s = 500.0
    second = WallClock(path, resume=True)
    now_s = 530.0
    assert second.seconds == pytest.approx(90.0)
    assert WallClock(path, resume=False).seconds == pytest.approx(0.0)
    path.write_text("cut o")
    assert WallClock(path, resume=True).seconds == pytest.approx(0.0)
