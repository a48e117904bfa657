"""Whatever ends a recording - kill -9, a full disk, a second writer - the episodes before it are whole."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from episode_samples import episode_info, frames_of, write_dataset

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.records import EpisodeEnd
from simtoreal.episodes.repair import repair
from simtoreal.episodes.verify import verify
from simtoreal.episodes.writer import DatasetWriter

HERE = Path(__file__).parent
# Says after each episode that it is finished: from then on it must survive.
RECORDING = """
import sys
from pathlib import Path
from episode_samples import episode_info, frames_of
from simtoreal.episodes.records import EpisodeEnd
from simtoreal.episodes.writer import DatasetWriter
with DatasetWriter(Path(sys.argv[1])) as writer:
    print("ready", flush=True)
    for number in range(10_000):
        writer.write(episode_info(), frames_of(4, number), EpisodeEnd(success=True))
        print(number, flush=True)
"""


def start_recording(folder: Path) -> subprocess.Popen[str]:
    search = os.pathsep.join([str(HERE), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", RECORDING, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": search},
    )


def kill_after(recording: subprocess.Popen[str], num_episodes: int, delay_s: float) -> int:
    """Waits for some episodes, then a moment longer, and kills; returns how many were said to be finished."""
    assert recording.stdout is not None
    assert recording.stdout.readline() == "ready\n"
    said = [recording.stdout.readline() for _ in range(num_episodes)]
    time.sleep(delay_s)
    recording.send_signal(signal.SIGKILL)
    said += recording.stdout.readlines()
    recording.stdout.close()
    recording.wait()
    return len(said)


@pytest.mark.slow
def test_a_recording_killed_at_any_instant_loses_at_most_the_episode_in_progress(tmp_path: Path) -> None:
    rng = random.Random(0)
    held = 0
    for attempt in range(12):  # one folder: each recording goes on from what the one before left behind
        folder = tmp_path / "d"
        num_finished = held + kill_after(start_recording(folder), attempt % 3, rng.uniform(0.0, 0.15))
        if num_finished == 0 and not (folder / "meta/episodes").exists():
            continue
        with DatasetReader(folder) as reader:
            assert num_finished <= len(reader) <= num_finished + 1
            assert sum(1 for episode in reader for _ in episode) == 4 * len(reader)
            held = len(reader)
        problems = [str(problem) for problem in verify(Layout(folder), decode=True)]
        assert all("belongs to no episode" in text or "and there are" in text for text in problems), problems
    assert held > 6
    repair(folder)
    assert list(verify(Layout(folder), decode=True)) == []


def test_a_recording_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    num_finished = kill_after(start_recording(tmp_path / "d"), 1, 0.03)
    with DatasetWriter(tmp_path / "d") as writer:
        held = writer.num_episodes
        assert num_finished <= held <= num_finished + 1
        writer.write(episode_info(), frames_of(4), EpisodeEnd())
    with DatasetReader(tmp_path / "d") as reader:
        assert len(reader) == held + 1
    assert not (tmp_path / "d/.simtoreal/in_progress").exists()


def test_two_writers_on_one_folder_are_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "d"):
        with pytest.raises(DatasetError, match=f"process {os.getpid()} is writing to this dataset"):
            DatasetWriter(tmp_path / "d")
        other = start_recording(tmp_path / "d")
        assert other.wait() != 0
        assert other.stdout is not None
        other.stdout.close()
    DatasetWriter(tmp_path / "d").close()  # and accepted again


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """The kernel refuses to let files grow further, as it does when a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("num_bytes", [0, 100, 4_000, 20_000, 45_000, 70_000])
def test_a_full_disk_costs_the_episode_that_did_not_fit(tmp_path: Path, num_bytes: int) -> None:
    folder = write_dataset(tmp_path / "d", (3, 3))
    with DatasetWriter(folder) as writer:
        with files_of_at_most(num_bytes), pytest.raises(DatasetError, match="cannot be written") as caught:
            writer.write(episode_info(), frames_of(60, 9), EpisodeEnd())
        assert "The episodes finished before are kept" in str(caught.value)
        assert str(folder) in str(caught.value)
        assert writer.num_episodes == 2
        writer.write(episode_info(), frames_of(3, 3), EpisodeEnd())  # room was made
    assert list(verify(Layout(folder), decode=True)) == []
    with DatasetReader(folder) as reader:
        assert [len(episode) for episode in reader] == [3, 3, 3]


def test_without_an_encoder_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise av.codec.codec.UnknownCodecError("libx264")

    monkeypatch.setattr("av.container.OutputContainer.add_stream", refuse, raising=False)
    with DatasetWriter(tmp_path / "d") as writer, pytest.raises(DatasetError, match="libx264"):
        writer.write(episode_info(), frames_of(2), EpisodeEnd())
