"""`simtoreal import`: whole episodes into a verified dataset, broken ones reported, stopped ones taken up again."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from rich.console import Console
from row_files import example, record, rlds_episode, write_lerobot, write_rlds, write_robomimic

from simtoreal import cli
from simtoreal.episodes.importing.importer import REPORT, import_episodes
from simtoreal.episodes.importing.settings import ImportConfig, Needed
from simtoreal.episodes.importing.source import SourceError
from simtoreal.episodes.layout import Layout
from simtoreal.episodes.reader import DatasetReader
from simtoreal.episodes.verify import verify
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError

EPISODE = example(rlds_episode())


def run(source: Path, out: Path, **settings: object) -> tuple[int, str]:
    """Status and what was said."""
    said = io.StringIO()
    config = ImportConfig(source=source, out=out, **settings)  # type: ignore[arg-type]
    status = import_episodes(config, Progress(Console(file=said, width=200)))
    return status, said.getvalue()


def test_episodes_become_a_verified_dataset(tmp_path: Path) -> None:
    source = write_rlds(tmp_path / "bridge", [EPISODE] * 3)
    status, said = run(source, tmp_path / "out")
    assert status == 0
    assert "3 episodes with 12 frames imported, 0 were there already, 0 are broken" in said
    assert "assumed: columns are read as the shipped mapping bridge says" in said
    assert "lacking: K of every camera: give cameras.NAME.K in the mapping" in said
    assert list(verify(Layout(tmp_path / "out"), decode=True)) == []
    with DatasetReader(tmp_path / "out") as reader:
        frame = reader[2].frame(3)
        assert frame.t_s == pytest.approx(0.6)
        assert frame.commanded is not None
        assert frame.gripper_width_m == pytest.approx(0.074 * 0.7, abs=1e-6)
        assert reader[2].info.source.endswith("bridge_dataset-train.tfrecord-00000-of-00001#2")
        assert reader[2].end.success is None


def test_what_is_there_is_not_imported_again(tmp_path: Path) -> None:
    source, out = write_rlds(tmp_path / "bridge", [EPISODE] * 3), tmp_path / "out"
    assert "2 episodes with" in run(source, out, max_episodes=2)[1]
    assert "1 episodes with 4 frames imported, 2 were there already" in run(source, out)[1]
    assert "0 episodes with 0 frames imported, 3 were there already" in run(source, out)[1]
    other = write_rlds(tmp_path / "other", [EPISODE])
    assert "1 episodes with 4 frames imported, 0 were there already" in run(other, out)[1]
    with DatasetReader(out) as reader:
        assert len(reader.entries) == 4
    report = json.loads((out / REPORT).read_text())
    assert sorted(report) == [str(source), str(other)]


def test_a_broken_episode_is_reported_and_the_others_are_imported(tmp_path: Path) -> None:
    damaged = bytearray(record(EPISODE))
    damaged[500] ^= 1
    source = write_rlds(tmp_path / "bridge", [])
    file = source / "bridge_dataset-train.tfrecord-00000-of-00001"
    file.write_bytes(record(EPISODE) + bytes(damaged) + record(EPISODE) + record(EPISODE)[:-9])
    status, said = run(source, tmp_path / "out")
    assert status == 1
    assert "2 episodes with 8 frames imported, 0 were there already, 2 are broken" in said
    assert f"broken: {file}, episode {file.name}#1: the record at byte" in said
    assert "the file breaks off" in said
    assert list(verify(Layout(tmp_path / "out"))) == []
    report = json.loads((tmp_path / "out" / REPORT).read_text())[str(source)]
    assert sorted(report["broken"]) == [f"{file.name}#1", f"{file.name}#3"]


def test_an_episode_that_breaks_halfway_leaves_nothing(tmp_path: Path) -> None:
    source = write_robomimic(tmp_path / "d.hdf5", num_demos=2)
    with h5py.File(source, "r+") as file:
        file["data/demo_0/obs/robot0_eef_pos"][2] = np.nan
    status, said = run(source, tmp_path / "out")
    assert status == 1
    assert "episode demo_0, frame 2: the position robot0_eef_pos is not finite" in said
    with DatasetReader(tmp_path / "out") as reader:
        assert [len(reader[entry.index]) for entry in reader.entries] == [4]
    assert list(verify(Layout(tmp_path / "out"), decode=True)) == []


def test_times_that_go_back_name_the_frame(tmp_path: Path) -> None:
    features = rlds_episode()
    features["steps/time"] = [0.0, 0.1, 0.05, 0.2]
    source = write_rlds(tmp_path / "bridge", [example(features)])
    tree = json.loads((source / "features.json").read_text())
    steps = tree["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
    steps["time"] = {"tensor": {"shape": {}}}
    (source / "features.json").write_text(json.dumps(tree))
    mapping = tmp_path / "m.yaml"
    mapping.write_text("time: time\nfps: 10\ncameras: {main: {rgb: observation/image_0}}")
    with pytest.raises(SourceError, match=r"frame 2: t_s must grow from frame to frame, got 0\.05"):
        run(source, tmp_path / "out", mapping=str(mapping))


def test_what_is_required_is_asked_for_by_name(tmp_path: Path) -> None:
    source = write_rlds(tmp_path / "bridge", [EPISODE])
    with pytest.raises(SourceError) as caught:
        run(source, tmp_path / "out", require=(Needed.POSE, Needed.CALIBRATION, Needed.SUCCESS))
    assert "it lacks K of every camera: give cameras.NAME.K in the mapping" in str(caught.value)
    assert "give success=true or success=false" in str(caught.value)
    assert "tool pose" not in str(caught.value)
    status, _ = run(source, tmp_path / "out", require=(Needed.POSE, Needed.SUCCESS), success=True)
    assert status == 0
    with DatasetReader(tmp_path / "out") as reader:
        assert reader[0].end.success is True


def test_what_the_user_says_goes_before_the_recording(tmp_path: Path) -> None:
    source = write_rlds(tmp_path / "bridge", [EPISODE])
    run(source, tmp_path / "out", task="fold", robot="ur5", domain="lab", object_name="towel", fps=8.0)
    with DatasetReader(tmp_path / "out") as reader:
        info = reader[0].info
    assert (info.task, info.robot, info.domain, info.object_name, info.fps) == ("fold", "ur5", "lab", "towel", 8.0)


def test_episodes_that_do_not_fit_into_the_dataset_are_reported(tmp_path: Path) -> None:
    run(write_rlds(tmp_path / "bridge", [EPISODE]), tmp_path / "out")
    status, said = run(write_lerobot(tmp_path / "other", as_video=False), tmp_path / "out")
    assert status == 1
    assert "has 10.0 frames per second, and the dataset 5.0" in said


def test_nothing_to_import_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source is missing: give source=PATH"):
        import_episodes(ImportConfig(out=tmp_path / "out"))
    for name, message in (("gone", "there is no such file or folder"), ("empty", "the format cannot be told")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(SourceError, match=message):
            run(tmp_path / name, tmp_path / "out")
    (tmp_path / "zero.mcap").write_bytes(b"")
    with pytest.raises(SourceError, match="the file is empty"):
        run(tmp_path / "zero.mcap", tmp_path / "out")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(SourceError, match="Known are lerobot, robomimic, mcap"):
        run(tmp_path / "text.txt", tmp_path / "out")


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_robomimic(tmp_path / "d.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SourceError, match=r"needs h5py, which is not installed: pip install 'simtoreal\[importers\]'"):
        run(path, tmp_path / "out")


def test_several_formats_in_one_folder_are_not_guessed(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path / "both", [EPISODE])
    write_lerobot(tmp_path / "lerobot")
    (tmp_path / "lerobot" / "meta").rename(folder / "meta")
    with pytest.raises(SourceError, match="several formats fit: lerobot, rlds"):
        run(folder, tmp_path / "out")
    assert run(folder, tmp_path / "out", format="rlds")[0] == 0


def test_a_mislabelled_format_is_explained(tmp_path: Path) -> None:
    folder = write_rlds(tmp_path / "bridge", [EPISODE])
    for choice in ("lerobot", "mcap", "rosbag", "cornell", "jacquard", "images", "robomimic"):
        with pytest.raises(SourceError):
            run(folder, tmp_path / "out", format=choice)


def test_the_command_line_says_it_with_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    source = write_rlds(tmp_path / "bridge", [EPISODE])
    assert cli.main(["import", f"source={source}", f"out={tmp_path / 'out'}"]) == 0
    file = next(source.glob("*.tfrecord*"))
    file.write_bytes(file.read_bytes() + b"junk")
    assert cli.main(["import", f"source={source}", f"out={tmp_path / 'out'}"]) == 1
    assert cli.main(["import", f"source={tmp_path / 'gone'}", f"out={tmp_path / 'out2'}"]) == 2
    assert "gone: there is no such file or folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_at_any_time_it_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    source, out = write_rlds(tmp_path / "bridge", [example(rlds_episode(40))] * 30), tmp_path / "out"
    command = [sys.executable, "-m", "simtoreal.cli", "import", f"source={source}", f"out={out}"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("data/*/*.parquet"))) < 3:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(how)
    said = child.communicate(timeout=60)[1]
    if how is signal.SIGINT:
        assert child.returncode == 130
        assert "Run the same command again to go on" in said
    with DatasetReader(out) as reader:
        assert 2 <= len(reader.entries) < 30
    assert run(source, out)[0] == 0
    with DatasetReader(out) as reader:
        assert sorted(entry.info.source.rpartition("#")[2] for entry in reader.entries) == sorted(map(str, range(30)))
    assert list(verify(Layout(out), decode=True)) == []
