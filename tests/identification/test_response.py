import dataclasses

import numpy as np
import pytest
from lagging_arm import LaggingArm

from simtoreal.identification.response import fit_arm, fit_response, step_response


@pytest.mark.parametrize("hz", [20.0, 33.0, 50.0])
@pytest.mark.parametrize("latency_s", [0.04, 0.12, 0.2])
def test_the_dead_time_of_a_known_arm_is_within_10_ms(latency_s: float, hz: float) -> None:
    logs = [LaggingArm(action_latency_s=latency_s, hz=hz).log(seed) for seed in range(3)]
    arm = fit_arm(logs)
    assert not isinstance(arm, str)
    found = [fit_response(log, arm) for log in logs]
    assert all(not isinstance(each, str) for each in found)
    mean_s = np.mean([each.dead_time_s for each in found if not isinstance(each, str)])
    assert mean_s == pytest.approx(latency_s, abs=0.01)


def test_noise_of_a_millimetre_leaves_it_near() -> None:
    logs = [LaggingArm(hz=50.0, noise_m=0.001).log(seed) for seed in range(5)]
    arm = fit_arm(logs)
    assert not isinstance(arm, str)
    found = [each for log in logs if not isinstance(each := fit_response(log, arm), str)]
    assert len(found) == 5
    assert np.mean([each.dead_time_s for each in found]) == pytest.approx(0.1, abs=0.01)


def test_a_tool_that_moves_by_itself_has_no_response() -> None:
    log = LaggingArm().log()
    rng = np.random.default_rng(3)
    wandering = dataclasses.replace(log, position_m=np.cumsum(rng.normal(0.0, 0.02, log.position_m.shape), axis=0))
    arm = fit_arm([wandering])
    assert not isinstance(arm, str)
    said = fit_response(wandering, arm)
    assert isinstance(said, str)
    assert "does not follow" in said


def test_commands_that_hold_still_say_nothing() -> None:
    log = LaggingArm().log()
    still = dataclasses.replace(log, setpoint_m=np.tile(log.start_m, (len(log.told_t_s), 1)))
    assert isinstance(fit_arm([still]), str)


@pytest.mark.parametrize(
    ("frequency", "damping", "smoothing_s"), [(30.0, 0.6, 0.0), (30.0, 1.0, 0.015), (80.0, 4.0, 0.0)]
)
def test_a_step_response_starts_at_zero_and_settles_at_one(
    frequency: float, damping: float, smoothing_s: float
) -> None:
    answer = step_response(np.array([-0.1, 0.0, 1e-6, 5.0]), frequency, damping, smoothing_s)
    np.testing.assert_allclose(answer, [0.0, 0.0, 0.0, 1.0], atol=1e-3)
