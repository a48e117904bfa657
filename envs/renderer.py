"""A small software renderer: colour, depth and labels of a scene in one pass, on any machine, without OpenGL.

It rasterizes first and shades every pixel once, so its cost is the triangles plus the pixels. Made for many small
images of scenes that change all the time: domain-randomized training frames, and the camera in a control loop.

    image = render([Instance(mesh, T_base_mesh, Material(), label=1)], camera, T_base_cam, Lighting(), Background())

The same input gives the same image, bit for bit, on the same machine.
"""

import math
import threading
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.camera import CameraModel
from simtoreal.envs.camera_rays import camera_rays
from simtoreal.envs.rasterizer import draw_shadow_map, rasterize
from simtoreal.envs.render_mesh import RenderMesh, box_mesh, plane_mesh
from simtoreal.envs.render_records import (
    Buffers,
    Floats,
    Image,
    Lamp,
    Lights,
    Owners,
    Scene,
    ShadowMap,
    Sight,
    Vector,
    View,
)
from simtoreal.envs.render_scene import (
    Background,
    Instance,
    Lighting,
    Material,
    MeshPool,
    PoolFull,
    TexturePool,
    lay_out,
    stack_poses,
)
from simtoreal.envs.shading import shade

__all__ = [
    "Background",
    "Instance",
    "Lighting",
    "Material",
    "RenderMesh",
    "Rendered",
    "box_mesh",
    "plane_mesh",
    "render",
]

_MAX_PLANES = 16  # image sizes whose work space is kept
_SHADOW_SIZES = (96, 128, 192, 256)  # texels; the smallest that is at least one and a half times the image


