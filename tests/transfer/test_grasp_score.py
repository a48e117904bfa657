"""Hindsight errors with known answers: a map that knows the grasp, and one that is off by a known way."""

import math

import numpy as np
import pytest
from bar_scenes import VIEW, grasp_pose, look

from simtoreal import frames
from simtoreal.policies.grasp_map import viewpoint_of
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.view import View, make_view
from simtoreal.transfer.data.real_frames import view_rows
from simtoreal.transfer.tuning.grasp_score import FrameScore, by_episode, hindsight_miss, mean_miss, score_map

TOOL = frames.top_down([0.5, 0.0, 0.25], 0.0)
BAR = grasp_pose((0.505, 0.01), 0.6)
VIEW_OF_BAR: View = make_view(look(TOOL, BAR), VIEW)


def known(dx_m: float = 0.0, dz_m: float = 0.0, turn_rad: float = 0.0) -> np.ndarray:
    x, y, z = BAR[:3, 3]
    return np.array([[x + dx_m, y, z + dz_m, frames.yaw_of(BAR) + turn_rad, 0.024, 1.0]])


def score(predicted: np.ndarray) -> FrameScore:
    """Score of a map that says `predicted`, where the truth is the bar."""
    grasp_map = targets(view_rows(predicted, VIEW_OF_BAR), VIEW.pixels)
    true = known()
    return score_map(grasp_map, viewpoint_of(VIEW_OF_BAR), true[:, :4], view_rows(true, VIEW_OF_BAR), 3)


def in_hindsight(grasp_map: np.ndarray, rank_frac: float) -> float:
    true = known()
    rows = view_rows(true, VIEW_OF_BAR)
    return hindsight_miss(grasp_map, viewpoint_of(VIEW_OF_BAR), true[:, :4], rows, rank_frac)


def test_who_knows_the_grasp_misses_by_nothing():
    found = score(known())
    assert found.miss == pytest.approx(0.0, abs=1e-4)
    assert found.position_m == pytest.approx(0.0, abs=1e-4)
    assert found.rank_frac == 0.0


@pytest.mark.parametrize(
    ("off", "position_m", "yaw_rad"),
    [
        ({"dx_m": 0.01}, 0.01, 0.0),
        ({"dz_m": 0.015}, 0.015, 0.0),
        ({"turn_rad": math.radians(15)}, 0.0, math.radians(15)),
    ],
)
def test_one_unit_of_error_is_a_miss_of_four_tenths(off: dict[str, float], position_m: float, yaw_rad: float):
    found = score(known(**off))
    assert found.miss == pytest.approx(1 - math.exp(-0.5), abs=0.01)
    assert found.position_m == pytest.approx(position_m, abs=1e-3)
    assert found.yaw_rad == pytest.approx(yaw_rad, abs=0.01)


def test_half_a_turn_is_no_error():
    assert score(known(turn_rad=math.pi)).miss == pytest.approx(0.0, abs=1e-3)


def test_the_offset_is_given_as_the_camera_sees_it():
    found = score(known(dx_m=0.012))
    R = viewpoint_of(VIEW_OF_BAR).T_base_view[:3, :3]
    assert R @ np.array(found.offset_m) == pytest.approx([0.012, 0.0, 0.0], abs=1e-3)


def test_rank_counts_what_is_held_for_better():
    true = known()
    grasp_map = np.zeros((12, 6, 8, 8), dtype=np.float32)
    grasp_map[:2, 0] = 0.5
    assert score_map(grasp_map, viewpoint_of(VIEW_OF_BAR), true[:, :4], view_rows(true, VIEW_OF_BAR), 0).rank_frac in (
        pytest.approx(0.0), pytest.approx(2 / 12, abs=0.01),
    )  # fmt: skip


def test_in_hindsight_another_choice_is_no_miss_as_long_as_the_true_grasp_is_seen():
    true, other = known(), known(dx_m=0.05)
    grasp_map = targets(view_rows(np.concatenate([true, other]), VIEW_OF_BAR), VIEW.pixels)
    grasp_map[:, 0] *= 0.9
    rows = view_rows(other, VIEW_OF_BAR)
    grasp_map[:, 0] += 0.1 * (targets(rows, VIEW.pixels)[:, 0] > 0.5)  # it would choose the other one
    found = score_map(grasp_map, viewpoint_of(VIEW_OF_BAR), true[:, :4], view_rows(true, VIEW_OF_BAR), 0)
    assert found.miss > 0.99
    assert in_hindsight(grasp_map, found.rank_frac) < 0.15


def test_in_hindsight_a_net_that_praises_everything_knows_nothing():
    rng = np.random.default_rng(0)
    grasp_map = targets(view_rows(known(), VIEW_OF_BAR), VIEW.pixels)
    grasp_map[:, 0] = rng.uniform(0.9, 1.0, grasp_map[:, 0].shape)
    found = score_map(grasp_map, viewpoint_of(VIEW_OF_BAR), known()[:, :4], view_rows(known(), VIEW_OF_BAR), 0)
    assert in_hindsight(grasp_map, found.rank_frac) > 0.5


def test_episodes_count_alike_however_long_they_are():
    scores = [score(known())._replace(episode=0, miss=0.0)] * 9 + [score(known())._replace(episode=1, miss=1.0)]
    assert mean_miss(scores) == pytest.approx(0.5)
    assert by_episode(scores).miss.tolist() == [0.0, 1.0]
    assert math.isnan(mean_miss([]))
