"""The simulated camera: where it is, what it sees, and what its sensor makes of that."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.camera import CameraModel
from simtoreal.envs.assets import ObjectAsset
from simtoreal.envs.bullet_world import LinkGeometry
from simtoreal.envs.camera_setup import CameraSetup, nominal_mount
from simtoreal.envs.renderer import Background, Instance, Lighting, Material, RenderMesh, box_mesh, plane_mesh, render
from simtoreal.envs.robot import RobotSpec
from simtoreal.envs.scene import WORKSPACE_CENTRE_M, Scene, Scenery
from simtoreal.envs.sensors import corrupt_depth, corrupt_rgb
from simtoreal.envs.textures import texture
from simtoreal.envs.world_sample import VisualSample

FloatArray = NDArray[np.float64]
_TABLE_SIZE_M = 1.2
TABLE_LABEL, ROBOT_LABEL, SCENERY_LABEL, FIRST_OBJECT_LABEL = 0, 1, 2, 10


class CameraVariant(NamedTuple):
    """Another lens on another mount."""

    model: CameraModel
    T_mount_cam: FloatArray  # (4, 4), in the tool frame for a wrist camera, in the base frame for an external one


class ViewState(NamedTuple):
    """What moves in view."""

    T_base_tcp: FloatArray  # (4, 4)
    object_poses: list[FloatArray]  # (4, 4) each
    link_poses: list[FloatArray]  # (4, 4) each, in the order of `SimulatedCamera.links`


class Image(NamedTuple):
    """What the sensor delivers, with the calibration that goes with it."""

    rgb: NDArray[np.uint8] | None
    depth_m: NDArray[np.float32] | None
    K: FloatArray
    T_base_cam: FloatArray  # as calibrated, not as it is


class SimulatedCamera:
    """Renders a scene from a mount; `begin(scene)` once per episode, `capture` once per frame."""

    def __init__(self, setup: CameraSetup, robot: RobotSpec, geometry: list[LinkGeometry]) -> None:
        self.setup = setup
        self._robot = robot
        # A wrist camera never sees the arm behind it; the cost of a renderer is triangles.
        shown = _hand_geometry(geometry, robot) if setup.placement == "wrist" else geometry
        self.links = [item.link for item in shown]
        self._link_meshes = [RenderMesh.create(item.vertices_m, item.faces) for item in shown]

    @property
    def distortion(self) -> FloatArray | None:
        return None if self.model.is_pinhole else np.array(self.model.distortion)

    def begin(self, scene: Scene, other: "CameraVariant | None" = None) -> None:
        """Fixes looks, lens and mount for an episode; `other` replaces the nominal lens and mount."""
        visual, sample = scene.world.visual, scene.world.camera
        self._scene = scene
        nominal = other or CameraVariant(self.setup.model, self._nominal_mount())
        self.model = _lens(nominal.model, sample.fov_scale, sample.distortion)
        self._T_mount_nominal = nominal.T_mount_cam @ _offset(sample.position_offset_m, sample.rotation_offset_rad)
        self._T_mount_true = self._T_mount_nominal @ _offset(sample.mounting_error_m, sample.mounting_error_rad)
        self._lighting = Lighting(
            visual.light_direction, visual.ambient, visual.diffuse, visual.light_rgb, visual.shadow
        )
        self._background = Background(
            visual.background_rgb, _texture(visual, visual.background_texture_kind, visual.background_texture_seed)
        )
        self._static = [_table(scene), *(_scenery_instance(item) for item in scene.scenery)]
        self._object_materials = [_object_material(visual, i) for i in range(len(scene.objects))]
        self._robot_material = Material(visual.robot_rgb, None, specular=0.3)

    def poses(self, T_base_tcp: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Camera pose as calibrated and as it truly is, (4, 4) each."""
        base = T_base_tcp if self.setup.placement == "wrist" else np.eye(4)
        return base @ self._T_mount_nominal, base @ self._T_mount_true

    def capture(self, state: ViewState, rng: np.random.Generator) -> Image:
        """One frame as the sensor delivers it."""
        T_reported, T_true = self.poses(state.T_base_tcp)
        rendered = render(self._instances(state), self.model, T_true, self._lighting, self._background)
        sensor = self._scene.world.sensor
        rgb = corrupt_rgb(rendered.rgb, sensor, rng) if self.setup.rgb else None
        depth = corrupt_depth(rendered.depth_m, rendered.rgb, sensor, rng) if self.setup.depth else None
        return Image(rgb, depth, self.model.K, T_reported)

    def clean(self, state: ViewState, model: CameraModel, T_base_cam: FloatArray) -> NDArray[np.uint8]:
        """An undisturbed picture from anywhere, for people to look at."""
        return render(self._instances(state), model, T_base_cam, self._lighting, self._background, supersample=2).rgb

    def _instances(self, state: ViewState) -> list[Instance]:
        scene = self._scene
        instances = list(self._static)
        for i, (item, T) in enumerate(zip(scene.objects, state.object_poses, strict=True)):
            mesh = _object_mesh(item.asset, item.scale)
            instances.append(Instance(mesh, T, self._object_materials[i], FIRST_OBJECT_LABEL + i))
        for mesh, T in zip(self._link_meshes, state.link_poses, strict=True):
            instances.append(Instance(mesh, T, self._robot_material, ROBOT_LABEL))
        return instances

    def _nominal_mount(self) -> FloatArray:
        return nominal_mount(self.setup, self._robot)


