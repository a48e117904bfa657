"""A small software renderer: colour, depth and labels of a scene in one pass, on any machine, in well under a millisecond.

It rasterizes first and shades every pixel once, so its cost is the triangles plus the pixels. Made for many small images of
scenes that change all the time: domain-randomized training frames, and the camera in a control loop.

    image = render([Instance(mesh, T_base_mesh, Material(), label=1)], camera, T_base_cam, Lighting(), Background())

The same input gives the same image, bit for bit, on the same machine.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.camera import CameraModel
from simtoreal.envs.camera_rays import CameraRays, camera_rays
from simtoreal.envs.rasterizer import Buffers, Parts, ShadowMap, View, draw_shadow_map, rasterize
from simtoreal.envs.render_mesh import RenderMesh, box_mesh, plane_mesh
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
from simtoreal.envs.shading import Image, Lamp, shade

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

MAX_PLANES = 16  # image sizes whose work space is kept
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

    Depth and label of a pixel belong to the ray through its centre. With `supersample` n, colour is the mean over n * n rays.

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
        return studio.draw(camera_rays(camera), camera, pose, with_rgb=True)
    exact = studio.draw(camera_rays(camera), camera, pose, with_rgb=False)
    fine_camera = _refine(camera, supersample)
    fine = studio.draw(camera_rays(fine_camera), fine_camera, pose, with_rgb=True)
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
        self._laid_out: tuple[object, ...] | None = None
        self._parts: Parts
        self._planes: dict[tuple[str, int, int], tuple[NDArray[np.float32], NDArray[np.int32]]] = {}
        self._vertices = np.empty((0, 6))
        self._vertices_light = np.empty((0, 3))
        self._polygon, self._fit = np.empty((4, 3)), np.zeros(4)

    def place(self, instances: Sequence[Instance], lighting: Lighting, background: Background) -> None:
        """Takes up a scene; cheap if only poses and lights differ from the last one."""
        self._poses = stack_poses(instances)
        scene = tuple(part for item in instances for part in (item.mesh, item.material, item.label, item.casts_shadow))
        if scene != self._laid_out or background.texture is not None:
            self._lay_out(instances, background)
            self._laid_out = scene
        self._light(lighting, background)

    def _lay_out(self, instances: Sequence[Instance], background: Background) -> None:
        try:
            self._parts = lay_out(instances, self._meshes, self._textures)
            self._backdrop = np.array(self._textures.slot(background.texture), dtype=np.int32)
        except PoolFull:
            textures = {id(item.material.texture): item.material.texture for item in instances}
            textures[id(background.texture)] = background.texture
            meshes = {id(item.mesh): item.mesh for item in instances}.values()
            self._meshes.clear(max(sum(max(len(mesh.vertices_m), len(mesh.faces)) for mesh in meshes), 0))
            self._textures.clear(2 * sum(texture.size for texture in textures.values() if texture is not None))
            self._parts = lay_out(instances, self._meshes, self._textures)
            self._backdrop = np.array(self._textures.slot(background.texture), dtype=np.int32)
        num_vertices = int(self._parts.first_vertex[-1])
        if num_vertices > len(self._vertices):
            self._vertices, self._vertices_light = np.empty((2 * num_vertices, 6)), np.empty((2 * num_vertices, 3))

    def _light(self, lighting: Lighting, background: Background) -> None:
        direction = np.array(lighting.direction, dtype=np.float64)
        direction /= np.linalg.norm(direction)
        self._lamp = Lamp(
            direction,
            np.array(lighting.rgb, dtype=np.float64),
            float(lighting.ambient),
            float(lighting.diffuse),
            float(lighting.shadow),
            np.array(background.rgb, dtype=np.float64),
            self._backdrop,
        )

    def draw(self, view_rays: CameraRays, camera: CameraModel, T_base_cam: NDArray[np.float64], with_rgb: bool) -> Rendered:
        """Draws the scene that was placed."""
        view = View(T_base_cam, float(camera.fx), float(camera.fy), float(view_rays.cx), float(view_rays.cy))
        geometry, parts, poses = self._meshes.geometry, self._parts, self._poses
        buffers = Buffers(self._vertices, self._polygon, *self._plane("view", view_rays.height_px, view_rays.width_px))
        rasterize(geometry, parts, poses, view, buffers)
        shadow = self._shadow_map(max(camera.width_px, camera.height_px))
        shadow.fit[:] = 0.0
        if with_rgb and self._lamp.shadow > 0.0:
            draw_shadow_map(geometry, parts, poses, view, buffers, shadow)
        shape = (camera.height_px, camera.width_px)
        image = Image(np.empty((*shape, 3), np.uint8), np.empty(shape, np.float32), np.empty(shape, np.int16))
        shade(
            geometry, parts, poses, view, buffers, shadow, view_rays.rays, self._lamp, self._textures.texels, image, with_rgb
        )
        return Rendered(*image)

    def _plane(self, use: str, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        key = (use, height, width)
        if key not in self._planes:
            if len(self._planes) >= MAX_PLANES:
                self._planes.clear()
            self._planes[key] = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        return self._planes[key]

    def _shadow_map(self, image_px: int) -> ShadowMap:
        size = next((size for size in _SHADOW_SIZES if 2 * size >= 3 * image_px), _SHADOW_SIZES[-1])
        return ShadowMap(_light_axes(self._lamp.direction), self._vertices_light, *self._plane("shadow", size, size), self._fit)


def _light_axes(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """R_light_base (3, 3) of a right-handed frame whose +Z looks from the light into the scene."""
    forward = -direction
    side = np.array([0.0, 1.0, 0.0]) if abs(forward[0]) > 0.7 else np.array([1.0, 0.0, 0.0])
    down = np.cross(forward, side)
    down /= np.linalg.norm(down)
    return np.stack([np.cross(down, forward), down, forward])


_LOCAL = threading.local()


def _studio() -> _Studio:
    studio: _Studio | None = getattr(_LOCAL, "studio", None)
    if studio is None:
        studio = _LOCAL.studio = _Studio()
    return studio
