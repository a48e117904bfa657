"""The memory behind the encoder: one grasp is followed, not every peak of every map."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.policies.grasp_map import Viewpoint, in_view
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.learned_grasps import LearnedGrasps, TrackingConfig
from simtoreal.policies.view import View, ViewSpec

SPEC = ViewSpec(modality="depth")
LEFT = (0.47, -0.04, 0.02, 0.2)
RIGHT = (0.53, 0.05, 0.03, -0.9)
Pose = tuple[float, float, float, float]  # x, y, z, yaw


def observation_at(
    t_s: float, tool: Pose = (0.5, 0.0, 0.3, 0.0), width_m: float = 0.08, rgb: NDArray[np.uint8] | None = None
) -> Observation:
    T_base_tcp = frames.top_down(tool[:3], tool[3])
    T_base_cam = T_base_tcp @ frames.transform((0.0, 0.06, -0.08))
    K = np.array([[55.0, 0, 31.5], [0, 55.0, 31.5], [0, 0, 1.0]])
    depth = np.full((64, 64), T_base_cam[2, 3], dtype=np.float32)
    return Observation(t_s, rgb, depth, K, T_base_cam, T_base_tcp, width_m, None)


class Tracker:
    """A `LearnedGrasps` whose network sees the grasps it is told of; `at` is one control period."""

    def __init__(self, config: TrackingConfig | None = None) -> None:
        self.source = LearnedGrasps(self._grasp_map, SPEC, config)
        self.seen: dict[Pose, float] = {}
        self.num_looks = 0

    def _grasp_map(self, view: View) -> NDArray[np.float32]:
        self.num_looks += 1
        poses = np.array(list(self.seen)).reshape(-1, 4)
        qualities = np.array(list(self.seen.values()))
        viewpoint = Viewpoint(view.K, view.T_base_view, view.yaw_rad, SPEC.pixels)
        return targets(in_view(poses[:, :3], poses[:, 3], np.full(len(poses), 0.04), qualities, viewpoint), SPEC.pixels)

    def at(self, t_s: float, tool: Pose = (0.5, 0.0, 0.3, 0.0), width_m: float = 0.08) -> GraspEstimate:
        self._observation = observation_at(t_s, tool, width_m)
        estimate = self.source.estimate(self._observation)
        assert estimate is not None
        return estimate


def is_at(estimate: GraspEstimate, pose: Pose, within_m: float = 0.004) -> bool:
    return float(np.linalg.norm(estimate.T_base_grasp[:3, 3] - pose[:3])) < within_m


def test_the_best_grasp_is_reported_where_it_is():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.5, RIGHT: 0.8}
    estimate = tracker.at(0.0)
    assert is_at(estimate, RIGHT)
    assert abs(frames.wrap_half_turn(frames.yaw_of(estimate.T_base_grasp) - RIGHT[3])) < 0.03
    assert estimate.quality == pytest.approx(0.8, abs=1e-3)
    assert estimate.width_m == pytest.approx(0.04, abs=1e-3)
    assert estimate.age_s == 0.0


def test_two_equal_grasps_do_not_make_the_tool_swing():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.70, RIGHT: 0.69}
    assert is_at(tracker.at(0.0), LEFT)
    for step in range(1, 20):
        flicker = 0.05 * (-1) ** step
        tracker.seen = {LEFT: 0.70 - flicker, RIGHT: 0.70 + flicker}
        assert is_at(tracker.at(0.05 * step), LEFT)


def test_a_clearly_better_grasp_is_taken():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.6, RIGHT: 0.5}
    tracker.at(0.0)
    tracker.seen = {LEFT: 0.6, RIGHT: 0.9}
    assert is_at(tracker.at(0.05), RIGHT)


def test_a_wobbling_estimate_is_smoothed():
    tracker = Tracker()
    rng = np.random.default_rng(0)
    found = []
    for step in range(40):
        x, y, z, yaw = np.array(LEFT) + rng.normal(0.0, (0.004, 0.004, 0.002, 0.05))
        tracker.seen = {(x, y, z, yaw): 0.7}
        found.append(tracker.at(0.05 * step).T_base_grasp[:2, 3])
    assert np.std(np.array(found[5:]), axis=0).max() < 0.003
    assert np.linalg.norm(np.mean(found, axis=0) - LEFT[:2]) < 0.002


def test_a_grasp_that_turns_past_a_quarter_is_followed_and_not_averaged_away():
    tracker = Tracker()
    for step, yaw in enumerate(np.linspace(1.4, 1.8, 20)):
        tracker.seen = {(*LEFT[:3], float(yaw)): 0.7}
        estimate = tracker.at(0.05 * step)
        assert abs(frames.wrap_half_turn(frames.yaw_of(estimate.T_base_grasp) - yaw)) < 0.1


def test_a_grasp_out_of_sight_for_a_moment_is_remembered_and_believed_less():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.7}
    before = tracker.at(0.0)
    tracker.seen = {}
    gone = [tracker.at(0.05 * step) for step in range(1, 6)]
    assert all(is_at(estimate, LEFT) for estimate in gone)
    assert before.quality > gone[0].quality > gone[-1].quality
    tracker.seen = {RIGHT: 0.6}
    assert is_at(tracker.at(0.3), RIGHT)


def test_a_failed_grasp_gives_way_to_another_and_stays_worth_less():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.8, RIGHT: 0.4}
    first = tracker.at(0.0)
    assert is_at(first, LEFT)
    tracker.source.missed(first.T_base_grasp)
    for step in range(1, 10):
        assert is_at(tracker.at(0.05 * step), RIGHT)


@pytest.mark.parametrize("slipped", [False, True])
def test_what_slipped_away_is_worth_less_from_every_side(slipped: bool):
    """It may be bolted down; where the jaws met nothing, the other way across is worth a try."""
    tracker = Tracker()
    across = (*LEFT[:3], LEFT[3] + math.pi / 2)
    tracker.seen = {LEFT: 0.8, across: 0.7, RIGHT: 0.5}
    tracker.source.missed(tracker.at(0.0).T_base_grasp, slipped=slipped)
    assert is_at(tracker.at(0.05), RIGHT) == slipped


def test_a_failed_grasp_is_tried_again_when_there_is_no_other():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.8}
    first = tracker.at(0.0)
    tracker.source.missed(first.T_base_grasp)
    again = tracker.at(0.05)
    assert is_at(again, LEFT)
    assert again.quality < 0.5 * first.quality


def test_the_same_place_across_the_other_way_is_another_grasp():
    tracker = Tracker()
    across = (*LEFT[:3], LEFT[3] + math.pi / 2)
    tracker.seen = {LEFT: 0.8, across: 0.5}
    tracker.source.missed(tracker.at(0.0).T_base_grasp)
    estimate = tracker.at(0.05)
    assert abs(frames.wrap_half_turn(frames.yaw_of(estimate.T_base_grasp) - across[3])) < 0.05


def test_close_up_the_choice_is_frozen_and_its_age_grows():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.7}
    tracker.at(0.0)
    looks = tracker.num_looks
    tracker.seen = {RIGHT: 1.0}  # what a camera between the fingers might make up
    low = (LEFT[0], LEFT[1], LEFT[2] + 0.02, LEFT[3])
    ages = []
    for step in range(1, 5):
        estimate = tracker.at(0.05 * step, tool=low)
        assert is_at(estimate, LEFT)
        ages.append(estimate.age_s)
    assert ages == pytest.approx([0.05, 0.10, 0.15, 0.20])
    assert tracker.num_looks == looks


def test_the_choice_is_frozen_while_the_jaws_close():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.7}
    beside = (LEFT[0], LEFT[1], 0.3, LEFT[3])
    tracker.at(0.0, tool=beside)
    tracker.seen = {RIGHT: 1.0}
    assert is_at(tracker.at(0.05, tool=beside, width_m=0.03), LEFT)
    assert is_at(tracker.at(0.10, tool=beside, width_m=0.08), RIGHT)


def test_an_image_that_was_already_seen_is_not_looked_at_again():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.7}
    for _ in range(3):  # a slow camera: the control loop sees the same image several times
        tracker.at(0.5)
    assert tracker.num_looks == 1


def test_reset_forgets_choice_and_failures():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.8, RIGHT: 0.5}
    tracker.source.missed(tracker.at(3.0).T_base_grasp)
    tracker.source.reset()
    assert is_at(tracker.at(0.0), LEFT), "a new episode starts its clock anew"


def test_pictures_go_with_the_estimate():
    tracker = Tracker()
    tracker.seen = {LEFT: 0.8}
    estimate = tracker.at(0.0)
    assert estimate.quality_map is not None
    assert estimate.quality_map.shape == (16, 16)
    assert estimate.view_rgb is not None
    assert estimate.view_rgb.shape == (64, 64, 3)
    assert estimate.view_rgb.dtype == np.uint8
    assert estimate.view_rgb.any(), "a depth camera is shown as grey heights"
    assert estimate.pixel is not None
    row, column = np.unravel_index(int(estimate.quality_map.argmax()), (16, 16))
    assert math.dist(estimate.pixel, (4 * column + 1.5, 4 * row + 1.5)) < 4.0


def test_a_round_object_does_not_make_the_tool_turn_round_and_round():
    tracker = Tracker()
    tool_yaw = 0.0
    for step in range(40):
        # Good from all sides, and a little better at 50 degrees from wherever the tool has turned to.
        tracker.seen = {(0.5, 0.0, 0.02, 0.1 + k * math.pi / 12): 0.7 for k in range(12)}
        tracker.seen[(0.5, 0.0, 0.02, tool_yaw + 0.9)] = 0.75
        estimate = tracker.at(0.05 * step, (0.5, 0.0, 0.3, tool_yaw))
        turn = frames.wrap_half_turn(frames.yaw_of(estimate.T_base_grasp) - tool_yaw)
        tool_yaw += float(np.clip(turn, -0.2, 0.2))
    assert abs(tool_yaw) < 1.3
    assert abs(turn) < 0.05, "it has arrived"