def _hand_geometry(geometry: list[LinkGeometry], robot: RobotSpec) -> list[LinkGeometry]:
    """The last links of the arm: those that a camera on the wrist can see."""
    num_links = len(robot.arm_joints)
    return [item for item in geometry if item.link >= num_links]


def _lens(model: CameraModel, fov_scale: float, distortion: tuple[float, ...]) -> CameraModel:
    k1, k2, p1, p2, k3 = (a + b for a, b in zip(model.distortion, distortion, strict=True))
    return CameraModel(
        model.width_px, model.height_px, model.fx / fov_scale, model.fy / fov_scale, model.cx, model.cy,
        (k1, k2, p1, p2, k3),
    )  # fmt: skip


def _offset(position_m: tuple[float, ...], rotation_rad: tuple[float, ...]) -> FloatArray:
    return frames.transform(position_m, frames.rotation_from_vector(rotation_rad))


def _texture(visual: VisualSample, kind: str, seed: int) -> NDArray[np.uint8] | None:
    return None if kind == "plain" else texture(kind, seed, visual.photo_folder)


def _table(scene: Scene) -> Instance:
    visual = scene.world.visual
    image = _texture(visual, visual.table_texture_kind, visual.table_texture_seed)
    material = Material(visual.table_rgb, image, texture_scale_m=2 * visual.texture_scale_m, specular=0.1)
    T = frames.transform((*WORKSPACE_CENTRE_M, scene.world.dynamics.table_height_m))
    return Instance(_table_mesh(), T, material, TABLE_LABEL, casts_shadow=False)


def _scenery_instance(item: Scenery) -> Instance:
    kinds = ("plain", "checker", "stripes", "noise", "packaging", "collage")
    kind = kinds[item.texture_seed % len(kinds)]
    image = None if kind == "plain" else texture(kind, item.texture_seed, "")
    mesh = _scenery_mesh(tuple(round(extent, 4) for extent in item.extents_m))
    return Instance(mesh, item.T_base_box, Material(item.rgb, image), SCENERY_LABEL)


def _object_material(visual: VisualSample, index: int) -> Material:
    image = _texture(visual, visual.object_texture_kind, visual.object_texture_seed + index)
    r, g, b = np.roll(visual.object_rgb, index)
    return Material(
        (float(r), float(g), float(b)), image, 0.5 * visual.texture_scale_m, visual.object_specular,
        use_vertex_rgb=visual.use_own_colours,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _table_mesh() -> RenderMesh:
    return plane_mesh(_TABLE_SIZE_M, 1)


@lru_cache(maxsize=256)
def _scenery_mesh(extents_m: tuple[float, ...]) -> RenderMesh:
    return box_mesh(extents_m)


@lru_cache(maxsize=256)
def _mesh_by_content(key: "_MeshKey") -> RenderMesh:
    return RenderMesh.create(key.asset.vertices_m * key.scale, key.asset.faces, key.asset.vertex_rgb)


class _MeshKey:
    """Hashes an asset by content: arrays do not hash."""

    def __init__(self, asset: ObjectAsset, scale: float) -> None:
        self.asset, self.scale = asset, scale
        self._id = (asset.sha, round(scale, 5))

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _MeshKey) and self._id == other._id


def _object_mesh(asset: ObjectAsset, scale: float) -> RenderMesh:
    return _mesh_by_content(_MeshKey(asset, scale))


def draw_variant(setup: CameraSetup, robot: RobotSpec, rng: np.random.Generator) -> CameraVariant:
    """A camera that a user might have instead: other resolution, field of view and mount.

    An encoder trained on one camera alone would know that camera, not grasping.
    """
    scale = float(rng.choice((0.75, 1.0, 1.0, 1.5, 2.0)))
    size = (round(setup.model.width_px * scale), round(setup.model.height_px * scale))
    nominal_rad = 2.0 * math.atan(0.5 * setup.model.height_px / setup.model.fy)
    model = CameraModel.from_fov(*size, nominal_rad * rng.uniform(0.75, 1.3))
    if setup.placement == "wrist":
        shift = frames.transform(rng.uniform(-0.025, 0.025, 3), frames.rotation_from_vector(rng.normal(0.0, 0.07, 3)))
        return CameraVariant(model, nominal_mount(setup, robot) @ shift)
    azimuth, elevation = rng.uniform(-1.2, 1.2), rng.uniform(0.6, 1.2)
    distance_m = rng.uniform(0.65, 1.1) * nominal_rad / (2.0 * math.atan(0.5 * size[1] / model.fy))
    target = np.array([*WORKSPACE_CENTRE_M, 0.02]) + rng.uniform(-0.04, 0.04, 3)
    direction = np.array(
        [math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation), math.sin(elevation)]
    )
    return CameraVariant(model, frames.look_at(target + distance_m * direction, target))
