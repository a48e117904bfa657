"""Progress: bars on a terminal, an occasional line in a log, nothing on standard output."""

import io

import pytest
from rich.console import Console

from simtoreal import progress as progress_module
from simtoreal.progress import Progress


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        monkeypatch.setattr(progress_module.time, "monotonic", lambda: self.now_s)


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch):
    clock, log = Clock(monkeypatch), io.StringIO()
    with Progress(Console(file=log, width=200)).task("frames", 100) as bar:
        for step in range(100):
            clock.now_s += 1.0
            bar.advance(note=f"loss {step}")
    lines = log.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("frames: 21/100, 1:19 left loss 20")
    assert lines[-1].startswith("frames: 100/100, 0:00 left")


def test_a_short_task_says_one_line(monkeypatch: pytest.MonkeyPatch):
    Clock(monkeypatch)
    log = io.StringIO()
    with Progress(Console(file=log)).task("objects", 3) as bar:
        for _ in range(3):
            bar.advance()
    assert len(log.getvalue().splitlines()) == 1


def test_steps_are_counted_in_bundles_and_notes_stay(monkeypatch: pytest.MonkeyPatch):
    clock, log = Clock(monkeypatch), io.StringIO()
    with Progress(Console(file=log)).task("control", 10) as bar:
        bar.advance(5, "success 40 %")
        clock.now_s += 30
        bar.advance(4)
    assert log.getvalue().splitlines()[-1].rstrip().endswith("success 40 %")


def test_an_empty_task_is_no_error():
    with Progress(Console(file=io.StringIO())).task("nothing", 0):
        pass


def test_a_terminal_gets_a_bar_with_its_note(capsys: pytest.CaptureFixture[str]):
    screen = io.StringIO()
    progress = Progress(Console(file=screen, force_terminal=True, width=120))
    with progress.task("perception", 4) as bar:
        bar.advance(4, "loss 0.125")
        progress.say("a line")
    assert "perception" in screen.getvalue()
    assert "loss 0.125" in screen.getvalue()
    assert "a line" in screen.getvalue()
    assert capsys.readouterr().out == ""


def test_results_can_be_piped_because_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]):
    progress = Progress()
    with progress.task("frames", 1) as bar:
        bar.advance()
    progress.say("left out: torn.stl")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "left out: torn.stl" in captured.err
