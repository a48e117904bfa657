"""The canonical view: whatever the real camera, the same object appears at the same place and in the same size."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from simtoreal import camera, frames
from simtoreal.camera import NO_DISTORTION, CameraModel
from simtoreal.contracts import Observation
from simtoreal.envs.renderer import Background, Instance, Lighting, Material, box_mesh, plane_mesh, render
from simtoreal.policies.view import View, ViewSpec, make_view, to_tensor

BOX_M = (0.05, 0.03, 0.04)
BOX_AT_M = (0.515, 0.02)
IDENTITY = np.eye(4)
TOOL = frames.top_down((0.5, 0.0, 0.25), 0.3)
EYE_M = np.array([0.44, 0.0, 0.34])
LENSES = {
    "square": CameraModel.from_fov(96, 96, 1.05),
    "small": CameraModel.from_fov(64, 64, 1.05),
    "narrow": CameraModel.from_fov(128, 128, 0.8),
    "vga": CameraModel.from_fov(640, 480, 0.9),
    "tall": CameraModel.from_fov(96, 160, 1.3),
    "off_centre": CameraModel(120, 100, 110.0, 104.0, 66.0, 44.0),
    "distorted": CameraModel(160, 120, 120.0, 120.0, 79.5, 59.5, (-0.15, 0.03, 0.001, -0.002, 0.0)),
    "bulging": CameraModel(160, 120, 120.0, 120.0, 79.5, 59.5, (0.10, 0.02, 0.0, 0.0, 0.0)),
}


def mount(tilt_rad: float = 0.0, roll_rad: float = 0.0, eye_m: NDArray[np.float64] = EYE_M) -> NDArray[np.float64]:
    """A camera over the table that looks at the box, then tilted and rolled."""
    T = frames.look_at(eye_m, (0.5, 0.0, 0.0), up=(1.0, 0.0, 0.0))
    return T @ frames.transform((0, 0, 0), frames.rotation_from_vector((tilt_rad, 0.0, roll_rad)))


def photograph(
    model: CameraModel,
    T_base_cam: NDArray[np.float64],
    T_base_tcp: NDArray[np.float64] = TOOL,
    about: NDArray[np.float64] = IDENTITY,
) -> Observation:
    """A red box on a grey table; `about` moves the box, the camera and the tool together."""
    T_base_cam, T_base_tcp = about @ T_base_cam, about @ T_base_tcp
    box = about @ frames.transform((*BOX_AT_M, BOX_M[2] / 2), frames.rotation_about_z(0.5))
    instances = [
        Instance(plane_mesh(2.0, 1), frames.transform((0.5, 0, 0)), Material((0.5, 0.5, 0.5)), 0),
        Instance(box_mesh(BOX_M), box, Material((0.9, 0.02, 0.02)), 1),
    ]
    image = render(instances, model, T_base_cam, Lighting(ambient=0.8, diffuse=0.2, shadow=0.0), Background())
    distortion = None if model.distortion == NO_DISTORTION else np.array(model.distortion)
    return Observation(0.0, image.rgb, image.depth_m, model.K, T_base_cam, T_base_tcp, 0.08, None, distortion)


def red(view: View) -> NDArray[np.bool_]:
    rgb = view.rgb.astype(int)
    return (rgb[..., 0] > 90) & (rgb[..., 1] < 60)


def centroid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean (column, row) of a mask."""
    return np.argwhere(mask).mean(axis=0)[::-1]


@pytest.fixture(scope="module")
def reference() -> View:
    return make_view(photograph(LENSES["square"], mount()), ViewSpec())


@pytest.mark.parametrize("tilt_rad", [-0.2, 0.0, 0.15])
@pytest.mark.parametrize("lens", LENSES)
def test_size_lens_distortion_and_tilt_of_the_camera_do_not_show(reference: View, lens: str, tilt_rad: float):
    view = make_view(photograph(LENSES[lens], mount(tilt_rad, roll_rad=0.4 * tilt_rad)), ViewSpec())
    assert np.allclose(view.K, reference.K)
    assert np.allclose(view.T_base_view, reference.T_base_view)
    assert np.linalg.norm(centroid(red(view)) - centroid(red(reference))) < 0.6
    assert red(view).sum() == pytest.approx(red(reference).sum(), rel=0.08)


@pytest.mark.parametrize("lens", LENSES)
def test_heights_are_right_to_a_millimetre(lens: str):
    view = make_view(photograph(LENSES[lens], mount(tilt_rad=0.1)), ViewSpec())
    top = camera.project((*BOX_AT_M, BOX_M[2]), view.K, view.T_base_view)
    u, v = np.round(top).astype(int)
    assert view.height_m[v - 1 : v + 2, u - 1 : u + 2] == pytest.approx(BOX_M[2], abs=1e-3)
    table = view.valid & ~red(view)
    assert np.nanpercentile(np.abs(view.height_m[table]), 90) < 1e-3


def test_a_point_on_the_table_is_where_the_virtual_camera_says():
    view = make_view(photograph(LENSES["distorted"], mount(0.1)), ViewSpec(pixels=128))
    corner = frames.apply(
        frames.transform((*BOX_AT_M, 0.0), frames.rotation_about_z(0.5)), [BOX_M[0] / 2, BOX_M[1] / 2, BOX_M[2]]
    )
    u, v = camera.project(corner, view.K, view.T_base_view)
    ys, xs = np.nonzero(red(view))
    assert np.min(np.hypot(xs - u, ys - v)) < 1.5


