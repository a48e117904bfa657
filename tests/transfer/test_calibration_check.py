"""A wrong camera pose shifts all labels alike, and is told from a policy that errs in all directions."""

import dataclasses

import numpy as np
import pytest
from bar_scenes import VIEW, real_frames

from simtoreal.policies.encoders import GraspNet
from simtoreal.transfer.data.real_frames import RealFrames
from simtoreal.transfer.ledger.calibration_check import Shift, label_shift, suspicion
from simtoreal.transfer.tuning.strategy import Depths, Strategy
from simtoreal.transfer.tuning.training import Domain, Lesson, tune


@pytest.fixture(scope="module")
def sees(domain: Domain) -> GraspNet:
    """A net that sees red bars."""
    plan = Strategy("sees", "for a test", steps=60, batch_size=8, learning_rate=5e-3,
                    depths=Depths(1.0, 1.0, 100), unknown_weight=0.3)  # fmt: skip
    return tune(plan, domain, Lesson(np.arange(6), np.array([], dtype=np.int64), 0)).net


def shifted(frames: RealFrames, right_m: float) -> RealFrames:
    """Labels moved to the right in every view."""
    grasps = frames.grasps.copy()
    right = frames.camera[:, 9:].reshape(-1, 3, 4)[:, :, 0]
    grasps[:, 0, :3] += right_m * right
    return dataclasses.replace(frames, grasps=grasps)


def test_right_labels_are_not_suspicious(sees: GraspNet):
    frames = real_frames(6, seed=50)
    shift = label_shift(sees, frames, VIEW)
    assert shift is not None
    assert shift.size_m < 0.03
    assert suspicion(shift) == ""


def test_labels_off_by_five_centimetres_are(sees: GraspNet):
    shift = label_shift(sees, shifted(real_frames(6, seed=50), 0.05), VIEW)
    assert shift is not None
    assert (shift.right_m, shift.down_m) == (pytest.approx(-0.05, abs=0.025), pytest.approx(0.0, abs=0.025))
    assert "calibration" in suspicion(shift)


def test_labels_off_in_all_directions_are_no_calibration(sees: GraspNet):
    frames = real_frames(8, seed=50)
    angles = 2 * np.pi * frames.episode / 8
    grasps = frames.grasps.copy()
    grasps[:, 0, 0] += 0.06 * np.cos(angles)
    grasps[:, 0, 1] += 0.06 * np.sin(angles)
    shift = label_shift(sees, dataclasses.replace(frames, grasps=grasps), VIEW)
    assert suspicion(shift) == "", shift


def test_two_episodes_say_nothing(sees: GraspNet):
    assert label_shift(sees, real_frames(2), VIEW) is None
    assert suspicion(None) == ""


@pytest.mark.parametrize("shift", [Shift(0.02, 0.0, 0.9, 0.1), Shift(0.08, 0.0, 0.5, 0.4)])
def test_small_shifts_and_weak_ones_are_let_pass(shift: Shift):
    assert suspicion(shift) == ""
