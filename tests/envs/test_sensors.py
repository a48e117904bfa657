"""Sensor models: what they do to an image is what the sample says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from simtoreal.envs.randomization import SensorSample, load_randomization
from simtoreal.envs.sensors import corrupt_depth, corrupt_rgb

CLEAN = SensorSample()
SIZES = [(64, 64), (48, 96), (240, 320)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def box_on_table(size: tuple[int, int] = (64, 64), far_m: float = 0.5, near_m: float = 0.42) -> NDArray[np.float32]:
    depth = np.full(size, far_m, dtype=np.float32)
    rows, columns = size
    depth[rows // 3 : 2 * rows // 3, columns // 3 : 2 * columns // 3] = near_m
    return depth


def picture(size: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    return rng(1).integers(40, 240, (*size, 3), dtype=np.uint8)


def test_a_clean_sensor_changes_nothing() -> None:
    depth, rgb = box_on_table(), picture()
    assert np.array_equal(corrupt_depth(depth, rgb, CLEAN, rng()), depth)
    assert np.array_equal(corrupt_rgb(rgb, CLEAN, rng()), rgb)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", ["mild", "default", "harsh"])
def test_presets_give_sound_images_and_leave_their_input_alone(preset: str, size: tuple[int, int]) -> None:
    depth, rgb = box_on_table(size), picture(size)
    depth[0, 0], depth[0, 1], depth[0, 2] = np.nan, np.inf, 0.0
    depth.setflags(write=False)
    rgb.setflags(write=False)
    randomization = load_randomization(preset)
    for seed in range(10):
        sensor = randomization.sample(rng(seed)).sensor
        noisy, coloured = corrupt_depth(depth, rgb, sensor, rng(seed)), corrupt_rgb(rgb, sensor, rng(seed))
        assert (noisy.shape, noisy.dtype) == (size, np.float32)
        assert (coloured.shape, coloured.dtype) == ((*size, 3), np.uint8)
        assert not np.isinf(noisy).any()
        assert np.isnan(noisy[0, :3]).all()
        assert np.isfinite(noisy).mean() > 0.5
        assert np.nanmedian(np.abs(noisy - np.where(np.isfinite(depth), depth, np.nan))) < 0.01


def test_same_generator_same_image_and_another_another() -> None:
    sensor = load_randomization("harsh").sample(rng(4)).sensor
    depth, rgb = box_on_table(), picture()
    assert np.array_equal(
        corrupt_depth(depth, rgb, sensor, rng(1)), corrupt_depth(depth, rgb, sensor, rng(1)), equal_nan=True
    )
    assert np.array_equal(corrupt_rgb(rgb, sensor, rng(1)), corrupt_rgb(rgb, sensor, rng(1)))
    assert not np.array_equal(
        corrupt_depth(depth, rgb, sensor, rng(1)), corrupt_depth(depth, rgb, sensor, rng(2)), equal_nan=True
    )
    assert not np.array_equal(corrupt_rgb(rgb, sensor, rng(1)), corrupt_rgb(rgb, sensor, rng(2)))


@pytest.mark.parametrize("distance_m", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("correlation_px", [0.0, 2.0, 5.0, 10.0])
def test_depth_noise_has_the_sigma_it_promises_at_every_distance(distance_m: float, correlation_px: float) -> None:
    sensor = replace(CLEAN, depth_noise_m=0.002, depth_correlation_px=correlation_px)
    plane = np.full((240, 320), distance_m, dtype=np.float32)
    error = corrupt_depth(plane, None, sensor, rng()) - plane
    assert error.std() == pytest.approx(0.002 * (distance_m / 0.5) ** 2, rel=0.1)
    assert abs(error.mean()) < 0.1 * error.std() + 0.02 * error.std() * correlation_px


def test_correlated_noise_is_alike_in_neighbours_and_white_noise_is_not() -> None:
    plane = np.full((240, 320), 0.5, dtype=np.float32)

    def likeness(correlation_px: float) -> float:
        sensor = replace(CLEAN, depth_noise_m=0.002, depth_correlation_px=correlation_px)
        error = corrupt_depth(plane, None, sensor, rng()) - plane
        return float(np.corrcoef(error[:, :-1].ravel(), error[:, 1:].ravel())[0, 1])

    assert abs(likeness(0.0)) < 0.02
    assert likeness(8.0) > 0.4


def test_bias_and_quantisation() -> None:
    plane = np.linspace(0.3, 0.9, 64 * 64, dtype=np.float32).reshape(64, 64)
    biased = corrupt_depth(plane, None, replace(CLEAN, depth_bias_m=0.003), rng())
    assert biased - plane == pytest.approx(0.003, abs=1e-6)
    stepped = corrupt_depth(np.full((8, 8), 0.5, np.float32) + np.float32(0.0013), None, quantised(0.004), rng())
    assert np.unique(stepped).size == 1
    error = np.abs(corrupt_depth(plane, None, quantised(0.004), rng()) - plane)
    steps = 0.004 * (plane / 0.5) ** 2
    assert np.all(error <= 0.5 * steps + 1e-6)
    assert error.max() > 0.4 * steps.max()


def quantised(step_m: float) -> SensorSample:
    return replace(CLEAN, depth_quantization_m=step_m)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 1.0])
def test_holes_fall_on_the_far_side_of_edges_as_often_as_asked(share: float) -> None:
    sensor = replace(CLEAN, depth_hole_edge_frac=share)
    depth = box_on_table()
    gone = np.mean([np.isnan(corrupt_depth(depth, None, sensor, rng(seed))) for seed in range(200)], axis=0)
    rim = gone[20, 22:42]  # the table's pixels beside the box
    assert rim.mean() == pytest.approx(share, abs=0.06)
    assert gone[21, 22:42].mean() == pytest.approx(0.5 * share, abs=0.06)  # the box's own
    assert gone[:15].max() == 0.0
    assert gone[28:36, 28:36].max() == 0.0


def test_a_slanted_plane_has_no_edges() -> None:
    slant = np.broadcast_to(np.linspace(0.4, 1.2, 64, dtype=np.float32)[:, None], (64, 64))
    assert np.isfinite(corrupt_depth(slant, None, replace(CLEAN, depth_hole_edge_frac=1.0), rng())).all()


def test_black_and_glaring_surfaces_lose_depth_and_others_keep_it() -> None:
    rgb = np.full((64, 64, 3), 128, dtype=np.uint8)
    rgb[:, :20], rgb[:, 44:] = 8, 255
    sensor = replace(CLEAN, depth_hole_dark_frac=0.4)
    plane = np.full((64, 64), 0.5, dtype=np.float32)
    gone = np.mean([np.isnan(corrupt_depth(plane, rgb, sensor, rng(seed))) for seed in range(100)], axis=0)
    assert gone[:, :20].mean() == pytest.approx(0.4, abs=0.05)
    assert gone[:, 44:].mean() == pytest.approx(0.4, abs=0.05)
    assert gone[:, 20:44].max() == 0.0
    assert np.isfinite(corrupt_depth(plane, None, sensor, rng())).all()


def test_holes_come_in_blotches() -> None:
    dark, plane = np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 0.5, np.float32)
    gone = np.isnan(corrupt_depth(plane, dark, replace(CLEAN, depth_hole_dark_frac=0.5), rng()))
    assert np.corrcoef(gone[:, :-1].ravel(), gone[:, 1:].ravel())[0, 1] > 0.2


def test_exposure_and_white_balance_scale_channels_and_saturate() -> None:
    grey = np.full((8, 8, 3), 100, dtype=np.uint8)
    sensor = replace(CLEAN, exposure=1.5, white_balance=(1.0, 0.5, 4.0))
    assert corrupt_rgb(grey, sensor, rng())[0, 0].tolist() == [150, 75, 255]


def test_rgb_noise_has_the_sigma_it_promises() -> None:
    grey = np.full((128, 128, 3), 128, dtype=np.uint8)
    error = corrupt_rgb(grey, replace(CLEAN, rgb_noise=0.04), rng()).astype(float) - 128.0
    assert error.std() / 255.0 == pytest.approx(0.04, rel=0.05)
    assert abs(error.mean()) < 0.3


def test_vignette_darkens_corners_and_not_the_middle() -> None:
    image = corrupt_rgb(np.full((65, 65, 3), 200, np.uint8), replace(CLEAN, vignette=0.5), rng())
    assert image[32, 32, 0] == 200
    assert image[0, 0, 0] == 100


def test_blur_and_jpeg_lose_detail_but_keep_the_mean() -> None:
    rgb = picture()
    detail = np.abs(np.diff(rgb.astype(float), axis=1)).mean()
    blurred = corrupt_rgb(rgb, replace(CLEAN, blur_px=1.5), rng()).astype(float)
    assert np.abs(np.diff(blurred, axis=1)).mean() < 0.4 * detail
    assert blurred.mean() == pytest.approx(rgb.mean(), abs=1.0)
    fine, coarse = (
        np.abs(corrupt_rgb(rgb, replace(CLEAN, jpeg_quality=quality), rng()).astype(float) - rgb).mean()
        for quality in (95, 20)
    )
    assert 0 < fine < coarse


def test_jpeg_keeps_red_red() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert corrupt_rgb(red, replace(CLEAN, jpeg_quality=60), rng())[8, 8].tolist() == pytest.approx([200, 0, 0], abs=6)
