"""Draws docs/images/overview.png: the cell, what the wrist camera sees, and the map of grasp quality.

python scripts/make_overview.py [--bundle default] [--out docs/images/overview.png]

With a bundle, grasps and map are what its encoder predicts from the wrist camera. `--bundle none` shows the labels that
encoders are trained on, by the planner that knows every mesh. The picture says which of the two it shows.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.bundle import load_bundle
from simtoreal.camera import CameraModel, project
from simtoreal.contracts import FloatArray, Observation
from simtoreal.envs.assets import default_cache_dir
from simtoreal.envs.bullet_world import BulletWorld
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.object_sets import load_object_set
from simtoreal.envs.randomization import Randomization, VisualSample
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.robot import RobotSpec, load_robot
from simtoreal.envs.scene import PlacedObject, Scene
from simtoreal.envs.simulated_camera import SimulatedCamera, ViewState
from simtoreal.envs.still_cell import StillCell, ToolPose
from simtoreal.evaluation.pictures import Image, draw_grasp, quality_overlay
from simtoreal.policies.grasp_map import Viewpoint, decode, in_view
from simtoreal.policies.grasp_targets import targets
from simtoreal.policies.load import as_grasp_map, load_encoder
from simtoreal.policies.parts import view_of
from simtoreal.policies.view import ViewSpec, make_view, to_tensor
from simtoreal.preflight import find_bundle

ROOT = Path(__file__).resolve().parents[1]
PANEL_PX, CAPTION_PX, GAP_PX = 440, 62, 16
PAPER, INK, FAINT = (255, 255, 255), (34, 34, 34), (110, 110, 110)
EYE_M, LOOK_AT_M, ANGLE_DEG = (1.25, -0.80, 0.66), (0.40, 0.0, 0.21), 36.0
# Name in household_test, resting pose, where on the table (m), yaw (rad).
OBJECTS = (
    ("mug_0004", 0, (0.570, 0.055), 0.6),
    ("box_0000", 0, (0.440, 0.085), 0.4),
    ("tool_0006", 0, (0.455, -0.040), 1.0),
    ("fruit_0010", 0, (0.565, -0.070), 0.3),
)
LOOKS = VisualSample(
    object_rgb=(0.86, 0.42, 0.12),
    object_specular=0.25,
    table_rgb=(0.78, 0.74, 0.69),
    background_rgb=(0.93, 0.94, 0.96),
    robot_rgb=(0.93, 0.94, 0.96),
    light_direction=(0.30, -0.42, 0.86),
    ambient=0.5,
    diffuse=0.55,
    shadow=0.7,
)
MAX_GRASPS = 6


class Grasp(NamedTuple):
    """A grasp to draw."""

    T_base_grasp: FloatArray  # (4, 4)
    quality: float


class Sight(NamedTuple):
    """What is said about the scene: grasps, the map over a view, and who says so."""

    grasps: list[Grasp]
    quality_map: NDArray[np.float32]  # (h, w)
    spec: ViewSpec
    author: str


def make_scene(cache_dir: Path) -> tuple[Scene, RestingPoses]:
    objects, resting = load_object_set("household_test", cache_dir), RestingPoses(cache_dir)
    world = replace(Randomization().sample(np.random.default_rng(0)), visual=LOOKS)
    placed = []
    for name, pose, (x, y), yaw in OBJECTS:
        asset = objects.asset(name)
        T_table_rest = frames.transform((x, y, 0.0), frames.rotation_about_z(yaw))
        T_rest = resting.poses(asset)[pose]
        placed.append(PlacedObject(asset, T_table_rest @ T_rest, 1.0, pose, T_table_rest))
    return Scene((0,), world, tuple(placed), ()), resting


def planned(scene: Scene, resting: RestingPoses, robot: RobotSpec, observation: Observation, cache_dir: Path) -> Sight:
    """The planner's grasps, and the target that an encoder would be trained on."""
    library = GraspLibrary(robot.gripper.geometry, resting, cache_dir)
    sets = [library.in_scene(scene, i) for i in range(len(scene.objects))]
    spec = ViewSpec()
    view = make_view(observation, spec)
    viewpoint = Viewpoint(view.K, view.T_base_view, view.yaw_rad, spec.pixels)
    rows = [in_view(s.positions_m, s.yaws_rad, s.widths_m, s.qualities, viewpoint) for s in sets if s.num]
    quality_map = targets(np.concatenate(rows), spec.pixels)[:, 0].max(axis=0)
    best = [
        Grasp(frames.top_down(s.positions_m[0], float(s.yaws_rad[0])), float(s.qualities[0])) for s in sets if s.num
    ]
    return Sight(best, quality_map, spec, "planner")


def predicted(bundle_name: str, scene: Scene, robot: RobotSpec, tool: ToolPose) -> Sight:
    """What the encoder of a bundle makes of its own camera's image."""
    bundle = load_bundle(find_bundle(bundle_name))
    record, spec = bundle.camera, view_of(bundle)
    if record.placement != "wrist":
        raise ValueError(f"bundle={bundle_name} has a camera {record.placement}; the picture shows the wrist camera")
    setup = CameraSetup("wrist", record.model, rgb=record.modality != "depth", depth=record.modality != "rgb")
    view = make_view(look(scene, robot, setup, tool), spec)
    grasp_map = as_grasp_map(load_encoder(bundle))(to_tensor(view, spec))
    viewpoint = Viewpoint(view.K, view.T_base_view, view.yaw_rad, spec.pixels)
    found = [Grasp(c.T_base_grasp, c.quality) for c in decode(grasp_map, viewpoint, 24) if c.quality > 0.3]
    apart: list[Grasp] = []
    for grasp in found:  # one for each place, best first
        if all(math.dist(grasp.T_base_grasp[:2, 3], other.T_base_grasp[:2, 3]) > 0.03 for other in apart):
            apart.append(grasp)
    return Sight(apart[:MAX_GRASPS], grasp_map[:, 0].max(axis=0), spec, "encoder")


