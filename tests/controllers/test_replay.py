"""A log answers with what was seen, says what was sent, and measures how far an action is from it."""

import numpy as np
import pytest
from controller_contract import ReportingContract, hold

from simtoreal.controllers.clock import VirtualClock
from simtoreal.controllers.fake import FakeController
from simtoreal.controllers.replay import LoggedFrame, ReplayController


def logged(num_frames: int = 40) -> list[LoggedFrame]:
    controller = FakeController(np.random.default_rng(0), clock=VirtualClock())
    seen, frames = controller.reset(), []
    for _ in range(num_frames):
        action = hold(0.08)._replace(delta_m=np.array([0.0002, 0.0, 0.0001]))
        frames.append(LoggedFrame(seen, action, controller.send_action(action)))
        seen = controller.get_observation()
    return frames


class TestReplay(ReportingContract):
    @pytest.fixture
    def controller(self) -> ReplayController:
        return ReplayController(logged(), 20.0)


def test_it_answers_with_the_log_and_stays_at_its_end():
    frames = logged(3)
    replay = ReplayController(frames, 20.0)
    replay.reset()
    for frame in frames:
        np.testing.assert_array_equal(replay.get_observation().rgb, frame.observation.rgb)
        sent = replay.send_action(hold(0.0, 0.01))
        np.testing.assert_array_equal(sent.delta_m, frame.sent.delta_m)
    assert replay.is_over
    np.testing.assert_array_equal(replay.send_action(hold(0.0, 0.01)).delta_m, np.zeros(3))


def test_differences_are_lengths_of_what_differs():
    replay = ReplayController(logged(3), 20.0)
    replay.reset()
    replay.send_action(hold(0.05)._replace(delta_m=np.array([0.0032, 0.0, 0.0041])))
    (found,) = replay.differences
    assert found.translation_m == pytest.approx(0.005)
    assert found.rotation_rad == 0.0
    assert found.width_m == pytest.approx(0.03)
