"""The camera model: what is projected comes back, by our formulas and by OpenCV's."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.camera import CameraModel

WIDTH_PX, HEIGHT_PX = 96, 64
FOCALS = st.floats(40.0, 300.0)
CAMERAS = st.builds(
    lambda fx, fy, cx, cy: CameraModel(WIDTH_PX, HEIGHT_PX, fx, fy, cx, cy),
    FOCALS,
    FOCALS,
    st.floats(30.0, 60.0),
    st.floats(20.0, 40.0),
)
PIXELS = st.lists(st.tuples(st.floats(0.0, WIDTH_PX - 1.0), st.floats(0.0, HEIGHT_PX - 1.0)), min_size=1, max_size=8)
POSES = st.builds(
    lambda x, y, z, to_x, to_y: frames.look_at((x, y, z), (to_x, to_y, 0.0)),
    st.floats(-0.3, 0.3),
    st.floats(-0.3, 0.3),
    st.floats(0.2, 1.0),
    st.floats(0.4, 0.6),
    st.floats(-0.1, 0.1),
)
# What lenses of robot cameras do: a few per cent at the corners.
DISTORTIONS = st.tuples(
    st.floats(-0.1, 0.1),
    st.floats(-0.05, 0.05),
    st.floats(-0.005, 0.005),
    st.floats(-0.005, 0.005),
    st.floats(-0.01, 0.01),
)


@given(CAMERAS, POSES, PIXELS, st.floats(0.1, 2.0))
def test_a_pixel_comes_back_through_the_point_that_it_sees(
    model: CameraModel, T_base_cam: NDArray[np.float64], pixels: list[tuple[float, float]], depth_m: float
) -> None:
    points = camera.deproject(pixels, np.full(len(pixels), depth_m), model.K, T_base_cam)
    np.testing.assert_allclose(camera.project(points, model.K, T_base_cam), pixels, atol=1e-6)
    np.testing.assert_allclose(frames.apply(frames.invert(T_base_cam), points)[:, 2], depth_m, atol=1e-9)


@given(CAMERAS, POSES, PIXELS, DISTORTIONS)
def test_projection_with_distortion_is_opencvs(
    model: CameraModel,
    T_base_cam: NDArray[np.float64],
    pixels: list[tuple[float, float]],
    distortion: tuple[float, float, float, float, float],
) -> None:
    points = camera.deproject(pixels, np.full(len(pixels), 0.5), model.K, T_base_cam)
    T_cam_base = frames.invert(T_base_cam)
    expected, _ = cv2.projectPoints(
        points, frames.rotation_to_vector(T_cam_base[:3, :3]), T_cam_base[:3, 3], model.K, np.asarray(distortion)
    )
    ours = camera.distort_pixels(camera.project(points, model.K, T_base_cam), model.K, distortion)
    np.testing.assert_allclose(ours, expected.reshape(-1, 2), atol=1e-5)


@given(st.floats(90.0, 300.0), PIXELS, DISTORTIONS)
def test_undistorting_takes_the_distortion_out(
    focal_px: float, pixels: list[tuple[float, float]], distortion: tuple[float, float, float, float, float]
) -> None:
    K = CameraModel(WIDTH_PX, HEIGHT_PX, focal_px, focal_px, 47.5, 31.5).K
    bent = camera.distort_pixels(pixels, K, distortion)
    np.testing.assert_allclose(camera.undistort_pixels(bent, K, distortion), pixels, atol=0.05)


@given(CAMERAS, POSES, PIXELS, st.floats(-0.05, 0.1))
def test_points_at_a_height_lie_there_and_on_the_ray(
    model: CameraModel, T_base_cam: NDArray[np.float64], pixels: list[tuple[float, float]], height_m: float
) -> None:
    points = camera.at_height(pixels, np.full(len(pixels), height_m), model.K, T_base_cam)
    hit = np.asarray(np.isfinite(points).all(axis=1))
    falling = np.asarray(camera.rays(pixels, model.K, T_base_cam)[:, 2] < -1e-9)
    np.testing.assert_array_equal(hit[falling], True)
    # Near the horizon a point may be kilometres away, where a pixel is no longer a millionth of a metre.
    near = hit & (np.abs(points) < 100.0).all(axis=1)
    np.testing.assert_allclose(points[near, 2], height_m, atol=1e-9)
    np.testing.assert_allclose(camera.project(points[near], model.K, T_base_cam), np.asarray(pixels)[near], atol=1e-4)


def test_a_ray_that_climbs_never_reaches_the_table() -> None:
    T_base_cam = frames.look_at((0.0, 0.0, 0.5), (1.0, 0.0, 0.5))
    K = CameraModel.from_fov(64, 64, math.radians(60)).K
    points = camera.at_height([(31.5, 0.0), (31.5, 31.5), (31.5, 63.0)], 0.0, K, T_base_cam)
    assert np.isnan(points[:2]).all()
    assert np.isfinite(points[2]).all()


def test_what_is_behind_the_camera_has_no_pixel() -> None:
    T_base_cam = frames.look_at((0.0, 0.0, 0.5), (1.0, 0.0, 0.0))
    K = CameraModel.from_fov(64, 64, math.radians(60)).K
    pixels = camera.project([(-1.0, 0.0, 1.0), (1.0, 0.0, 0.0)], K, T_base_cam)
    assert np.isnan(pixels[0]).all()
    np.testing.assert_allclose(pixels[1], (31.5, 31.5), atol=1e-9)


@given(st.floats(0.1, 2.5), st.integers(16, 640), st.integers(16, 640))
def test_the_field_of_view_spans_the_image_from_edge_to_edge(fov_y_rad: float, width_px: int, height_px: int) -> None:
    model = CameraModel.from_fov(width_px, height_px, fov_y_rad)
    top, bottom = (camera.rays((0.0, row), model.K, np.eye(4)) for row in (-0.5, height_px - 0.5))
    assert math.atan(bottom[1]) - math.atan(top[1]) == pytest.approx(fov_y_rad)
    assert model.fx == model.fy


def test_depth_of_any_shape_is_deprojected() -> None:
    K = CameraModel.from_fov(8, 6, 1.0).K
    pixels = np.stack(np.meshgrid(np.arange(8.0), np.arange(6.0)), axis=-1)
    assert camera.deproject(pixels, np.ones((6, 8)), K, np.eye(4)).shape == (6, 8, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width_px": 0}, "width_px must be positive"),
        ({"height_px": -4}, "height_px must be positive"),
        ({"fx": 0.0}, "fx must be positive"),
        ({"fy": math.nan}, "fy must be positive"),
        ({"cx": math.inf}, "must be finite"),
        ({"distortion": (0.0, 0.0, math.nan, 0.0, 0.0)}, "must be finite"),
        ({"distortion": (0.1, 0.2)}, "five distortion coefficients"),
    ],
)
def test_an_impossible_camera_is_refused_by_name(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"width_px": 64, "height_px": 64, "fx": 80.0, "fy": 80.0, "cx": 31.5, "cy": 31.5}
    with pytest.raises(ValueError, match=message):
        CameraModel(**{**good, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("fov_y_rad", [0.0, math.pi, -1.0, math.nan])
def test_an_impossible_field_of_view_is_refused(fov_y_rad: float) -> None:
    with pytest.raises(ValueError, match="fov_y_rad"):
        CameraModel.from_fov(64, 64, fov_y_rad)


def test_only_a_camera_without_distortion_is_a_pinhole() -> None:
    assert CameraModel.from_fov(64, 64, 1.0).is_pinhole
    assert not CameraModel(64, 64, 80.0, 80.0, 31.5, 31.5, (0.0, 0.0, 0.0, 0.01, 0.0)).is_pinhole
