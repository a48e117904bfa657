"""What is known of a frame becomes targets and a mask; what is not known stays unknown."""

import numpy as np
import pytest
from bar_scenes import VIEW, grasp_pose, look, real_frames

from simtoreal import frames
from simtoreal.policies.view import make_view
from simtoreal.transfer.data.batches import BatchMaker, draw_balanced
from simtoreal.transfer.data.labels import KnownGrasp
from simtoreal.transfer.data.real_frames import MAX_GRASPS, masked_targets, pack

NONE = np.zeros((0, 6), dtype=np.float32)
HELD = np.array([[13.6, 18.0, 0.02, 0.3, 0.024, 1.0]], dtype=np.float32)
FAILED = np.array([[25.0, 6.0, 0.02, -1.0, 0.0, 1.0]], dtype=np.float32)


def test_a_held_grasp_is_known_and_nearly_nothing_else():
    wanted, known = masked_targets(HELD, NONE, VIEW.pixels, 0.0)
    assert wanted[:, 0].max() == pytest.approx(1.0)
    assert known[np.unravel_index(wanted[:, 0].argmax(), known.shape)] == 1.0
    assert 0 < (known > 0).sum() <= 8


def test_a_failed_grasp_says_that_there_is_none():
    wanted, known = masked_targets(NONE, FAILED, VIEW.pixels, 0.0)
    assert (wanted == 0).all()
    assert (known == 1.0).any()


def test_where_both_speak_the_success_is_believed():
    wanted, known = masked_targets(HELD, HELD, VIEW.pixels, 0.0)
    best = np.unravel_index(wanted[:, 0].argmax(), known.shape)
    assert wanted[:, 0][best] == pytest.approx(1.0)
    assert known[best] == 1.0


def test_the_unknown_can_be_half_believed_but_not_right_beside_a_success():
    wanted, known = masked_targets(HELD, NONE, VIEW.pixels, 0.25)
    beside = (wanted[:, 0] > 0) & (wanted[:, 0] < 0.5)
    assert beside.any()
    assert (known[beside] == 0.0).all()
    assert set(known[wanted[:, 0] == 0].tolist()) == {0.25}


def test_a_grasp_that_holds_less_well_is_as_well_known():
    weak = HELD.copy()
    weak[:, 5] = 0.2
    (wanted, known), (full, _) = (masked_targets(rows, NONE, VIEW.pixels, 0.0) for rows in (weak, HELD))
    assert wanted[:, 0] == pytest.approx(0.2 * full[:, 0])
    assert np.array_equal(known, masked_targets(HELD, NONE, VIEW.pixels, 0.0)[1])


def test_a_grasp_out_of_view_is_not_known():
    view = make_view(look(frames.top_down([0.5, 0.0, 0.25], 0.0), grasp_pose((0.5, 0.0), 0.0)), VIEW)
    far = KnownGrasp(grasp_pose((0.9, 0.4), 0.0), 0.02, True)
    near = KnownGrasp(grasp_pose((0.5, 0.0), 0.0), 0.02, True)
    assert int(pack(view, (far,))["num_grasps"]) == 0
    assert int(pack(view, (far, near) * MAX_GRASPS)["num_grasps"]) == MAX_GRASPS


def test_batches_have_the_shapes_of_the_net_and_repeat():
    maker = BatchMaker(real_frames(2), VIEW, augmented=True, unknown_weight=0.1)
    first, again = (maker.make(np.array([0, 3, 5]), np.random.default_rng(1)) for _ in range(2))
    assert first.inputs.shape == (3, VIEW.num_channels, 32, 32)
    assert first.wanted.shape == (3, 12, 6, 8, 8)
    assert first.known.shape == (3, 12, 8, 8)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_without_augmentation_frames_come_as_they_are():
    frames_ = real_frames(2)
    maker = BatchMaker(frames_, VIEW, augmented=False, unknown_weight=0.0)
    index = np.arange(len(frames_))
    assert (maker.make(index, np.random.default_rng(0)).inputs == maker.inputs(index)).all()


def test_long_episodes_do_not_rule():
    frames_ = real_frames(2, per_episode=2)
    index = np.concatenate([np.repeat(frames_.of_episodes(np.array([0])), 20), frames_.of_episodes(np.array([1]))])
    drawn = frames_.episode[draw_balanced(frames_, index, 400, np.random.default_rng(0))]
    assert 0.4 < drawn.mean() < 0.6
