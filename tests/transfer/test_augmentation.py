"""A disturbed copy shows every point where its own camera says that it is."""

import numpy as np
import pytest
from bar_scenes import VIEW, draw, grasp_pose, look

from simtoreal import camera, frames
from simtoreal.policies.grasp_map import decode, viewpoint_of
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.view import View, make_view
from simtoreal.transfer.data.augmentation import Augmentation, augment, move_camera, relight
from simtoreal.transfer.data.real_frames import view_rows

TOOL = frames.top_down([0.5, 0.0, 0.25], 0.2)
BAR = grasp_pose((0.51, 0.02), 0.7)


def bar_view() -> View:
    return make_view(look(TOOL, BAR), VIEW)


def centre_of_bar(view: View) -> np.ndarray:
    """Mean pixel (u, v) of what is higher than the table."""
    rows, columns = np.nonzero(np.nan_to_num(view.height_m) > 0.02)
    return np.array([columns.mean(), rows.mean()])


def test_nothing_moved_is_nothing_changed():
    view = bar_view()
    same = move_camera(view, 0.0, 1.0, np.zeros(2))
    assert np.array_equal(same.rgb, view.rgb)
    assert np.array_equal(same.height_m, view.height_m, equal_nan=True)
    assert np.array_equal(same.valid, view.valid)
    assert np.array_equal(same.K, view.K)


@pytest.mark.parametrize(
    ("roll_rad", "zoom", "shift_px"),
    [(0.5, 1.0, (0, 0)), (-0.8, 1.0, (0, 0)), (0.0, 1.2, (0, 0)), (0.0, 1.0, (3, -2)), (0.4, 0.9, (-2, 2))],
)
def test_the_bar_lies_where_the_moved_camera_projects_it(roll_rad: float, zoom: float, shift_px: tuple[int, int]):
    moved = move_camera(bar_view(), roll_rad, zoom, np.array(shift_px, dtype=np.float64))
    top = BAR[:3, 3] + [0, 0, 0.02]
    assert centre_of_bar(moved) == pytest.approx(camera.project(top, moved.K, moved.T_base_view), abs=0.6)


@pytest.mark.parametrize("window_px", [0, 48])
def test_the_label_of_a_moved_view_decodes_to_the_grasp_in_the_base_frame(window_px: int):
    known = np.array([[*BAR[:3, 3], frames.yaw_of(BAR), 0.024, 1.0]])
    rng = np.random.default_rng(0)
    for _ in range(20):
        view = augment(bar_view(), Augmentation(window_px=window_px), rng, centre_of_bar(bar_view()))
        assert view.rgb.shape[0] == (window_px or VIEW.pixels)
        rows = view_rows(known, view)
        if len(rows) == 0:
            continue
        found = decode(targets(rows, view.rgb.shape[0]), viewpoint_of(view), 1)[0]
        assert found.T_base_grasp[:3, 3] == pytest.approx(BAR[:3, 3], abs=1e-4)
        turn = frames.yaw_of(found.T_base_grasp) - frames.yaw_of(BAR)
        assert frames.wrap_half_turn(turn) == pytest.approx(0.0, abs=1e-4)


def test_a_window_shows_its_target_anywhere_but_at_its_rim():
    view, config = bar_view(), Augmentation(roll_rad=np.pi, zoom=0.5, noise=0.0, window_px=48)
    target, seen = centre_of_bar(view), []
    for seed in range(30):
        window = augment(view, config, np.random.default_rng(seed), target)
        seen.append(centre_of_bar(window))
        # The same point of the plane, as both cameras see it.
        at = camera.at_height(target[None], np.array([0.0]), view.K, view.T_base_view)
        shown = camera.project(at, window.K, window.T_base_view)[0]
        assert (shown > 0.14 * 48).all()
        assert (shown < 0.86 * 48).all()
        assert window.metres_per_px * window.K[0, 0] == pytest.approx(view.metres_per_px * view.K[0, 0])
    assert np.ptp(seen, axis=0).min() > 15


def test_zooming_in_shows_a_smaller_region():
    view = bar_view()
    assert move_camera(view, 0.0, 1.25, np.zeros(2)).edge_m == pytest.approx(view.edge_m / 1.25)


def test_what_was_outside_stays_unknown():
    moved = move_camera(bar_view(), 0.0, 1.0, np.array([8.0, 0.0]))
    assert not moved.valid[:, :7].any()
    assert np.isnan(moved.height_m[:, :7]).all()
    lit = relight(moved, Augmentation(), np.random.default_rng(1))
    assert not lit.rgb[:, :7].any()


def test_another_light_moves_no_label_and_hardly_any_height():
    view = bar_view()
    lit = relight(view, Augmentation(depth_holes=0), np.random.default_rng(3))
    assert np.array_equal(lit.K, view.K)
    assert not np.array_equal(lit.rgb, view.rgb)
    known = np.isfinite(view.height_m)
    assert np.abs(lit.height_m - view.height_m)[known].max() < 0.012


def test_frames_in_the_store_are_not_written_to():
    view = make_view(look(*draw(np.random.default_rng(2))), VIEW)
    before = [part.copy() for part in (view.rgb, view.height_m, view.K, view.T_base_view)]
    augment(view, Augmentation(), np.random.default_rng(0))
    for part, kept in zip((view.rgb, view.height_m, view.K, view.T_base_view), before, strict=True):
        assert np.array_equal(part, kept, equal_nan=True)
