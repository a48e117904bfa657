"""The camera of the second world: geometry with known answers, a lens that bends as OpenCV says, its own looks."""

import math
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install 'simtoreal[mujoco]'")

from controller_contract import hold, run
from reality_scenes import with_world

from simtoreal import camera, frames
from simtoreal.camera import CameraModel
from simtoreal.envs import mujoco_camera
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.mujoco_cell import MujocoCell
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.reality import Reality, load_reality
from simtoreal.envs.reality_scene import Prop, RealitySampler, RealityScene
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import RobotSpec

OPEN_M = 0.08
BENT = (-0.2, 0.04, 0.002, -0.001, 0.0)


@pytest.fixture(scope="module")
def scene(toys: ObjectSet, resting: RestingPoses) -> RealityScene:
    return RealitySampler(toys, resting, Reality()).sample((3,), "block")


@pytest.fixture(scope="module")
def cell(panda: RobotSpec) -> Iterator[MujocoCell]:
    cell = MujocoCell(panda, CameraSetup.default("wrist", 96))
    yield cell
    cell.disconnect()


def eye_of(cell: MujocoCell) -> mujoco_camera.MujocoCamera:
    assert cell._camera is not None
    return cell._camera


def with_box(scene: RealityScene) -> RealityScene:
    """A box of 12 x 12 x 6 cm beside the block."""
    return replace(scene, scenery=(Prop("box", (0.12, 0.12, 0.06), frames.transform((0.42, 0.2, 0.03)), "metal", 1),))


@pytest.mark.parametrize("distortion", [(0.0,) * 5, BENT])
def test_depth_of_a_box_and_of_the_table_is_right_to_two_millimetres(
    cell: MujocoCell, scene: RealityScene, distortion: tuple[float, float, float, float, float]
):
    cell.reset(with_box(scene))
    model = replace(CameraModel.from_fov(200, 160, 0.9), distortion=distortion)
    T_base_cam = frames.look_at((0.75, 0.35, 0.5), (0.42, 0.2, 0.03))
    _, depth_m = eye_of(cell).clean(model, T_base_cam)
    for point, clearance_m in (((0.42, 0.2, 0.06), 0.06), ((0.60, 0.05, 0.0), 0.0)):
        pinhole = camera.project(np.array(point), model.K, T_base_cam)
        u, v = np.rint(camera.distort_pixels(pinhole, model.K, distortion)).astype(int)
        straight = camera.undistort_pixels([[u, v]], model.K, distortion)[0] if any(distortion) else np.array([u, v])
        seen = camera.deproject(straight, depth_m[v, u], model.K, T_base_cam)
        assert seen[2] == pytest.approx(clearance_m, abs=2e-3)
        np.testing.assert_allclose(seen[:2], point[:2], atol=4e-3)  # a pixel is 3 mm wide there


def test_the_finger_tips_are_where_the_tool_frame_says(cell: MujocoCell, scene: RealityScene, panda: RobotSpec):
    """Seen from the side: above the point between the tips there are fingers on both sides, below there is nothing."""
    observation = cell.reset(scene)
    tips_m = observation.T_base_tcp[:3, 3]
    model = CameraModel.from_fov(200, 200, 0.3)
    T_base_cam = frames.look_at(tips_m + np.array([0.0, -0.5, 0.0]), tips_m)
    rgb, depth_m = eye_of(cell).clean(model, T_base_cam)
    assert rgb.shape == (200, 200, 3)
    for side in (-1.0, 1.0):
        # In the middle of a finger, a centimetre above its end and a centimetre below.
        x = side * (0.5 * OPEN_M + 0.4 * panda.gripper.geometry.finger_thickness_m)
        for z, is_finger in ((0.01, True), (-0.01, False)):
            u, v = np.rint(camera.project(tips_m + np.array([x, 0.0, z]), model.K, T_base_cam)).astype(int)
            assert (abs(depth_m[v, u] - 0.5) < 0.02) == is_finger, (side, z)


def test_a_bent_image_is_the_straight_one_through_the_lens(cell: MujocoCell, scene: RealityScene):
    cell.reset(with_box(scene))
    straight = CameraModel.from_fov(160, 160, 1.0)
    bent = replace(straight, distortion=BENT)
    T_base_cam = frames.look_at((0.5, 0.0, 0.6), (0.5, 0.05, 0.0))
    plain, _ = eye_of(cell).clean(straight, T_base_cam)
    warped, _ = eye_of(cell).clean(bent, T_base_cam)
    undone = cv2.undistort(warped, bent.K, np.array(BENT))
    inner = (slice(40, 120), slice(40, 120))
    assert np.abs(undone[inner].astype(float) - plain[inner]).mean() < 4.0
    assert np.abs(warped[inner].astype(float) - plain[inner]).mean() > 4.0


