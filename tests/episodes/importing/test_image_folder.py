"""A folder of images with CSV files: names of columns, times, poses at a rate of their own, and mistakes in tables."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import frames_or_problem, open_first, problem, read_all
from row_files import picture, png

from simtoreal import frames
from simtoreal.episodes.importing.formats import open_source
from simtoreal.episodes.importing.settings import ImportConfig

HEADER = ["episode", "t_s", "image", "depth", "x", "y", "z", "qx", "qy", "qz", "qw", "gripper_width_m", "success"]


def table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def folder_of_images(folder: Path, num: int = 3) -> Path:
    """Two episodes of `num` frames at 10 Hz."""
    folder.mkdir(exist_ok=True)
    rows: list[list[object]] = []
    for episode in ("a", "b"):
        for index in range(num):
            (folder / f"{episode}{index}.png").write_bytes(png(picture(index)))
            cv2.imwrite(str(folder / f"{episode}{index}_depth.png"), np.full((32, 32), 400 + index, np.uint16))
            files = [f"{episode}{index}.png", f"{episode}{index}_depth.png"]
            pose = [0.1 * index, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
            rows.append([episode, 5.0 + 0.1 * index, *files, *pose, 0.05, "true" if episode == "a" else "false"])
    table(folder / "frames.csv", HEADER, rows)
    return folder


def test_names_of_columns_say_what_they_are(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path)
    source = open_source(ImportConfig(source=folder, depth_scale_m=0.001))
    assert source.names() == ["a", "b"]
    episode = source.open("b")
    assert episode.info.fps == 10.0
    for index, frame in enumerate(episode.frames):
        image = frame.images["camera"]
        np.testing.assert_array_equal(image.rgb, picture(index))  # type: ignore[arg-type]
        assert image.depth_m is not None
        assert image.depth_m[0, 0] == pytest.approx(0.4 + 0.001 * index)
        assert frame.t_s == pytest.approx(0.1 * index)
        assert frame.T_base_tcp is not None
        np.testing.assert_allclose(frame.T_base_tcp[:3, 3], [0.1 * index, 0.0, 0.3])
        assert frame.gripper_width_m == 0.05
    assert episode.end().success is False
    first = source.open("a")
    list(first.frames)
    assert first.end().success is True


def test_depth_without_a_scale_is_asked_for_by_name(tmp_path: Path) -> None:
    text = problem(folder_of_images(tmp_path))
    assert "frame 0: camera camera: the depth image holds uint16" in text
    assert "depth_scale_m=0.001" in text


def test_poses_at_a_rate_of_their_own_are_interpolated_to_the_pictures(tmp_path: Path) -> None:
    def pose_row(t_s: float) -> list[float]:
        turn = frames.rotation_to_quat(frames.rotation_about_z(0.8 * t_s))
        return [t_s, 0.2 * t_s, 0.0, 0.3, *turn, 0.08 - 0.01 * t_s, 0.5 * t_s]

    header = ["t_s", "x", "y", "z", "qx", "qy", "qz", "qw", "gripper_width_m", "joint_1_rad"]
    table(tmp_path / "poses.csv", header, [pose_row(t_s) for t_s in np.arange(0.0, 2.0, 0.07)])
    times_s = np.arange(0.1, 1.8, 0.1)
    for index in range(times_s.size):
        (tmp_path / f"{index}.png").write_bytes(png(picture(index % 10)))
    table(tmp_path / "frames.csv", ["t_s", "image"], [[t_s, f"{index}.png"] for index, t_s in enumerate(times_s)])
    for frame in read_all(tmp_path):
        t_s = 0.1 + frame.t_s
        assert frame.T_base_tcp is not None
        np.testing.assert_allclose(frame.T_base_tcp[:3, 3], [0.2 * t_s, 0.0, 0.3], atol=1e-9)
        np.testing.assert_allclose(frame.T_base_tcp[:3, :3], frames.rotation_about_z(0.8 * t_s), atol=1e-9)
        assert frame.gripper_width_m == pytest.approx(0.08 - 0.01 * t_s)
        assert frame.joint_positions_rad == pytest.approx([0.5 * t_s])


def test_a_picture_in_a_gap_of_the_poses_is_an_error(tmp_path: Path) -> None:
    header = ["t_s", "x", "y", "z", "qx", "qy", "qz", "qw"]
    table(tmp_path / "poses.csv", header, [[t_s, 0, 0, 0, 0, 0, 0, 1] for t_s in (0.0, 0.1, 0.9, 1.0)])
    (tmp_path / "a.png").write_bytes(png(picture(1)))
    table(tmp_path / "frames.csv", ["t_s", "image"], [[0.05, "a.png"], [0.5, "a.png"]])
    text = problem(tmp_path)
    assert "episode 0, frame 1: poses.csv has nothing within 0.2 s on both sides of 0.5000 s" in text
    assert len(read_all(tmp_path, max_gap_s=1.0)) == 2


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (["image", "x", "y", "z"], ["a.png", 0, 0, 0], "there are x, y, z but neither"),
        (["t_s"], [0], "no column names an image"),
        (["image", "rgb"], ["a.png", "a.png"], "camera camera has two columns of rgb"),
        (["image", "image"], ["a.png", "a.png"], "two columns have one name"),
        (["image", "t_s"], ["../a.png", 0], "the image '../a.png' lies outside the folder"),
        (["image", "t_s"], ["a.png", "soon"], "line 2: t_s='soon' is not a number"),
        (["image", "t_s"], ["b.png", 0], "b.png: the file cannot be read (No such file or directory)"),
        (["image", "t_s"], ["a.png"], "line 2 has another number of columns"),
        (["image"], ["a.png"], "give fps=N"),
    ],
)
def test_mistakes_in_the_table_are_explained(
    header: list[str], row: list[object], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png(picture(1)))
    table(tmp_path / "frames.csv", header, [row])
    assert message in problem(tmp_path, fps=None if "fps" in message else 10.0)


def test_one_frame_needs_a_rate_and_takes_a_given_one(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(picture(1)))
    table(tmp_path / "frames.csv", ["image", "task"], [["a.png", "push the box"]])
    episode = open_first(tmp_path, fps=2.0)
    assert (episode.info.fps, episode.info.task) == (2.0, "push the box")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_any_table_is_read_or_an_error(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "frames.csv").write_bytes(b"image,t_s\n" + junk)
    frames_or_problem(tmp_path, format="images")
    (tmp_path / "frames.csv").write_bytes(junk)
    frames_or_problem(tmp_path, format="images")
