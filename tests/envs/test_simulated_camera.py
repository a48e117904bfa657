"""The simulated camera delivers what it says: calibration as reported, lens as drawn, images that show the scene."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest

from simtoreal import camera, frames
from simtoreal.camera import CameraModel
from simtoreal.contracts import Observation
from simtoreal.envs.bullet_cell import BulletCell
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import Scene, SceneSampler
from simtoreal.envs.simulated_camera import SimulatedCamera, ViewState, draw_variant
from simtoreal.envs.still_cell import StillCell, ToolPose, draw_tool_pose
from simtoreal.envs.world_sample import CameraSample

HIGH = ToolPose(frames.top_down((0.5, 0.0, 0.32), 0.0), 0.08)


@pytest.fixture(scope="module")
def still(panda: RobotSpec) -> Iterator[StillCell]:
    cell = StillCell(panda, CameraSetup.default("wrist", 96))
    yield cell
    cell.close()


@pytest.fixture(scope="module")
def beside(panda: RobotSpec) -> Iterator[StillCell]:
    cell = StillCell(panda, CameraSetup.default("external", 128))
    yield cell
    cell.close()


def with_camera(scene: Scene, **changes: object) -> Scene:
    sample: CameraSample = dataclasses.replace(scene.world.camera, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(scene, world=dataclasses.replace(scene.world, camera=sample))


def shoot(cell: StillCell, scene: Scene, tool: ToolPose = HIGH, seed: int = 0) -> Observation:
    cell.begin(scene)
    observation = cell.look(tool, np.random.default_rng(seed))
    assert observation is not None
    return observation


def heights_m(observation: Observation) -> np.ndarray:
    """Height of every pixel above the base plane, by the reported calibration of a pinhole."""
    assert observation.depth_m is not None
    rows, columns = np.indices(observation.depth_m.shape)
    pixels = np.stack([columns, rows], axis=-1)
    return camera.deproject(pixels, observation.depth_m, observation.K, observation.T_base_cam)[..., 2]


def test_depth_and_calibration_agree_about_table_and_object(still: StillCell, plain: SceneSampler):
    scene = plain.sample((3,), "block")
    observation = shoot(still, scene)
    heights = heights_m(observation)
    top_m = frames.apply(scene.objects[0].T_base_obj, scene.objects[0].asset.vertices_m)[:, 2].max()
    centre = camera.project(scene.objects[0].T_base_obj[:3, 3], observation.K, observation.T_base_cam)
    u, v = np.round(centre).astype(int)
    assert np.nanpercentile(heights, 30) == pytest.approx(0.0, abs=1e-3)
    assert heights[v - 2 : v + 3, u - 2 : u + 3].max() == pytest.approx(top_m, abs=1e-3)


def test_the_object_has_a_colour_of_its_own(still: StillCell, plain: SceneSampler):
    observation = shoot(still, plain.sample((3,), "block"))
    assert observation.rgb is not None
    on_object = heights_m(observation) > 0.01
    on_table = np.abs(heights_m(observation)) < 1e-3
    colours = [observation.rgb[mask].astype(float).mean(axis=0) for mask in (on_object, on_table)]
    assert np.linalg.norm(colours[0] - colours[1]) > 15.0


def test_a_mounting_error_is_in_the_image_and_not_in_the_calibration(still: StillCell, plain: SceneSampler):
    scene = plain.sample((3,), "block")
    true = shoot(still, scene)
    off = shoot(still, with_camera(scene, mounting_error_m=(0.005, 0.0, 0.01)))
    assert np.array_equal(true.T_base_cam, off.T_base_cam)
    assert true.depth_m is not None
    assert off.depth_m is not None
    assert np.nanmean(np.abs(true.depth_m - off.depth_m) > 5e-3) > 0.5


def test_a_mount_elsewhere_is_in_the_image_and_in_the_calibration(still: StillCell, plain: SceneSampler):
    scene = plain.sample((3,), "block")
    moved = shoot(still, with_camera(scene, position_offset_m=(0.0, 0.02, 0.01), rotation_offset_rad=(0.1, 0.0, 0.05)))
    assert np.linalg.norm(moved.T_base_cam[:3, 3] - shoot(still, scene).T_base_cam[:3, 3]) == pytest.approx(
        0.0224, abs=1e-3
    )
    assert np.nanpercentile(np.abs(heights_m(moved)), 30) < 1e-3


def test_the_lens_that_was_drawn_is_the_lens_that_is_reported(still: StillCell, plain: SceneSampler):
    scene = plain.sample((3,), "block")
    distortion = (0.1, -0.02, 0.001, 0.0, 0.0)
    observation = shoot(still, with_camera(scene, fov_scale=1.1, distortion=distortion))
    assert observation.K[0, 0] == pytest.approx(shoot(still, scene).K[0, 0] / 1.1)
    assert observation.distortion == pytest.approx(distortion)
    assert shoot(still, scene).distortion is None


def test_the_wrist_camera_moves_with_the_tool_and_the_external_one_does_not(
    still: StillCell, beside: StillCell, plain: SceneSampler, panda: RobotSpec
):
    scene = plain.sample((3,), "block")
    turned = ToolPose(frames.top_down((0.45, 0.05, 0.3), 0.8), 0.04)
    for tool in (HIGH, turned):
        observation = shoot(still, scene, tool)
        assert frames.invert(observation.T_base_tcp) @ observation.T_base_cam == pytest.approx(panda.T_tcp_cam)
    assert np.array_equal(shoot(beside, scene).T_base_cam, shoot(beside, scene, turned).T_base_cam)


def test_the_arm_is_seen_from_beside(beside: StillCell, plain: SceneSampler):
    scene = plain.sample((3,), "block")
    observation = shoot(beside, scene)
    assert (heights_m(observation) > 0.2).mean() > 0.01


@pytest.mark.parametrize(
    ("modality", "rgb", "depth"), [("rgb", True, False), ("depth", False, True), ("rgbd", True, True)]
)
def test_a_camera_delivers_what_it_has(modality: str, rgb: bool, depth: bool, panda: RobotSpec, plain: SceneSampler):
    cell = BulletCell(panda, CameraSetup.default("wrist", 32, modality))
    observation = cell.reset(plain.sample((3,), "block"))
    cell.disconnect()
    assert (observation.rgb is not None, observation.depth_m is not None) == (rgb, depth)


@pytest.mark.parametrize(("width", "height"), [(160, 120), (64, 100)])
def test_images_have_the_size_of_the_camera(width: int, height: int, panda: RobotSpec, plain: SceneSampler):
    cell = StillCell(panda, CameraSetup("wrist", CameraModel.from_fov(width, height, 1.0)))
    observation = shoot(cell, plain.sample((3,), "block"))
    cell.close()
    assert observation.rgb is not None
    assert observation.depth_m is not None
    assert observation.rgb.shape == (height, width, 3)
    assert observation.depth_m.shape == (height, width)
    assert (observation.rgb.dtype, observation.depth_m.dtype) == (np.uint8, np.float32)


def test_the_same_seed_takes_the_same_picture_and_another_scene_another(still: StillCell, harsh: SceneSampler):
    scene = harsh.sample((5,), "bar")
    first, again = shoot(still, scene), shoot(still, scene)
    other = shoot(still, harsh.sample((6,), "bar"))
    assert first.rgb is not None
    assert other.rgb is not None
    assert np.array_equal(first.rgb, again.rgb)  # type: ignore[arg-type]
    assert np.array_equal(first.depth_m, again.depth_m, equal_nan=True)  # type: ignore[arg-type]
    assert np.abs(first.rgb.astype(int) - other.rgb).mean() > 10


def test_looks_of_one_scene_differ_only_by_noise_from_look_to_look(still: StillCell, harsh: SceneSampler):
    scene = harsh.sample((5,), "bar")
    first, second = shoot(still, scene, seed=0), shoot(still, scene, seed=1)
    assert first.rgb is not None
    assert second.rgb is not None
    difference = np.abs(first.rgb.astype(int) - second.rgb)
    assert 0 < difference.mean() < 25


def test_a_scale_of_the_object_is_seen(still: StillCell, plain: SceneSampler):
    scene = plain.sample((3,), "block")
    item = scene.objects[0]
    larger = dataclasses.replace(item, scale=1.5)
    areas = []
    for thing in (item, larger):
        heights = heights_m(shoot(still, dataclasses.replace(scene, objects=(thing,))))
        areas.append(((heights > 0.005) & (heights < 0.1)).sum())
    assert areas[1] > 1.6 * areas[0]


@pytest.mark.parametrize("placement", ["wrist", "external"])
def test_another_camera_that_a_user_might_have_still_sees_the_table(
    placement: Literal["wrist", "external"], still: StillCell, beside: StillCell, plain: SceneSampler, panda: RobotSpec
):
    cell = still if placement == "wrist" else beside
    scene = plain.sample((3,), "block")
    sizes = set()
    for seed in range(12):
        variant = draw_variant(CameraSetup.default(placement, 64), panda, np.random.default_rng(seed))
        cell.begin(scene, variant)
        observation = cell.look(HIGH, np.random.default_rng(0))
        assert observation is not None
        assert observation.rgb is not None
        sizes.add(observation.rgb.shape)
        u, v = camera.project((0.5, 0.0, 0.0), observation.K, observation.T_base_cam)
        height, width = observation.rgb.shape[:2]
        assert -0.1 * width < u < 1.1 * width
        assert -0.1 * height < v < 1.1 * height
        assert np.nanpercentile(np.abs(heights_m(observation)), 20) < 1e-3
    assert len(sizes) > 2


def test_a_tool_pose_out_of_reach_gives_no_frame(still: StillCell, plain: SceneSampler):
    still.begin(plain.sample((3,), "block"))
    assert still.look(ToolPose(frames.top_down((1.6, 0.0, 0.3), 0.0), 0.08), np.random.default_rng(0)) is None


def test_tool_poses_of_training_frames_are_above_the_objects_and_mostly_within_reach(
    still: StillCell, harsh: SceneSampler, panda: RobotSpec
):
    rng = np.random.default_rng(0)
    reached = 0
    for seed in range(20):
        scene = harsh.sample((seed,), "bar")
        still.begin(scene)
        top_m = max(
            float(frames.apply(item.T_base_obj, item.asset.vertices_m * item.scale)[:, 2].max())
            for item in scene.objects
        )
        tool = draw_tool_pose(scene, panda, rng)
        assert tool.T_base_tcp[2, 3] > top_m
        assert tool.T_base_tcp[2, 2] == -1.0
        reached += still.look(tool, rng) is not None
    assert reached >= 17


def test_a_clean_picture_from_anywhere(panda: RobotSpec, plain: SceneSampler):
    taker = SimulatedCamera(CameraSetup.default("external", 64), panda, [])
    scene = plain.sample((3,), "block")
    taker.begin(scene)
    state = ViewState(HIGH.T_base_tcp, [item.T_base_obj for item in scene.objects], [])
    picture = taker.clean(state, CameraModel.from_fov(90, 60, 0.8), frames.look_at((0.9, 0.3, 0.5), (0.5, 0.0, 0.0)))
    assert picture.shape == (60, 90, 3)
    assert picture.std() > 10


def test_without_the_arm_pictures_show_the_table_alone(panda: RobotSpec, beside: StillCell, plain: SceneSampler):
    scene = plain.sample((3,), "block")
    low = ToolPose(frames.top_down((0.5, 0.05, 0.15), 0.7), 0.08)
    bare = StillCell(panda, CameraSetup.default("external", 128), arm=False)
    alone, still_alone, with_arm = (shoot(c, scene, tool).rgb for c, tool in ((bare, HIGH), (bare, low), (beside, low)))
    bare.close()
    assert alone is not None
    assert still_alone is not None
    assert with_arm is not None
    assert (alone == still_alone).all()
    assert (alone != with_arm).any(axis=-1).mean() > 0.05