def test_every_pixel_of_a_bent_lens_has_a_ray(cell: MujocoCell, scene: RealityScene):
    """A pinhole of the same size would leave the corners black."""
    cell.reset(with_world(scene, "optics", distortion=(-0.25, 0.06, 0.0, 0.0, 0.0), fov_scale=1.2))
    rgb, depth_m = eye_of(cell)._look(eye_of(cell)._view, cell.get_observation().T_base_cam)
    assert np.isfinite(depth_m).mean() > 0.999
    assert (rgb.max(axis=2) > 0)[[0, 0, -1, -1], [0, -1, 0, -1]].all()


def test_calibration_is_wrong_by_the_hand_eye_error(cell: MujocoCell, scene: RealityScene):
    wrong = with_world(scene, "optics", hand_eye_error_m=(0.0, 0.003, 0.004), hand_eye_error_rad=(0.02, 0.0, 0.0))
    observation = cell.reset(wrong)
    known, true = eye_of(cell).poses(observation.T_base_tcp)
    np.testing.assert_array_equal(observation.T_base_cam, known)
    T_known_true = frames.invert(known) @ true
    assert np.linalg.norm(T_known_true[:3, 3]) == pytest.approx(0.005)
    assert np.linalg.norm(frames.rotation_to_vector(T_known_true[:3, :3])) == pytest.approx(0.02)


def test_the_camera_moves_with_the_hand_and_sees_the_object_come_closer(cell: MujocoCell, scene: RealityScene):
    start = cell.reset(scene)
    assert start.depth_m is not None
    moved = run(cell, hold(OPEN_M, -0.02), 6)
    assert moved.depth_m is not None
    assert np.nanmedian(moved.depth_m) < np.nanmedian(start.depth_m) - 0.08


@pytest.mark.parametrize(
    ("modality", "has_rgb", "has_depth"), [("rgbd", True, True), ("rgb", True, False), ("depth", False, True)]
)
def test_an_external_camera_stands_still_and_delivers_what_it_should(
    panda: RobotSpec, scene: RealityScene, modality: str, has_rgb: bool, has_depth: bool
):
    cell = MujocoCell(panda, CameraSetup.default("external", 48, modality))
    start = cell.reset(scene)
    end = run(cell, hold(OPEN_M, -0.02), 4)
    np.testing.assert_array_equal(start.T_base_cam, end.T_base_cam)
    assert ((end.rgb is not None), (end.depth_m is not None)) == (has_rgb, has_depth)
    cell.disconnect()


def test_shadows_darken_and_are_cast_only_where_there_are_some(cell: MujocoCell, scene: RealityScene):
    model, T_base_cam = CameraModel.from_fov(160, 160, 0.9), frames.look_at((0.5, 0.02, 0.7), (0.5, 0.0, 0.0))
    light = {"lamp_direction": (0.5, 0.5, math.sqrt(0.5)), "lamp": 0.7, "ambient": 0.2}
    pictures = []
    for has_shadows in (False, True):
        cell.reset(with_world(with_box(scene), "light", has_shadows=has_shadows, **light))
        pictures.append(eye_of(cell).clean(model, T_base_cam)[0].astype(float).mean(axis=2))
    darker = pictures[1] < 0.7 * pictures[0]
    assert 0.02 < darker.mean() < 0.5
    assert (pictures[1] > 1.05 * pictures[0] + 2).mean() < 0.01


def test_the_same_scene_gives_the_same_picture(panda: RobotSpec, toys: ObjectSet, resting: RestingPoses):
    sampler = RealitySampler(toys, resting, load_reality("default"))
    pictures = []
    for other in (7, 8):  # what was drawn before must not matter
        cell = MujocoCell(panda, CameraSetup.default("wrist", 64))
        cell.reset(sampler.sample((other,), "can"))
        observation = cell.reset(sampler.sample((9,), "bar"))
        assert observation.rgb is not None
        pictures.append(observation.rgb)
        cell.disconnect()
    np.testing.assert_array_equal(*pictures)


def test_without_opengl_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(mujoco_camera.GL_ENV, raising=False)
    monkeypatch.setattr(mujoco_camera.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"neither EGL nor OSMesa is installed.*apt-get install libegl1 "):
        mujoco_camera.check_gl()
