"""How far what lies between the jaws went, on pictures whose motion is known."""

import cv2
import numpy as np
import pytest
from tabletop import T_TCP_CAM, K, picture

from simtoreal import frames
from simtoreal.episodes.grasp_views import PosedImage
from simtoreal.episodes.jaw_pictures import JawPicture, JawPictureConfig, jaw_picture, pushed_m
from simtoreal.episodes.records import FrameImage

CONFIG = JawPictureConfig()
WIDTH_M = 0.03


def texture() -> np.ndarray:
    noise = np.random.default_rng(0).normal(128.0, 60.0, (201, 201))
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 3.0) * 4 - 384, 0, 255).astype(np.uint8)


def moved(steps: list[tuple[float, float, float]]) -> list[JawPicture]:
    """A texture after each motion: along the jaws and across them in cells, and turned by degrees."""
    made = []
    for along, across, turn_deg in steps:
        M = cv2.getRotationMatrix2D((100.0, 100.0), turn_deg, 1.0)
        M[:, 2] += (along, across)
        shades = cv2.warpAffine(texture(), M, (201, 201), borderMode=cv2.BORDER_REFLECT)[50:151, 50:151].copy()
        made.append(JawPicture(shades, np.ones_like(shades, dtype=bool)))
    return made


@pytest.mark.parametrize("way", [(0.0, 0.0), (12.0, 0.0), (-9.0, 5.0), (0.0, 8.0)])
def test_the_way_of_what_is_between_the_jaws(way: tuple[float, float]) -> None:
    steps = [(share * way[0], share * way[1], 0.0) for share in np.linspace(0.0, 1.0, 8)]
    far_m = pushed_m(moved(steps), WIDTH_M, CONFIG)
    assert far_m == pytest.approx(1e-3 * np.hypot(*way), abs=0.7e-3)


def test_what_turns_between_the_jaws_hardly_counts() -> None:
    far_m = pushed_m(moved([(0.0, 0.0, angle) for angle in np.linspace(0.0, 20.0, 8)]), WIDTH_M, CONFIG)
    assert far_m is not None
    assert far_m < CONFIG.max_push_m


def test_fingers_that_close_beside_it_are_no_push() -> None:
    pictures = moved([(0.0, 0.0, 0.0)] * 8)
    for index, at_once in enumerate(pictures):
        edge = 20 + 2 * index
        at_once.shades[40:60, :edge] = at_once.shades[40:60, 101 - edge :] = 230
    far_m = pushed_m(pictures, WIDTH_M, CONFIG)
    assert far_m is not None
    assert far_m < 1e-3


def test_without_two_pictures_of_the_place_nothing_is_known() -> None:
    pictures = moved([(0.0, 0.0, 0.0)] * 2)
    assert pushed_m(pictures[:1], WIDTH_M, CONFIG) is None
    assert (
        pushed_m([pictures[0], pictures[1]._replace(is_seen=np.zeros((101, 101), dtype=bool))], WIDTH_M, CONFIG) is None
    )


def test_the_motion_of_the_camera_is_taken_out() -> None:
    T_base_grasp = frames.top_down([0.5, 0.0, 0.04], 0.4)  # at the height of the top of the box
    pictures = []
    for lift_m in (0.0, 0.005, 0.01):
        T_base_cam = frames.transform([0.0, 0.0, lift_m]) @ T_base_grasp @ T_TCP_CAM
        rgb, _ = picture(T_base_cam, (0.5, 0.0))
        pictures.append(jaw_picture(PosedImage(FrameImage(0.0, rgb), K, None, T_base_cam, True), T_base_grasp, CONFIG))
    far_m = pushed_m(pictures, WIDTH_M, CONFIG)
    assert far_m is not None
    assert far_m < 1.5e-3
