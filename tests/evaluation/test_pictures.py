"""Drawings land where the grasp is, and encodings give back what was drawn."""

import base64
import math

import cv2
import numpy as np
import pytest

from simtoreal import camera, frames
from simtoreal.camera import CameraModel
from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.evaluation import pictures

GREY = np.full((64, 64, 3), 128, dtype=np.uint8)
WIDE = CameraModel.from_fov(64, 48, math.radians(60))
T_BASE_CAM = frames.look_at((0.5, 0.0, 0.4), (0.5, 0.0, 0.0), up=(1.0, 0.0, 0.0))


def make_observation(distortion: tuple[float, ...] | None = None, depth_only: bool = False) -> Observation:
    rgb = None if depth_only else np.full((48, 64, 3), 128, dtype=np.uint8)
    depth_m = np.full((48, 64), 0.4, dtype=np.float32) if depth_only else None
    lens = None if distortion is None else np.array(distortion)
    return Observation(0.0, rgb, depth_m, WIDE.K, T_BASE_CAM, frames.top_down((0.5, 0.0, 0.3), 0.0), 0.08, None, lens)


def make_estimate(position_m: tuple[float, float, float] = (0.5, 0.0, 0.0), yaw_rad: float = 0.0) -> GraspEstimate:
    quality_map = np.zeros((8, 8), dtype=np.float32)
    quality_map[2, 6] = 1.0
    view = np.full((64, 64, 3), 128, dtype=np.uint8)
    return GraspEstimate(frames.top_down(position_m, yaw_rad), 0.05, 0.9, 0.0, quality_map, view, (52.0, 20.0))


def drawn_pixels(picture: np.ndarray) -> np.ndarray:
    """(N, 2) u, v of pixels in the jaws' colour."""
    v, u = np.nonzero((picture == pictures.JAWS).all(axis=2))
    return np.stack([u, v], axis=1)


@pytest.mark.parametrize(("height", "width", "expected"), [(64, 64, 256), (48, 64, 288), (300, 500, 300), (1, 1, 256)])
def test_upscale_uses_whole_factors(height: int, width: int, expected: int) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    large = pictures.upscale(rgb)
    assert large.shape[0] == expected
    factor = large.shape[0] // height
    assert (large[::factor, ::factor] == rgb).all()


def test_drawn_grasp_is_centred_on_its_pixel_and_as_wide_as_the_opening() -> None:
    drawing = pictures.draw_grasp(GREY, (32.0, 20.0), 0.0, 20.0)
    found = drawn_pixels(drawing) / 4 - 0.5
    assert found.mean(axis=0) == pytest.approx((32.0, 20.0), abs=0.3)
    assert np.ptp(found[:, 0]) == pytest.approx(20.0, abs=2.0)
    assert (GREY == 128).all()


def test_drawn_grasp_turns_with_its_angle() -> None:
    level, upright = (drawn_pixels(pictures.draw_grasp(GREY, (32, 32), angle, 30)) for angle in (0.0, math.pi / 2))
    assert np.ptp(level[:, 0]) > np.ptp(level[:, 1])
    assert np.ptp(upright[:, 1]) > np.ptp(upright[:, 0])


def test_overlay_colours_good_places_and_leaves_nan_alone() -> None:
    quality = np.zeros((8, 8))
    quality[2, 6] = 1.0
    quality[7, 0] = np.nan
    overlay = pictures.quality_overlay(GREY, quality).astype(int)
    spread = np.ptp(overlay, axis=2)
    assert spread[80, 208] > 60
    assert spread[250, 5] < 30


def test_estimate_is_drawn_where_the_camera_sees_it() -> None:
    position = (0.55, 0.03, 0.0)
    expected = camera.project(position, WIDE.K, T_BASE_CAM)
    drawing = pictures.draw_estimate(make_observation(), make_estimate(position))
    factor = drawing.shape[0] / 48
    assert drawn_pixels(drawing).mean(axis=0) / factor - 0.5 == pytest.approx(expected, abs=0.6)


def test_drawing_follows_the_distortion_of_the_lens() -> None:
    position = (0.62, 0.08, 0.0)
    lens = (-0.3, 0.1, 0.0, 0.0, 0.0)
    straight = drawn_pixels(pictures.draw_estimate(make_observation(), make_estimate(position))).mean(axis=0)
    bent = drawn_pixels(pictures.draw_estimate(make_observation(lens), make_estimate(position))).mean(axis=0)
    centre = np.array([192, 144])
    assert np.linalg.norm(bent - centre) < np.linalg.norm(straight - centre) - 2


def test_grasp_out_of_view_is_not_drawn() -> None:
    drawing = pictures.draw_estimate(make_observation(), make_estimate((3.0, 0.0, 0.0)))
    assert (drawing == 128).all()


def test_depth_only_observations_are_shaded() -> None:
    assert len(drawn_pixels(pictures.draw_estimate(make_observation(depth_only=True), make_estimate()))) > 20
    depth_m = np.array([[0.2, 0.9], [np.nan, 0.9]], dtype=np.float32)
    shaded = pictures.depth_picture(depth_m)
    assert shaded[0, 0].min() > shaded[0, 1].max()
    assert shaded[1, 0, 2] > shaded[1, 0, 0]
    assert pictures.depth_picture(np.full((2, 2), np.nan)).shape == (2, 2, 3)


def test_an_observation_without_images_is_named() -> None:
    blind = make_observation()._replace(rgb=None)
    with pytest.raises(ValueError, match="neither rgb nor depth_m"):
        pictures.camera_picture(blind)


def test_estimates_without_a_map_have_no_overlay() -> None:
    assert pictures.estimate_overlay(make_estimate()._replace(quality_map=None)) is None
    overlay = pictures.estimate_overlay(make_estimate())
    assert overlay is not None
    assert drawn_pixels(overlay).mean(axis=0) / 4 == pytest.approx((52.5, 20.5), abs=0.5)


def test_contact_sheet_holds_every_picture() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    items = [(np.full((10, 20, 3), colour, dtype=np.uint8), "Käse, a long caption that is cut") for colour in colours]
    sheet = pictures.contact_sheet(items, columns=2, cell_px=64)
    for colour in colours:
        assert (sheet == colour).all(axis=2).sum() == 64 * 32
    with pytest.raises(ValueError, match="need pictures"):
        pictures.contact_sheet([])


def test_data_uri_is_the_smaller_encoding_and_keeps_the_colours() -> None:
    flat = np.full((32, 32, 3), (250, 10, 60), dtype=np.uint8)
    noisy = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    assert pictures.data_uri(flat).startswith("data:image/png")
    assert pictures.data_uri(noisy).startswith("data:image/jpeg")
    content = base64.b64decode(pictures.data_uri(flat).split(",")[1])
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert tuple(decoded[0, 0, ::-1]) == (250, 10, 60)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_not_an_rgb_image_is_named(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 RGB"):
        pictures.upscale(wrong)
