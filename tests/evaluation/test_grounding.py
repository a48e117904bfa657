"""The grounding probe: a policy that sees passes, one that is blind is called out, and geometry is as it says."""

import numpy as np
import pytest
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.contracts import FloatArray
from simtoreal.evaluation.grounding import (
    Disturbance,
    Frame,
    Grounding,
    grounding_pictures,
    grounding_table,
    move_camera_across,
    probe,
)
from simtoreal.evaluation.records import to_plain
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.view import View, ViewSpec, to_tensor

SPEC = ViewSpec(pixels=64)
HEIGHT_M = 0.02


def view_of(place_m: tuple[float, float], size_px: int = 3, brightness: int = 220) -> View:
    """A bright square on a dark table, seen from 0.4 m straight above (0.5, 0)."""
    K = np.array([[90.0, 0.0, 31.5], [0.0, 90.0, 31.5], [0.0, 0.0, 1.0]])
    T_base_view = frames.top_down([0.5, 0.0, 0.4], 0.0)
    u, v = camera.project(np.array([[*place_m, HEIGHT_M]]), K, T_base_view)[0].round().astype(int)
    rgb = np.full((64, 64, 3), 40, np.uint8)
    rgb[v - size_px : v + size_px + 1, u - size_px : u + size_px + 1] = brightness
    height_m = np.where(rgb[..., 0] > 100, 2 * HEIGHT_M, 0.0).astype(np.float32)
    return View(rgb, height_m, np.ones((64, 64), np.bool_), K, T_base_view, 0.28)


def seeing(view: View) -> NDArray[np.float32]:
    """Grasps the middle of what is bright, and is in doubt where nothing is."""
    planes = to_tensor(view, SPEC)
    bright = planes[0] > planes[0].min() + 0.5
    if not bright.any():
        return targets(np.zeros((0, 6), np.float32), 64) + np.float32(0.01)
    v, u = np.argwhere(bright).mean(axis=0)
    return targets(np.array([[u, v, HEIGHT_M, 0.1, 0.04, 0.9]], np.float32), 64)


def blind(view: View) -> NDArray[np.float32]:
    """Always the same grasp, and always sure."""
    return targets(np.array([[30.0, 34.0, HEIGHT_M, 0.1, 0.04, 0.9]], np.float32), 64)


def shy(view: View) -> NDArray[np.float32]:
    return targets(np.zeros((0, 6), np.float32), 64)


@pytest.fixture
def found() -> list[Frame]:
    rng = np.random.default_rng(0)
    places = rng.uniform(-0.07, 0.07, (12, 2)) + np.array([0.5, 0.0])
    return [Frame(view_of((float(x), float(y))), i) for i, (x, y) in enumerate(places)]


def responses(grounding: Grounding) -> dict[Disturbance, tuple[float, float]]:
    return {row.disturbance: (row.moved_mm, row.error_mm) for row in grounding.responses}


def test_a_policy_that_sees_passes(found: list[Frame]) -> None:
    grounding = probe(seeing, found, np.random.default_rng(1))
    assert grounding.complaints == ()
    moved = responses(grounding)
    assert moved[Disturbance.BLURRED][0] < 3
    assert moved[Disturbance.CAMERA_MOVED][1] < 3
    assert moved[Disturbance.CALIBRATION_STAYED][0] == pytest.approx(10, abs=2.5)
    assert moved[Disturbance.CALIBRATION_STAYED][1] < 3
    assert moved[Disturbance.SHUFFLED][0] > 20
    assert grounding.followed == pytest.approx(1.0, abs=0.2)
    assert grounding.followed_low <= grounding.followed <= grounding.followed_high


def test_a_policy_that_ignores_the_picture_is_called_out(found: list[Frame]) -> None:
    grounding = probe(blind, found, np.random.default_rng(1))
    assert any("ignores the picture" in text for text in grounding.complaints)
    assert any("does not follow" in text for text in grounding.complaints)
    assert any("as sure without a picture" in text for text in grounding.complaints)
    assert responses(grounding)[Disturbance.CAMERA_MOVED][0] == pytest.approx(10, abs=0.5), "it went with the camera"
    assert grounding.followed == pytest.approx(0.0, abs=1e-6)
    assert "ignores the picture" in grounding_table(to_plain(grounding.to_plain())).note


def test_a_policy_that_sees_nothing_at_all(found: list[Frame]) -> None:
    grounding = probe(shy, found, np.random.default_rng(1))
    assert grounding.n_without_grasp == 12
    assert grounding.complaints == ("it sees a grasp in none of the frames",)


def test_one_scene_is_not_enough(found: list[Frame]) -> None:
    with pytest.raises(ValueError, match="at least two"):
        probe(seeing, [found[0], found[0]], np.random.default_rng(0))


@pytest.mark.parametrize("offset_m", [np.array([0.02, 0.0]), np.array([0.0, -0.03])])
def test_a_moved_camera_sees_what_geometry_says(offset_m: FloatArray) -> None:
    view = view_of((0.5, 0.0))
    moved = move_camera_across(view, offset_m, HEIGHT_M)
    v, u = np.argwhere(moved.rgb[..., 0] > 130).mean(axis=0)
    expected = camera.project(np.array([[0.5, 0.0, HEIGHT_M]]), moved.K, moved.T_base_view)[0]
    np.testing.assert_allclose([u, v], expected, atol=0.7)
    assert not moved.valid.all(), "what comes into view is unknown"


def test_pictures_show_every_disturbance(found: list[Frame]) -> None:
    pictures = grounding_pictures(seeing, found[0], found[1])
    assert [picture.caption for picture in pictures][:3] == ["as it is", "masked", "shuffled"]
    assert len(pictures) == 6