def look(scene: Scene, robot: RobotSpec, setup: CameraSetup, tool: ToolPose) -> Observation:
    cell = StillCell(robot, setup)
    cell.begin(scene)
    observation = cell.look(tool, np.random.default_rng(0))
    cell.close()
    if observation is None:
        raise ValueError(f"the arm does not reach {tool.T_base_tcp[:3, 3]}")
    return observation


def third_person(scene: Scene, robot: RobotSpec, tool: ToolPose) -> Image:
    """The cell as somebody beside it sees it."""
    world = BulletWorld(robot)
    home = np.array(robot.home_joint_positions_rad)
    world.place_robot(
        world.chain.inverse(tool.T_base_tcp, home, home, 40), robot.gripper.opening.joints_at(tool.width_m)
    )
    camera = SimulatedCamera(CameraSetup.default("external", 64), robot, world.link_geometry())
    camera.begin(scene)
    poses = [item.T_base_obj for item in scene.objects]
    state = ViewState(tool.T_base_tcp, poses, world.link_poses(camera.links))
    model = CameraModel.from_fov(PANEL_PX, PANEL_PX, math.radians(ANGLE_DEG))
    picture = camera.clean(state, model, frames.look_at(EYE_M, LOOK_AT_M))
    world.close()
    return picture


def with_grasps(observation: Observation, grasps: list[Grasp], opening_m: float) -> Image:
    """The camera image with the open jaws at every grasp."""
    assert observation.rgb is not None
    picture = observation.rgb
    for grasp in grasps:
        tips = frames.apply(grasp.T_base_grasp, [[-0.5 * opening_m, 0.0, 0.0], [0.5 * opening_m, 0.0, 0.0]])
        left, right = project(tips, observation.K, observation.T_base_cam)
        middle, across = 0.5 * (left + right), right - left
        picture = draw_grasp(picture, (float(middle[0]), float(middle[1])), math.atan2(across[1], across[0]),
                             float(np.hypot(*across)))  # fmt: skip
    return picture


def write(canvas: Image, text: str, left: int, baseline: int, scale: float, colour: tuple[int, int, int]) -> None:
    """Text at four times the size, averaged down: the strokes of OpenCV's fonts are coarse."""
    factor = 4
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, factor * scale, factor)
    large = np.full((height + below + 2 * factor, width + 2 * factor, 3), PAPER, dtype=np.uint8)
    origin = (factor, height + factor)
    cv2.putText(large, text, origin, cv2.FONT_HERSHEY_DUPLEX, factor * scale, colour, factor, cv2.LINE_AA)
    small = cv2.resize(large, (large.shape[1] // factor, large.shape[0] // factor), interpolation=cv2.INTER_AREA)
    top = baseline - (height + factor) // factor
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small


def compose_picture(panels: list[tuple[Image, str, str]]) -> Image:
    """Panels side by side, each with a title and a line about it."""
    width = len(panels) * (PANEL_PX + GAP_PX) - GAP_PX
    canvas = np.full((PANEL_PX + CAPTION_PX, width, 3), PAPER, dtype=np.uint8)
    for index, (picture, title, about) in enumerate(panels):
        left = index * (PANEL_PX + GAP_PX)
        canvas[:PANEL_PX, left : left + PANEL_PX] = cv2.resize(
            picture, (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_AREA
        )
        write(canvas, title, left, PANEL_PX + 26, 0.62, INK)
        write(canvas, about, left, PANEL_PX + 50, 0.46, FAINT)
    return canvas


def draw(bundle: str) -> Image:
    cache_dir, robot = default_cache_dir(), load_robot("panda")
    scene, resting = make_scene(cache_dir)
    opening_m = robot.gripper.max_opening_m
    tool = ToolPose(frames.top_down((0.5, 0.0, 0.33), 0.0), opening_m)
    model = CameraModel.from_fov(PANEL_PX, PANEL_PX, math.radians(60))
    observation = look(scene, robot, CameraSetup("wrist", model), tool)
    if bundle == "none":
        sight = planned(scene, resting, robot, observation, cache_dir)
        second, third = "the planner's best grasp of each object", "labels of the planner, best of twelve yaws"
    else:
        sight = predicted(bundle, scene, robot, tool)
        second, third = "grasps that the encoder predicts", "predicted from one image, best of twelve yaws"
    view = make_view(observation, replace(sight.spec, pixels=PANEL_PX, modality="rgbd"))
    overlay = quality_overlay(view.rgb, sight.quality_map)
    if view.T_base_view[:3, 0] @ observation.T_base_cam[:3, 0] < 0:  # the view may be upside down to the camera
        overlay = overlay[::-1, ::-1]
    return compose_picture(
        [
            (third_person(scene, robot, tool), "The cell", "PyBullet, drawn by simtoreal's own renderer"),
            (with_grasps(observation, sight.grasps, opening_m), "Wrist camera", second),
            (overlay, "Grasp quality", third),
        ]
    )


def main() -> None:
    """Draws the picture and says how large the file is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="default", help="a wrist camera's bundle, or none for the planner's labels")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "overview.png")
    arguments = parser.parse_args()
    picture = draw(arguments.bundle)
    cv2.imwrite(str(arguments.out), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
