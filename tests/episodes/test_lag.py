"""Known lags between motions are found, and what cannot be told is said."""

import numpy as np
import pytest

from simtoreal.episodes.lag import ImageMotion, PathSpeed, measure_lag


def wander(t_s: np.ndarray) -> np.ndarray:
    """Positions (N, 3) of a path that does not repeat itself."""
    return np.stack([np.sin(1.3 * t_s + 0.2 * np.abs(t_s) ** 1.5), np.cos(2.1 * t_s) * 0.5, 0.1 * t_s], axis=1)


def speed_of(t_s: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    path = PathSpeed()
    for time_s, position in zip(t_s, positions, strict=True):
        path.add(float(time_s), position)
    return path.speed


@pytest.mark.parametrize("lag_s", [0.12, -0.12, 0.0, 0.037])
@pytest.mark.parametrize("rate_hz", [30.0, 100.0])
def test_a_motion_that_follows_another_one_is_timed(lag_s: float, rate_hz: float) -> None:
    rng = np.random.default_rng(0)
    commanded_s, measured_s = np.arange(0, 10, 0.01), np.arange(0.003, 10, 1 / rate_hz)
    command = speed_of(commanded_s, wander(commanded_s))
    noise = rng.normal(scale=1e-3, size=(measured_s.size, 3)) / rate_hz * 30.0
    tool = speed_of(measured_s, wander(measured_s - lag_s) + noise)
    found = measure_lag(command, tool)
    assert found.lag_s == pytest.approx(lag_s, abs=0.005)
    assert found.correlation > 0.9


def test_pictures_of_a_moving_camera_are_timed_against_the_arm() -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (48, 2000, 3), dtype=np.uint8)
    scene = np.repeat(np.repeat(scene[::8, ::8], 8, axis=0), 8, axis=1)
    arm_s, taken_s = np.arange(0, 8, 0.01), np.arange(0, 8, 1 / 30)

    def shift_px(t_s: np.ndarray) -> np.ndarray:
        return 600 + 500 * np.sin(0.7 * t_s + 0.15 * np.abs(t_s) ** 1.5)

    motion = ImageMotion()
    for t_s, shift in zip(taken_s, shift_px(taken_s - 0.08), strict=True):
        left = int(shift)
        motion.add(float(t_s), np.ascontiguousarray(scene[:, left : left + 64]))
    arm = speed_of(arm_s, np.stack([shift_px(arm_s)] + [np.zeros_like(arm_s)] * 2, axis=1))
    assert measure_lag(arm, motion.speed).lag_s == pytest.approx(0.08, abs=0.02)


def test_what_cannot_be_told_is_said() -> None:
    t_s = np.arange(0, 10, 0.01)
    still, moving = speed_of(t_s, np.zeros((t_s.size, 3))), speed_of(t_s, wander(t_s))
    assert "does not move" in measure_lag(still, moving).why
    noise = speed_of(t_s, np.random.default_rng(0).normal(size=(t_s.size, 3)))
    assert "do not resemble" in measure_lag(noise, moving).why
    assert "overlap" in measure_lag(speed_of(t_s[:50], wander(t_s[:50])), moving).why
    assert "not measured" in measure_lag(speed_of(t_s[:1], wander(t_s[:1])), moving).why
    circle = speed_of(t_s, np.stack([np.sin(20 * t_s), 0 * t_s, 0 * t_s], axis=1))
    assert "repeats itself" in measure_lag(circle, circle).why
    late = speed_of(t_s, wander(t_s - 0.9))
    assert measure_lag(moving, late, max_lag_s=0.3).lag_s is None
