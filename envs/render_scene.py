"""What is drawn: materials, instances, light and background, and how they are laid out for the compiled kernels.

Meshes and textures are copied once into pools and then named by their place there, so that a frame costs neither
concatenation nor, in a control loop, anything but new poses. Arrays handed over must not be changed afterwards.
"""

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.envs.render_mesh import RenderMesh
from simtoreal.envs.render_records import Floats, Geometry, Parts, Texels, Texture, Vector

Picture = NDArray[np.uint8]
POOL_VERTICES = 1 << 18  # 7 MB; a pool that is full is emptied, and grows if one scene alone does not fit
POOL_TEXELS = 4 << 20  # 32 MB, or 48 textures of 256 x 256
NO_TEXTURE: Texture = (0, 1, 1, 0)


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks.

    Raises:
        ValueError: a colour is negative or not finite, a scale is not positive, or a texture is not uint8 (h, w, 3).
    """

    rgb: Vector = (0.8, 0.8, 0.8)  # 0 to 1; multiplies texture and vertex colours
    texture: Picture | None = None  # (h, w, 3)
    texture_scale_m: float = 0.1  # width of one repeat
    specular: float = 0.0  # strength of highlights, 0 to 1
    use_vertex_rgb: bool = False

    def __post_init__(self) -> None:
        _check_rgb("material", self.rgb)
        _check_texture("material", self.texture)
        if not (math.isfinite(self.texture_scale_m) and self.texture_scale_m > 0.0):
            raise ValueError(f"material texture_scale_m must be positive, got {self.texture_scale_m}")
        if not (math.isfinite(self.specular) and self.specular >= 0.0):
            raise ValueError(f"material specular must not be negative, got {self.specular}")


@dataclass(frozen=True, eq=False)
class Instance:
    """A mesh somewhere in the base frame.

    Raises:
        ValueError: the label does not fit into an image of labels.
    """

    mesh: RenderMesh
    T_base_mesh: ArrayLike  # (4, 4), rigid
    material: Material
    label: int  # 0 to 32767
    casts_shadow: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.label <= 32767:
            raise ValueError(f"the label of an instance must lie in 0 to 32767, got {self.label}")


@dataclass(frozen=True, eq=False)
class Lighting:
    """One directional light and ambient light.

    Raises:
        ValueError: the direction is zero, or a value is negative, not finite or, for `shadow`, above 1.
    """

    direction: ArrayLike = (0.3, 0.2, 0.93)  # (3,) from the scene to the light, base frame; normalised when used
    ambient: float = 0.45
    diffuse: float = 0.6
    rgb: Vector = (1.0, 1.0, 1.0)
    shadow: float = 0.6  # 0 is no shadow, 1 takes away all of the directional light

    def __post_init__(self) -> None:
        _check_rgb("lighting", self.rgb)
        direction = np.asarray(self.direction, dtype=np.float64)
        if direction.shape != (3,) or not 1e-9 < float(np.dot(direction, direction)) < math.inf:
            raise ValueError(f"lighting direction must be a vector (3,) that is not zero, got {self.direction}")
        for name, highest in (("ambient", math.inf), ("diffuse", math.inf), ("shadow", 1.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0.0 <= value <= highest):
                raise ValueError(f"lighting {name} must lie in [0, {highest}], got {value}")


@dataclass(frozen=True, eq=False)
class Background:
    """What is seen past everything: a colour times, if there is one, a texture on the walls of a large room.

    Raises:
        ValueError: the colour is negative or not finite, or the texture is not uint8 (h, w, 3).
    """

    rgb: Vector = (0.5, 0.5, 0.5)
    texture: Picture | None = None  # (h, w, 3), once per wall, upright

    def __post_init__(self) -> None:
        _check_rgb("background", self.rgb)
        _check_texture("background", self.texture)


def _check_rgb(owner: str, rgb: Vector) -> None:
    if len(rgb) != 3 or not all(math.isfinite(value) and value >= 0.0 for value in rgb):
        raise ValueError(f"{owner} rgb must be three finite values of at least 0, got {rgb}")


def _check_texture(owner: str, texture: Picture | None) -> None:
    if texture is not None and (
        texture.dtype != np.uint8 or texture.ndim != 3 or texture.shape[2] != 3 or not texture.size
    ):
        raise ValueError(f"{owner} texture must be uint8 (h, w, 3), got {texture.dtype} {texture.shape}")


class PoolFull(Exception):
    """The pool cannot take another item; empty it and start over."""


class MeshPool:
    """Vertices and faces of the meshes met so far, behind one another."""

    def __init__(self) -> None:
        self.clear([])

    def clear(self, meshes: Sequence[RenderMesh]) -> None:
        """Forgets everything and makes room for at least these meshes."""
        size = max(POOL_VERTICES, sum(max(len(mesh.vertices_m), len(mesh.faces)) for mesh in set(meshes)))
        self.geometry = Geometry(
            np.empty((size, 3), dtype=np.float32),
            np.empty((size, 3), dtype=np.float32),
            np.empty((size, 3), dtype=np.uint8),
            np.empty((2 * size, 3), dtype=np.int32),
        )
        self._used = (0, 0)
        self._slots: weakref.WeakKeyDictionary[RenderMesh, tuple[int, int]] = weakref.WeakKeyDictionary()

    def slot(self, mesh: RenderMesh) -> tuple[int, int]:
        """First vertex and first face of a mesh.

        Raises:
            PoolFull: there is no room.
        """
        known = self._slots.get(mesh)
        if known is not None:
            return known
        vertex, face = self._used
        vertex_end, face_end = vertex + len(mesh.vertices_m), face + len(mesh.faces)
        pool = self.geometry
        if vertex_end > len(pool.vertices_m) or face_end > len(pool.faces):
            raise PoolFull
        pool.vertices_m[vertex:vertex_end] = mesh.vertices_m
        pool.normals[vertex:vertex_end] = mesh.normals
        pool.vertex_rgb[vertex:vertex_end] = 255 if mesh.vertex_rgb is None else mesh.vertex_rgb
        pool.faces[face:face_end] = mesh.faces
        self._used = (vertex_end, face_end)
        self._slots[mesh] = (vertex, face)
        return vertex, face


class TexturePool:
    """Textures met so far, each with its smaller levels, as one run of texels."""

    def __init__(self) -> None:
        self.clear([])

    def clear(self, textures: Sequence[Picture | None]) -> None:
        """Forgets everything and makes room for at least these textures."""
        distinct = {id(texture): texture for texture in textures if texture is not None}.values()
        # All levels of a texture that is one texel high take twice as much as the first, of others a third more.
        num_texels = sum(2 * texture.shape[0] * texture.shape[1] for texture in distinct)
        self.texels: Texels = np.empty(max(POOL_TEXELS, num_texels), dtype=np.int64)
        self._used = 0
        self._slots: dict[int, tuple[weakref.ref[Picture], Texture]] = {}

    def slot(self, texture: Picture | None) -> Texture:
        """Offset, width, height and number of levels of a texture.

        Raises:
            PoolFull: there is no room.
        """
        if texture is None:
            return NO_TEXTURE
        known = self._slots.get(id(texture))
        if known is not None and known[0]() is texture:
            return known[1]
        levels = _levels(texture)
        if self._used + sum(level[..., 0].size for level in levels) > len(self.texels):
            raise PoolFull
        slot = (self._used, texture.shape[1], texture.shape[0], len(levels))
        for level in levels:
            red, green, blue = (level[..., channel].ravel().astype(np.int64) for channel in range(3))
            self.texels[self._used : self._used + len(red)] = red | green << 20 | blue << 40
            self._used += len(red)
        self._slots[id(texture)] = (weakref.ref(texture), slot)
        return slot


def _levels(texture: Picture) -> list[Picture]:
    """The texture and its halvings down to one texel, each the average of the one before."""
    levels = [texture]
    height, width = texture.shape[:2]
    while height > 1 or width > 1:
        height, width = max(height // 2, 1), max(width // 2, 1)
        levels.append(np.asarray(cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8))
    return levels


def stack_poses(instances: Sequence[Instance]) -> Floats:
    """Poses (I, 4, 4) of instances.

    Raises:
        ValueError: a pose has another shape or is not finite; the message says which.
    """
    poses = np.empty((len(instances), 4, 4))
    try:
        for index, instance in enumerate(instances):
            poses[index] = instance.T_base_mesh
    except ValueError as error:
        raise ValueError(
            f"T_base_mesh of instance {index} (label {instance.label}) must have shape (4, 4): {error}"
        ) from None
    finite = np.isfinite(poses).all(axis=(1, 2))
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(
            f"T_base_mesh of instance {index} (label {instances[index].label}) must be finite: {poses[index]}"
        )
    return poses


def lay_out(instances: Sequence[Instance], meshes: MeshPool, textures: TexturePool) -> Parts:
    """Describes instances, apart from their poses, by their places in the pools.

    Raises:
        PoolFull: a pool must be cleared first.
    """
    slots = [meshes.slot(instance.mesh) for instance in instances]
    num_vertices = [len(instance.mesh.vertices_m) for instance in instances]
    num_faces = [len(instance.mesh.faces) for instance in instances]
    return Parts(
        np.array([vertex for vertex, _ in slots], dtype=np.int64),
        np.array([face for _, face in slots], dtype=np.int64),
        np.array([0, *np.cumsum(num_vertices)], dtype=np.int64),
        np.array([0, *np.cumsum(num_faces)], dtype=np.int64),
        np.array([instance.mesh.is_closed for instance in instances], dtype=np.bool_),
        np.array([instance.casts_shadow for instance in instances], dtype=np.bool_),
        np.array([(*instance.mesh.centre_m, instance.mesh.radius_m) for instance in instances]).reshape(-1, 4),
        np.array([_surface(instance.material) for instance in instances]).reshape(-1, 6),
        np.array([textures.slot(instance.material.texture) for instance in instances], dtype=np.int64).reshape(-1, 4),
        np.array([instance.label for instance in instances], dtype=np.int64),
    )


def _surface(material: Material) -> tuple[float, ...]:
    return (*material.rgb, 1.0 / material.texture_scale_m, material.specular, float(material.use_vertex_rgb))
