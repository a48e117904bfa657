"""The journal loses at most the running episode, whatever stops the run."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simtoreal.evaluation.journal import EpisodeJournal
from simtoreal.evaluation.output_files import RunFolderError
from simtoreal.evaluation.records import EpisodeRecord

FINGERPRINT = {"seed": 0, "objects": "random_test"}


def make_record(episode: int, arm: str = "policy", **changes: Any) -> EpisodeRecord:
    values: dict[str, Any] = {"success": True, "failure": "", "num_attempts": 1, "duration_s": 1.0}
    return EpisodeRecord(episode, f"s{episode}", "mug", "mug", "small", arm=arm, **(values | changes))


def write_journal(folder: Path, num_records: int, resume: bool = False) -> None:
    with EpisodeJournal(folder, FINGERPRINT, resume=resume) as journal:
        for episode in range(num_records):
            journal.append(make_record(episode))


def test_resume_goes_on_where_the_earlier_run_stopped(tmp_path: Path) -> None:
    write_journal(tmp_path, 3)
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=True) as journal:
        assert journal.finished == {("policy", 0), ("policy", 1), ("policy", 2)}
        journal.append(make_record(3, arm="oracle"))
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=True) as journal:
        assert [len(records) for records in journal.by_arm().values()] == [3, 1]
        assert journal.num_damaged_lines == 0


@pytest.mark.parametrize("num_bytes_lost", [1, 20])
def test_half_a_last_line_is_cut_off(tmp_path: Path, num_bytes_lost: int) -> None:
    write_journal(tmp_path, 3)
    path = tmp_path / "episodes.jsonl"
    os.truncate(path, path.stat().st_size - num_bytes_lost)
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=True) as journal:
        assert journal.finished == {("policy", 0), ("policy", 1)}
        journal.append(make_record(2))
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=True) as journal:
        assert len(journal.records) == 3
        assert journal.num_damaged_lines == 0


def test_damaged_lines_are_counted_and_their_episodes_run_again(tmp_path: Path) -> None:
    write_journal(tmp_path, 3)
    path = tmp_path / "episodes.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = "\x00\x00"
    path.write_text("\n".join(lines) + "\n")
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=True) as journal:
        assert journal.num_damaged_lines == 1
        assert journal.finished == {("policy", 0), ("policy", 2)}


@pytest.mark.parametrize("content", ["", '{"fingerprint": {"se'])
def test_a_run_killed_before_its_first_episode_resumes(tmp_path: Path, content: str) -> None:
    (tmp_path / "episodes.jsonl").write_text(content)
    write_journal(tmp_path, 1, resume=True)
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=True) as journal:
        assert len(journal.records) == 1


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    write_journal(tmp_path, 1)
    with pytest.raises(RunFolderError, match=r"seed was 0, now 1.*out=DIR"):
        EpisodeJournal(tmp_path, FINGERPRINT | {"seed": 1}, resume=True)


@pytest.mark.parametrize("header", ["not json", "[1]", "{}", '{"fingerprint": 3}'])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "episodes.jsonl").write_text(header + "\n")
    with pytest.raises(RunFolderError, match="does not begin with its settings"):
        EpisodeJournal(tmp_path, FINGERPRINT, resume=True)


def test_starting_afresh_keeps_the_earlier_journals(tmp_path: Path) -> None:
    for num_records in (1, 2, 3):
        write_journal(tmp_path, num_records)
    sizes = {path.name: len(path.read_text().splitlines()) for path in tmp_path.iterdir()}
    assert sizes == {"episodes.1.jsonl": 2, "episodes.2.jsonl": 3, "episodes.jsonl": 4}


def test_an_episode_run_twice_counts_once(tmp_path: Path) -> None:
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=False) as journal:
        journal.append(make_record(1))
        journal.append(make_record(0))
        journal.append(make_record(1, success=False, failure="missed"))
        assert [(record.episode, record.success) for record in journal.by_arm()["policy"]] == [(0, True), (1, False)]


def test_a_full_disk_is_said_and_the_journal_still_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=False) as journal, open("/dev/full", "ab", buffering=0) as full:
        with monkeypatch.context() as patch:
            patch.setattr(journal, "_stream", full)
            with pytest.raises(RunFolderError, match="the disk is full: free some space"):
                journal.append(make_record(0))
        assert journal.finished == set()


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from simtoreal.evaluation.journal import EpisodeJournal\n"
        "from simtoreal.evaluation.records import EpisodeRecord\n"
        f"journal = EpisodeJournal(Path(sys.argv[1]), {FINGERPRINT!r}, resume=False)\n"
        "for i in range(5): journal.append(EpisodeRecord(i, 's', 'mug', 'mug', 'small', True, '', 1, 1.0))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    with EpisodeJournal(tmp_path, FINGERPRINT, resume=True) as journal:
        assert len(journal.finished) == 5
