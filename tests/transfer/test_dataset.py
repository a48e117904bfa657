"""From recorded episodes to labelled views: right where the truth is known, cached, and plain about what is missing."""

from pathlib import Path

import numpy as np
import pytest
from bar_episodes import write
from bar_scenes import VIEW

from simtoreal.episodes.errors import DatasetError
from simtoreal.episodes.reader import DatasetReader
from simtoreal.policies.view import ViewSpec
from simtoreal.progress import Progress
from simtoreal.schema import ConfigError
from simtoreal.transfer.data.dataset import RealData, Wanted, choose_camera, load_real_data
from simtoreal.transfer.data.labels import Hindsight


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three successes and a failure."""
    return write(tmp_path_factory.mktemp("episodes") / "dataset", (True, True, False, True))


def load(folder: Path, cache: Path, quiet: Progress, wanted: Wanted | None = None) -> RealData:
    return load_real_data(folder, wanted or Wanted(VIEW, max_frames=6), Hindsight(), cache, quiet)


def test_successes_are_judged_and_failures_are_trained_on(recorded: Path, tmp_path: Path, quiet: Progress):
    data = load(recorded, tmp_path, quiet)
    assert data.judgeable.tolist() == [0, 1, 3]
    assert data.only_training.tolist() == [2]
    assert [note.num_held > 0 for note in data.notes] == [True, True, False, True]
    assert data.notes[2].num_failed > 0


def test_labels_lie_on_the_bar_that_the_view_shows(recorded: Path, tmp_path: Path, quiet: Progress):
    frames = load(recorded, tmp_path, quiet).frames
    for index in np.flatnonzero(frames.has_held):
        view, known = frames.view(int(index)), frames.known(int(index))[0]
        T_view_base = np.linalg.inv(view.T_base_view)
        seen = T_view_base[:3, :3] @ known[:3] + T_view_base[:3, 3]
        u, v = (view.K @ seen)[:2] / seen[2]
        heights = view.height_m[max(round(v) - 1, 0) : round(v) + 2, max(round(u) - 1, 0) : round(u) + 2]
        assert np.nanmax(heights) > 0.03, f"frame {index} has its label beside the bar"
        assert known[4] == pytest.approx(0.024, abs=1e-3)


def test_not_more_frames_than_wanted_are_kept(recorded: Path, tmp_path: Path, quiet: Progress):
    data = load(recorded, tmp_path, quiet, Wanted(VIEW, max_frames=2))
    labelled = data.frames.is_labelled
    assert max(int((data.frames.episode[labelled] == episode).sum()) for episode in range(4)) == 2


def test_the_cache_gives_the_same_and_is_not_made_again(recorded: Path, tmp_path: Path, quiet: Progress):
    first = load(recorded, tmp_path, quiet)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    again = load(recorded, tmp_path, quiet)
    assert times
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == times
    for name in ("rgb", "height_m", "grasps", "episode", "frame"):
        assert np.array_equal(getattr(first.frames, name), getattr(again.frames, name), equal_nan=name == "height_m")
    assert first.digest == again.digest


def test_another_view_is_another_entry_of_the_cache(recorded: Path, tmp_path: Path, quiet: Progress):
    load(recorded, tmp_path, quiet)
    assert load(recorded, tmp_path, quiet, Wanted(ViewSpec(pixels=40), max_frames=6)).frames.rgb.shape[1] == 40


def test_an_episode_without_intrinsics_says_so_and_the_rest_is_used(tmp_path: Path, quiet: Progress):
    folder = write(tmp_path / "dataset", (True,))
    write(folder, (True, True), seed=1)
    write(folder, (True,), seed=2, K=None)
    data = load(folder, tmp_path / "cache", quiet)
    assert data.judgeable.tolist() == [0, 1, 2]
    assert "intrinsics" in data.notes[3].problem


def test_nothing_to_learn_from_names_the_first_reason(tmp_path: Path, quiet: Progress):
    folder = write(tmp_path / "dataset", (True,), K=None)
    with pytest.raises(DatasetError, match=r"dataset.*intrinsics.*import it again"):
        load(folder, tmp_path / "cache", quiet)


def test_no_dataset_and_no_episode(tmp_path: Path, quiet: Progress):
    with pytest.raises(DatasetError):
        load(tmp_path / "nowhere", tmp_path / "cache", quiet)


@pytest.mark.parametrize(
    ("view", "camera", "said"),
    [
        (ViewSpec("external", "rgbd", 32), None, r"external camera.*wrist \(wrist\)"),
        (VIEW, "table", "camera=table: the episodes have wrist"),
    ],
)
def test_a_camera_that_is_not_there(recorded: Path, view: ViewSpec, camera: str | None, said: str):
    with DatasetReader(recorded) as reader, pytest.raises(ConfigError, match=said):
        choose_camera(reader, Wanted(view, camera))


def test_a_bundle_that_needs_depth_is_not_given_colour_alone(tmp_path: Path, quiet: Progress):
    folder = write(tmp_path / "dataset", (True,), depth=False)
    with pytest.raises(ConfigError, match=r"needs depth \(rgbd\).*modality=rgb"):
        load(folder, tmp_path / "cache", quiet)
    with DatasetReader(folder) as reader:
        assert choose_camera(reader, Wanted(ViewSpec(modality="rgb", pixels=32))) == "wrist"


def test_a_damaged_cache_is_named(recorded: Path, tmp_path: Path, quiet: Progress):
    load(recorded, tmp_path, quiet)
    damaged = next(tmp_path.rglob("rgb.npy"))
    damaged.write_bytes(damaged.read_bytes()[:40])
    data = load(recorded, tmp_path, quiet)
    assert sum("delete it, it is a cache" in note.problem for note in data.notes) == 1