@pytest.mark.parametrize("turn_rad", [0.7, -2.0])
def test_a_scene_that_is_turned_together_with_the_tool_looks_the_same(reference: View, turn_rad: float):
    about = frames.transform((0.5, 0, 0), frames.rotation_about_z(turn_rad)) @ frames.transform((-0.5, 0, 0))
    view = make_view(photograph(LENSES["square"], mount(), about=about), ViewSpec())
    assert abs(frames.wrap_half_turn(view.yaw_rad - reference.yaw_rad - turn_rad)) < 1e-6
    assert np.linalg.norm(centroid(red(view)) - centroid(red(reference))) < 0.3
    assert np.nanmedian(np.abs(view.height_m - reference.height_m)) < 1e-4


def test_closer_up_a_view_is_finer_until_its_smallest_edge():
    spec = ViewSpec()
    far, near, nearest = (
        make_view(photograph(LENSES["vga"], mount(eye_m=np.array([0.46, 0.0, z]))), spec) for z in (0.4, 0.25, 0.1)
    )
    assert far.edge_m == pytest.approx(0.3)
    assert near.edge_m == pytest.approx(0.25 * spec.edge_per_height)
    assert nearest.edge_m == spec.min_edge_m
    scale = {view.edge_m: math.sqrt(red(view).sum()) for view in (far, near)}
    assert scale[near.edge_m] / scale[far.edge_m] == pytest.approx(far.edge_m / near.edge_m, rel=0.15)


def test_an_external_camera_always_shows_the_same_region():
    spec = ViewSpec("external", pixels=96, max_edge_m=0.42)
    eye = frames.look_at((1.05, 0.0, 0.7), (0.5, 0.0, 0.02))
    views = [
        make_view(photograph(CameraModel.from_fov(size, size, fov), eye, tool), spec)
        for size, fov, tool in ((128, 0.7, TOOL), (480, 0.9, frames.top_down((0.4, 0.2, 0.4), -1.0)))
    ]
    for view in views:
        centre = camera.project((0.5, 0.0, 0.0), view.K, view.T_base_view)
        assert centre == pytest.approx((47.5, 47.5), abs=1e-6)
        assert view.edge_m == 0.42
        assert red(view).sum() > 50
    assert np.linalg.norm(centroid(red(views[0])) - centroid(red(views[1]))) < 0.6


def test_what_the_camera_does_not_see_is_marked_and_not_invented():
    view = make_view(photograph(CameraModel.from_fov(64, 64, 0.3), mount()), ViewSpec())
    assert 0.02 < view.valid.mean() < 0.9
    assert np.isnan(view.height_m[~view.valid]).all()
    assert not view.rgb[~view.valid].any()


def test_holes_in_the_depth_stay_holes():
    observation = photograph(LENSES["square"], mount())
    assert observation.depth_m is not None
    holed = observation.depth_m.copy()
    holed[40:56, 40:56] = np.nan
    view = make_view(observation._replace(depth_m=holed), ViewSpec())
    tensor = to_tensor(view, ViewSpec())
    assert np.isnan(view.height_m[view.valid]).any()
    assert np.isfinite(tensor).all()
    assert np.array_equal(tensor[4] > 0, np.isfinite(view.height_m)), "the network is told where depth is known"


@pytest.mark.parametrize(
    ("modality", "gone"), [("rgbd", "rgb"), ("rgb", "rgb"), ("rgbd", "depth_m"), ("depth", "depth_m")]
)
def test_a_missing_image_is_an_error_that_says_which(modality: str, gone: str):
    observation = photograph(LENSES["square"], mount())._replace(**{gone: None})
    with pytest.raises(ValueError, match="colour" if gone == "rgb" else "depth"):
        make_view(observation, ViewSpec(modality=modality))


@pytest.mark.parametrize(("modality", "gone"), [("rgb", "depth_m"), ("depth", "rgb")])
def test_an_image_that_the_modality_does_not_use_may_be_missing(modality: str, gone: str):
    spec = ViewSpec(modality=modality)
    whole = photograph(LENSES["square"], mount())
    without = make_view(whole._replace(**{gone: None}), spec)
    tensor = to_tensor(without, spec)
    assert tensor.shape == (spec.num_channels, spec.pixels, spec.pixels)
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor, to_tensor(make_view(whole, spec), spec))


@pytest.mark.parametrize("modality", ["rgb", "depth", "rgbd"])
def test_channels_are_as_many_as_announced_and_of_order_one(modality: str):
    spec = ViewSpec(modality=modality, pixels=96)
    tensor = to_tensor(make_view(photograph(LENSES["vga"], mount(0.1)), spec), spec)
    assert tensor.shape == (spec.num_channels, 96, 96)
    assert np.isfinite(tensor).all()
    assert np.abs(tensor).max() <= 4.0


def test_a_noisy_large_image_is_averaged_and_not_sampled():
    model = CameraModel.from_fov(1280, 960, 0.9)
    observation = photograph(model, mount())
    assert observation.rgb is not None
    noise = np.random.default_rng(0).normal(0.0, 40.0, observation.rgb.shape)
    noisy = np.clip(observation.rgb + noise, 0, 255).astype(np.uint8)
    view = make_view(observation._replace(rgb=noisy), ViewSpec())
    clean = make_view(observation, ViewSpec())
    assert np.std(view.rgb.astype(float) - clean.rgb) < 15.0


@pytest.mark.parametrize(
    "broken",
    [
        {"modality": "thermal"},
        {"pixels": 30},
        {"pixels": 68},
        {"min_edge_m": 0.0},
        {"min_edge_m": 0.5, "max_edge_m": 0.4},
    ],
)
def test_a_view_that_makes_no_sense_is_refused(broken: dict):
    with pytest.raises(ValueError, match=r"view (modality|pixels|edges)"):
        ViewSpec(**broken)
