"""The sensors of the second world: each number does what it says, and nothing else does anything."""

from dataclasses import replace

import numpy as np
import pytest

from simtoreal.envs.reality_sample import DepthSample, ImageSample
from simtoreal.envs.reality_sensor import expose, measure_depth

GREY = np.full((80, 100, 3), 128, dtype=np.uint8)
FLAT = np.full((80, 100), 0.5, dtype=np.float32)
FX = 80.0


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def depth(image: np.ndarray, sensor: DepthSample, rgb: np.ndarray = GREY) -> np.ndarray:
    return measure_depth(image, rgb, FX, sensor, rng())


def test_perfect_sensors_change_nothing():
    colours = rng().integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(expose(colours, ImageSample(), rng()), colours)
    near = rng().uniform(0.2, 1.0, (40, 50)).astype(np.float32)
    np.testing.assert_allclose(depth(near, DepthSample(), colours[:, :, :] // 2 + 60), near, rtol=1e-5)


def test_exposure_white_balance_and_gamma():
    brighter = expose(GREY, ImageSample(exposure=1.5, white_balance=(1.0, 0.5, 1.0)), rng())[0, 0]
    np.testing.assert_allclose(brighter, (192, 96, 192), atol=1)
    assert expose(GREY, ImageSample(gamma=2.0), rng())[0, 0, 0] == pytest.approx(255 * (128 / 255) ** 2, abs=1)
    assert expose(GREY, ImageSample(exposure=3.0), rng()).max() == 255


def test_saturation_zero_is_grey():
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[..., 0] = 200
    assert np.ptp(expose(red, ImageSample(saturation=0.0), rng())[0, 0]) <= 1


def test_noise_has_the_promised_size_and_shot_noise_grows_with_the_root_of_the_light():
    def deviation(level: int, sensor: ImageSample) -> float:
        return float(expose(np.full_like(GREY, level), sensor, rng()).astype(float).std() / 255)

    assert deviation(128, ImageSample(read_noise=0.02)) == pytest.approx(0.02, rel=0.1)
    shot = ImageSample(shot_noise=0.05)
    assert deviation(160, shot) / deviation(40, shot) == pytest.approx(2.0, rel=0.1)


def test_depth_noise_grows_with_the_square_of_the_distance():
    sensor = DepthSample(noise_m=0.002, patch_frac=0.05)
    near, far = (depth(FLAT * scale, sensor) for scale in (1.0, 2.0))
    assert near.std() == pytest.approx(0.002, rel=0.15)
    assert far.std() / near.std() == pytest.approx(4.0, rel=0.15)


def test_depth_comes_in_steps():
    ramp = np.tile(np.linspace(0.45, 0.55, 100, dtype=np.float32), (80, 1))
    values = np.unique(depth(ramp, DepthSample(step_m=0.005)))
    assert np.diff(values).mean() == pytest.approx(0.005, rel=0.15)


def test_what_one_eye_does_not_see_has_no_depth():
    stand = FLAT.copy()
    stand[20:60, 40:60] = 0.25
    measured = depth(stand, DepthSample(baseline_m=0.05))
    gone = np.isnan(measured)
    # Disparities are 16 px at 0.25 m and 8 px at 0.5 m: eight columns hide beside the box, on one side of it.
    assert gone[30, 33:40].all()
    assert gone[30].sum() == pytest.approx(8, abs=1)
    assert not gone[5].any()
    assert not np.isnan(depth(stand, DepthSample())).any()


def test_edges_fatten():
    stand = FLAT.copy()
    stand[20:60, 40:60] = 0.25
    beside = depth(stand, DepthSample(block_frac=0.03))[30, 38:40]
    assert ((beside > 0.25) & (beside < 0.45)).all()


def test_nothing_nearer_than_the_range_and_the_scale_is_off():
    measured = depth(np.linspace(0.05, 0.6, 8000, dtype=np.float32).reshape(80, 100), DepthSample(min_range_m=0.1))
    assert np.nanmin(measured) >= 0.1
    assert depth(FLAT, DepthSample(scale_error=0.02))[0, 0] == pytest.approx(0.51, abs=1e-4)


@pytest.mark.parametrize(("level", "name"), [(5, "dark_loss_frac"), (252, "glare_loss_frac")])
def test_black_and_white_lose_the_promised_share(level: int, name: str):
    lost = DepthSample(**{name: 0.5})
    assert np.isnan(depth(FLAT, lost, np.full_like(GREY, level))).mean() == pytest.approx(0.5, abs=0.12)
    assert not np.isnan(depth(FLAT, lost)).any()


def test_speckle_loses_anywhere_and_background_is_never_seen():
    assert np.isnan(depth(FLAT, DepthSample(speckle_loss_frac=0.1))).mean() == pytest.approx(0.1, abs=0.05)
    empty = np.full_like(FLAT, np.nan)
    assert np.isnan(depth(empty, DepthSample(noise_m=0.01, block_frac=0.03, baseline_m=0.05))).all()


def test_inputs_stay_and_the_same_seed_gives_the_same():
    image, colours = FLAT.copy(), GREY.copy()
    sensor = replace(DepthSample(), noise_m=0.01, step_m=0.001, speckle_loss_frac=0.2, baseline_m=0.03)
    first, second = depth(image, sensor, colours), depth(image, sensor, colours)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, FLAT)
    noisy = ImageSample(shot_noise=0.1, blur_frac=0.02, vignette=0.4)
    np.testing.assert_array_equal(expose(colours, noisy, rng()), expose(colours, noisy, rng()))
    np.testing.assert_array_equal(colours, GREY)
