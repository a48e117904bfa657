"""Cornell and Jacquard: one frame per image, rectangles as labels, and files that are damaged."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from reading import open_first, problem
from row_files import picture, png

from simtoreal.episodes.grasp_rectangles import LABEL, from_label
from simtoreal.episodes.importing.formats import detect, open_source
from simtoreal.episodes.importing.settings import ImportConfig, SourceFormat

CORNELL = Path(__file__).resolve().parents[4] / "shared" / "data" / "cornell"
POSITIVE = "10 5\n20 5\n20 9\n10 9\nNaN NaN\n1 1\n2 2\n3 3\n"


def cornell(folder: Path, labels: str = POSITIVE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pcd0100r.png").write_bytes(png(picture(5)))
    (folder / "pcd0100cpos.txt").write_text(labels)
    return folder


def test_cornell_is_one_frame_with_its_rectangles(tmp_path: Path) -> None:
    folder = cornell(tmp_path)
    (folder / "pcd0100cneg.txt").write_text("0 0\n4 0\n4 4\n0 4\n")
    assert detect(folder) is SourceFormat.CORNELL
    episode = open_first(folder)
    (frame,) = episode.frames
    np.testing.assert_array_equal(frame.images["rgb"].rgb, picture(5))  # type: ignore[arg-type]
    assert frame.T_base_tcp is None
    labels = episode.end().labels[LABEL]
    assert [label["positive"] for label in labels] == [True, False]
    assert from_label(labels[0]).center_px == (15.0, 7.0)
    assert from_label(labels[0]).opening_px == 10.0
    assert list(episode.remarks()) == ["pcd0100cpos.txt: rectangle 1 has corners that are not numbers and is left out"]
    assert (episode.info.domain, episode.info.fps, episode.end().success) == ("real", 1.0, None)


def test_jacquard_has_depth_and_angles_the_other_way_round(tmp_path: Path) -> None:
    inner = tmp_path / "0" / "ab12"
    inner.mkdir(parents=True)
    (inner / "0_ab12_RGB.png").write_bytes(png(picture(2)))
    (inner / "0_ab12_grasps.txt").write_text("10.0;12.0;45;20;8\n11;12;-10;20;8\n")
    cv2.imwrite(str(inner / "0_ab12_perfect_depth.tiff"), np.full((32, 32), 1.25, np.float32))
    assert detect(tmp_path) is SourceFormat.JACQUARD
    episode = open_first(tmp_path)
    (frame,) = episode.frames
    assert episode.info.domain == "jacquard"
    assert frame.images["rgb"].depth_m is not None
    assert frame.images["rgb"].depth_m[0, 0] == 1.25
    angles = [from_label(label).angle_rad for label in episode.end().labels[LABEL]]
    assert np.degrees(angles) == pytest.approx([-45.0, 10.0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("1 2\n3 4\n5 6\n", "3 lines are no rectangles of four corners"),
        ("1 2\n3 4\n5 6\n7\n", "pcd0100cpos.txt"),
        ("1 1\n1 1\n1 1\n1 1\n", "the rectangle has no area"),
        ("a b\nc d\ne f\ng h\n", "could not convert"),
        ("1 1\n2 1\n2 2\ninf 2\n", "four finite corners"),
    ],
)
def test_labels_that_are_none_name_file_and_episode(labels: str, message: str, tmp_path: Path) -> None:
    text = problem(cornell(tmp_path, labels))
    assert message in text
    assert "episode pcd0100" in text


def test_labels_or_images_that_are_missing_or_damaged_are_errors(tmp_path: Path) -> None:
    folder = cornell(tmp_path)
    image = (folder / "pcd0100r.png").read_bytes()
    (folder / "pcd0100r.png").write_bytes(image[: len(image) // 2])
    assert "the image breaks off" in problem(folder)
    (folder / "pcd0100r.png").write_bytes(b"GIF89a")
    assert "not a PNG, JPEG or TIFF image" in problem(folder)
    (folder / "pcd0100r.png").write_bytes(image)
    (folder / "pcd0100cpos.txt").unlink()
    assert "pcd0100cpos.txt, episode pcd0100, frame 0: the file cannot be read" in problem(folder, format="cornell")


def test_one_name_for_two_images_is_an_error(tmp_path: Path) -> None:
    cornell(tmp_path / "01"), cornell(tmp_path / "02")
    assert "two images are called pcd0100" in problem(tmp_path)


@pytest.mark.skipif(not CORNELL.is_dir(), reason="the real images are not there")
def test_the_real_images_can_be_read() -> None:
    source = open_source(ImportConfig(source=CORNELL))
    names = source.names()
    assert len(names) == 580
    episode = source.open(names[0])
    (frame,) = episode.frames
    assert frame.images["rgb"].rgb is not None
    assert frame.images["rgb"].rgb.shape == (480, 640, 3)
    # the table is white, the objects lie on it: rectangles are where the picture is not the table
    assert len(episode.end().labels[LABEL]) >= 1
