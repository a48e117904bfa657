"""An action is shortened, never turned, and never anything but finite."""

import numpy as np
import pytest

from simtoreal.action_limits import shortened
from simtoreal.contracts import Action


def test_what_is_too_long_keeps_its_direction():
    short = shortened(Action(np.array([0.03, 0.0, -0.04]), np.array([0.0, 0.0, -0.5]), 0.05), 0.01, 0.2)
    np.testing.assert_allclose(short.delta_m, [0.006, 0.0, -0.008])
    np.testing.assert_allclose(short.delta_rotation_rad, [0.0, 0.0, -0.2])
    assert short.gripper_width_m == 0.05


def test_what_is_short_stays_as_it_is():
    action = Action(np.array([0.001, 0.002, 0.003]), np.zeros(3), 0.08)
    np.testing.assert_array_equal(shortened(action, 0.01, 0.2).delta_m, action.delta_m)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action(np.array([np.nan, 0.0, 0.0]), np.zeros(3), 0.05), "delta_m must be three finite"),
        (Action(np.zeros(3), np.zeros(2), 0.05), "delta_rotation_rad must be three finite"),
        (Action(np.zeros(3), np.zeros(3), np.inf), "gripper_width_m must be finite"),
    ],
)
def test_what_is_not_finite_is_refused(action: Action, words: str):
    with pytest.raises(ValueError, match=words):
        shortened(action, 0.01, 0.2)
