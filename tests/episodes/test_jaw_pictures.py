"""How much of what lies between the jaws changed, on pictures whose motion is known."""

import cv2
import numpy as np
import pytest
from tabletop import T_TCP_CAM, K, picture

from simtoreal import frames
from simtoreal.episodes.grasp_views import PosedImage
from simtoreal.episodes.jaw_pictures import JawPicture, JawPictureConfig, changed_m2, jaw_picture
from simtoreal.episodes.records import FrameImage
from simtoreal.episodes.table_patches import shades_of

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


def before_and_after(along: float, across: float, turn_deg: float) -> list[JawPicture]:
    return moved([(0.0, 0.0, 0.0), (along, across, turn_deg)])


@pytest.mark.parametrize("motion", [(0.0, 0.0, 0.0), (4.0, 0.0, 0.0), (-3.0, 3.0, 0.0), (0.0, 0.0, 4.0)])
def test_a_small_motion_explains_itself(motion: tuple[float, float, float]) -> None:
    changed = changed_m2(before_and_after(*motion), WIDTH_M, CONFIG)
    assert changed is not None
    assert changed < 0.3 * CONFIG.max_changed_m2


@pytest.mark.parametrize("motion", [(12.0, 0.0, 0.0), (-9.0, 8.0, 0.0), (0.0, 0.0, 25.0)])
def test_a_large_motion_and_a_turn_do_not(motion: tuple[float, float, float]) -> None:
    changed = changed_m2(before_and_after(*motion), WIDTH_M, CONFIG)
    assert changed is not None
    assert changed > CONFIG.max_changed_m2


def test_fingers_that_close_beside_it_are_no_change() -> None:
    pictures = moved([(0.0, 0.0, 0.0)] * 2)
    for at_once, edge in zip(pictures, (20, 34), strict=True):
        at_once.shades[40:60, :edge] = at_once.shades[40:60, 101 - edge :] = 230
    assert changed_m2(pictures, WIDTH_M, CONFIG) == 0.0


def test_a_light_that_changes_is_no_change() -> None:
    before, after = moved([(0.0, 0.0, 0.0)] * 2)
    brighter = after._replace(shades=np.minimum(after.shades.astype(int) + 30, 255).astype(np.uint8))
    assert (changed_m2([before, brighter], WIDTH_M, CONFIG) or 0.0) < 0.3 * CONFIG.max_changed_m2


def test_without_two_pictures_of_the_place_nothing_is_known() -> None:
    pictures = moved([(0.0, 0.0, 0.0)] * 2)
    unseen = pictures[1]._replace(is_seen=np.zeros((101, 101), dtype=bool))
    assert changed_m2(pictures[:1], WIDTH_M, CONFIG) is None
    assert changed_m2([pictures[0], unseen], WIDTH_M, CONFIG) is None


@pytest.mark.parametrize("turned", [False, True])
def test_the_motion_of_the_camera_is_taken_out(turned: bool) -> None:
    T_base_grasp = frames.top_down([0.5, 0.0, 0.04], 0.4)  # at the height of the top of the box
    pictures = []
    for lift_m in (0.0, 0.01):
        T_base_cam = frames.transform([0.0, 0.0, lift_m]) @ T_base_grasp @ T_TCP_CAM
        rgb, _ = picture(T_base_cam, (0.5, 0.0))
        at = PosedImage(FrameImage(0.0, rgb), K, None, T_base_cam, True)
        # Told from the other side of the hand, the same grasp gives the same picture, mirrored.
        half_turn = frames.top_down([0.5, 0.0, 0.04], 0.4 + np.pi)
        pictures.append(jaw_picture(at, half_turn if turned else T_base_grasp, CONFIG))
    changed = changed_m2(pictures, WIDTH_M, CONFIG)
    assert changed is not None
    assert changed < 0.3 * CONFIG.max_changed_m2


def test_rows_go_to_the_side_of_the_camera() -> None:
    T_base_grasp, half_turn = (frames.top_down([0.5, 0.0, 0.04], yaw) for yaw in (0.4, 0.4 + np.pi))
    T_base_cam = T_base_grasp @ T_TCP_CAM
    rgb, _ = picture(T_base_cam, (0.5, 0.0))
    at = PosedImage(FrameImage(0.0, rgb), K, None, T_base_cam, True)
    one, other = (jaw_picture(at, T, CONFIG).shades.astype(int) for T in (T_base_grasp, half_turn))
    assert np.abs(one - other[:, ::-1]).max() <= 1
    turned = T_TCP_CAM[1, 3] < 0.0
    point = frames.apply(T_base_grasp, np.array([0.0, -0.03 if turned else 0.03, 0.0]))
    seen = shades_of(point[None, None], at)
    assert abs(int(one[80, 50]) - float(seen[0, 0])) <= 1
