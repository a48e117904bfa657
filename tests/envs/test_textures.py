"""Procedural textures and photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from simtoreal.envs.textures import KINDS, PROCEDURAL_KINDS, PhotoFolder, texture


@pytest.mark.parametrize("kind", KINDS)
def test_a_texture_is_an_image_and_always_the_same(kind: str) -> None:
    for seed in (0, 1, 12345, 2**31 - 1):
        image = texture(kind, seed)
        assert (image.shape, image.dtype) == ((128, 128, 3), np.uint8)
        assert image.flags.c_contiguous
        assert not image.flags.writeable  # it is shared by everybody who asks for it
        assert texture(kind, seed) is image


@pytest.mark.parametrize("kind", PROCEDURAL_KINDS)
def test_seeds_vary_in_pattern_colour_and_brightness(kind: str) -> None:
    images = np.array([texture(kind, seed) for seed in range(24)]).astype(float)
    assert len({image.tobytes() for image in images}) == 24
    assert images.mean(axis=(1, 2, 3)).std() > 15
    assert images.mean(axis=(1, 2)).std(axis=1).mean() > 8  # coloured, not grey
    assert np.median(images.std(axis=(1, 2)).max(axis=1)) > 10  # patterned, not plain


def test_kinds_do_not_share_colours_of_a_seed() -> None:
    first_pixels = {tuple(texture(kind, 3)[0, 0]) for kind in PROCEDURAL_KINDS}
    assert len(first_pixels) > 8


def test_plain_is_white_so_that_colour_times_texture_is_the_colour() -> None:
    assert (texture("plain", 7) == 255).all()


@pytest.mark.parametrize("kind", ["checker", "noise", "marble", "voronoi", "gradient"])
def test_tiles_meet_without_a_seam(kind: str) -> None:
    """The step across the border is no larger than the steps inside."""
    across, inside = [], []
    for seed in range(20):
        image = texture(kind, seed).astype(float)
        across.append(np.abs(image[0] - image[-1]).mean() + np.abs(image[:, 0] - image[:, -1]).mean())
        steps = np.abs(np.diff(image, axis=0)).mean(axis=(1, 2)), np.abs(np.diff(image, axis=1)).mean(axis=(0, 2))
        inside.append(steps[0].max() + steps[1].max())
    assert np.mean(across) <= 1.1 * np.mean(inside) + 1.0


@pytest.mark.parametrize(
    ("kind", "seed", "message"),
    [("tartan", 0, "'tartan' is unknown; allowed: plain, checker"), ("noise", -1, "seed must be 0 or more, got -1")],
)
def test_unknown_kind_and_negative_seed_are_refused(kind: str, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        texture(kind, seed)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs, one of them in a folder inside, beside files that are not."""
    left_red = np.zeros((300, 500, 3), np.uint8)
    left_red[:, :250, 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tmp_path / "b.png"), left_red)
    (tmp_path / "deeper").mkdir()
    cv2.imwrite(str(tmp_path / "deeper" / "a.JPG"), np.full((40, 60, 3), 90, np.uint8))
    (tmp_path / "notes.txt").write_text("no photograph")
    return tmp_path


def test_photographs_are_cropped_by_seed(photos: Path) -> None:
    folder = PhotoFolder(photos)
    assert [path.name for path in folder.paths] == ["b.png", "a.JPG"]
    crops = [folder.crop(seed) for seed in range(40)]
    assert all(crop.shape == (128, 128, 3) and crop.dtype == np.uint8 for crop in crops)
    assert np.array_equal(PhotoFolder(photos).crop(5), crops[5])
    assert np.max([crop[..., 0] for crop in crops]) > 250  # the red is red
    assert np.max([crop[..., 2] for crop in crops]) < 100
    assert len({crop.tobytes() for crop in crops}) > 10


def test_texture_of_kind_photo_comes_from_the_folder(photos: Path) -> None:
    assert np.array_equal(texture("photo", 5, str(photos)), PhotoFolder(photos).crop(5))


def test_an_unreadable_photograph_is_passed_over_and_counted(photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"not an image")
    (photos / "empty.png").touch()
    folder = PhotoFolder(photos)
    for seed in range(30):
        assert folder.crop(seed).shape == (128, 128, 3)
    assert [path.name for path in folder.unreadable] == ["broken.jpg", "empty.png"]


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        PhotoFolder(tmp_path / "missing")
    with pytest.raises(ValueError, match="no such folder"):
        texture("photo", 0)
    with pytest.raises(ValueError, match=r"holds no \.jpg or \.png"):
        PhotoFolder(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    with pytest.raises(ValueError, match="none of its 1 files can be decoded"):
        PhotoFolder(tmp_path).crop(0)