class Rendered(NamedTuple):
    """An image of a scene."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    depth_m: NDArray[np.float32]  # (H, W), along the optical axis, nan is background
    label: NDArray[np.int16]  # (H, W), -1 is background


def render(
    instances: Sequence[Instance],
    camera: CameraModel,
    T_base_cam: ArrayLike,
    lighting: Lighting,
    background: Background,
    supersample: int = 1,
) -> Rendered:
    """Draws instances as a camera at `T_base_cam` (4, 4, optical frame) sees them.

    Depth and label of a pixel belong to the ray through its centre. With `supersample` n, colour is the mean over
    n * n rays.

    Raises:
        ValueError: a pose has a wrong shape or is not finite, or `supersample` is less than 1.
    """
    if supersample < 1:
        raise ValueError(f"supersample must be at least 1, got {supersample}")
    pose = np.array(T_base_cam, dtype=np.float64, order="C")
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"T_base_cam must be finite and of shape (4, 4), got {T_base_cam}")
    studio = _studio()
    studio.place(instances, lighting, background)
    if supersample == 1:
        return studio.draw(camera, pose, with_rgb=True)
    exact = studio.draw(camera, pose, with_rgb=False)
    fine = studio.draw(_refine(camera, supersample), pose, with_rgb=True)
    mean = cv2.resize(fine.rgb, (camera.width_px, camera.height_px), interpolation=cv2.INTER_AREA)
    return exact._replace(rgb=np.asarray(mean, dtype=np.uint8))


def _refine(camera: CameraModel, factor: int) -> CameraModel:
    """The same camera with `factor`^2 pixels in the place of each."""
    shift = 0.5 * (factor - 1)
    return CameraModel(
        camera.width_px * factor,
        camera.height_px * factor,
        camera.fx * factor,
        camera.fy * factor,
        camera.cx * factor + shift,
        camera.cy * factor + shift,
        camera.distortion,
    )


class _Studio:
    """Pools and buffers that are kept from frame to frame; one per thread."""

    def __init__(self) -> None:
        self._meshes, self._textures = MeshPool(), TexturePool()
        self._planes: dict[tuple[str, int, int], tuple[NDArray[np.float32], Owners]] = {}
        self._vertices_cam, self._vertices_light = np.empty((0, 6)), np.empty((0, 3))
        self._polygon, self._T_texel_cam, self._fit = np.empty((4, 3)), np.zeros((3, 4)), np.zeros(4)
        self._known: tuple[object, ...] = ()
        self._backdrop: NDArray[np.uint8] | None = None
        self._lay_out([], None)

    def place(self, instances: Sequence[Instance], lighting: Lighting, background: Background) -> None:
        """Takes up a scene; cheap if only poses and lights differ from the last one."""
        poses = stack_poses(instances)
        known = tuple(part for item in instances for part in (item.mesh, item.material, item.label, item.casts_shadow))
        if known != self._known or background.texture is not self._backdrop:
            self._lay_out(instances, background.texture)
            self._known, self._backdrop = known, background.texture
        self._scene = Scene(self._meshes.geometry, self._parts, poses)
        x, y, z = (float(value) for value in np.asarray(lighting.direction))
        length = math.sqrt(x * x + y * y + z * z)
        self._lamp = Lamp(
            (x / length, y / length, z / length),
            _floats(lighting.rgb),
            float(lighting.ambient),
            float(lighting.diffuse),
            float(lighting.shadow),
            _floats(background.rgb),
            self._backdrop_slot,
        )

    def _lay_out(self, instances: Sequence[Instance], backdrop: NDArray[np.uint8] | None) -> None:
        self._known = ()  # until all of this has worked, the next scene must not trust it
        try:
            self._parts = lay_out(instances, self._meshes, self._textures)
            self._backdrop_slot = self._textures.slot(backdrop)
        except PoolFull:
            self._meshes.clear([item.mesh for item in instances])
            self._textures.clear([item.material.texture for item in instances] + [backdrop])
            self._parts = lay_out(instances, self._meshes, self._textures)
            self._backdrop_slot = self._textures.slot(backdrop)
        num_vertices = int(self._parts.first_vertex[-1])
        if num_vertices > len(self._vertices_cam):
            self._vertices_cam, self._vertices_light = np.empty((2 * num_vertices, 6)), np.empty((2 * num_vertices, 3))

    def draw(self, camera: CameraModel, T_base_cam: Floats, with_rgb: bool) -> Rendered:
        """Draws the scene that was placed; without colour, `rgb` holds no meaning."""
        lens = camera_rays(camera)
        view = View(T_base_cam, float(camera.fx), float(camera.fy), float(lens.cx), float(lens.cy))
        buffers = Buffers(self._vertices_cam, self._polygon, *self._plane("view", lens.height_px, lens.width_px))
        rasterize(self._scene, view, buffers)
        shadow = self._shadow_map(max(camera.width_px, camera.height_px))
        if with_rgb and self._lamp.shadow > 0.0:
            draw_shadow_map(self._scene, view, buffers, shadow)
        shape = (camera.height_px, camera.width_px)
        image = Image(np.empty((*shape, 3), np.uint8), np.empty(shape, np.float32), np.empty(shape, np.int16))
        shade(
            self._scene,
            Sight(view, buffers, lens.rays),
            Lights(self._lamp, shadow, self._textures.texels),
            image,
            with_rgb,
        )
        return Rendered(*image)

    def _shadow_map(self, image_px: int) -> ShadowMap:
        size = next((size for size in _SHADOW_SIZES if 2 * size >= 3 * image_px), _SHADOW_SIZES[-1])
        self._fit[:] = 0.0
        height_m, nearest = self._plane("shadow", size, size)
        R_light_base = _light_axes(self._lamp.direction)
        return ShadowMap(R_light_base, self._vertices_light, height_m, nearest, self._T_texel_cam, self._fit)

    def _plane(self, use: str, height: int, width: int) -> tuple[NDArray[np.float32], Owners]:
        key = (use, height, width)
        if key not in self._planes:
            if len(self._planes) >= _MAX_PLANES:
                self._planes.clear()
            self._planes[key] = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        return self._planes[key]


def _floats(values: Vector) -> Vector:
    a, b, c = values
    return float(a), float(b), float(c)


def _light_axes(direction: Vector) -> Floats:
    """R_light_base (3, 3) of a right-handed frame whose +Z looks from the light into the scene."""
    x, y, z = (-value for value in direction)
    # Down is forward crossed with base +X or, for a light along that, with base +Y.
    down = (-z, 0.0, x) if abs(x) > 0.7 else (0.0, z, -y)
    length = math.hypot(*down)
    a, b, c = (value / length for value in down)
    return np.array([[b * z - c * y, c * x - a * z, a * y - b * x], [a, b, c], [x, y, z]])


_LOCAL = threading.local()


def _studio() -> _Studio:
    studio: _Studio | None = getattr(_LOCAL, "studio", None)
    if studio is None:
        studio = _LOCAL.studio = _Studio()
    return studio
