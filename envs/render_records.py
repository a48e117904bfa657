"""The records that the compiled kernels of the renderer take, all of arrays and numbers.

numba passes named tuples without cost. Array types are part of the compiled signature: C order, exactly these types.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Faces = NDArray[np.int32]
Owners = NDArray[np.int32]
Normals = NDArray[np.float32]
Texels = NDArray[np.int64]  # red, green and blue, 20 bits apart
Vector = tuple[float, float, float]
Nine = tuple[float, float, float, float, float, float, float, float, float]
Texture = tuple[int, int, int, int]  # first texel, width, height, number of levels; no texture has no level


class Geometry(NamedTuple):
    """Vertices and faces of every mesh that was met so far."""

    vertices_m: NDArray[np.float32]  # (N, 3), mesh frame
    normals: Normals  # (N, 3)
    vertex_rgb: NDArray[np.uint8]  # (N, 3)
    faces: Faces  # (M, 3), counted from the first vertex of the mesh


class Parts(NamedTuple):
    """The instances of one scene; vertices and triangles of a scene are numbered instance after instance."""

    pool_vertex: Ints  # (I,) first vertex in Geometry
    pool_face: Ints  # (I,) first face in Geometry
    first_vertex: Ints  # (I + 1,) in the scene
    first_triangle: Ints  # (I + 1,) in the scene
    is_closed: NDArray[np.bool_]  # (I,)
    casts_shadow: NDArray[np.bool_]  # (I,)
    sphere_m: Floats  # (I, 4) centre and radius, mesh frame
    surface: Floats  # (I, 6) r g b, texture repeats per metre, specular, 1 if vertex colours count
    texture: Ints  # (I, 4) a Texture each
    label: Ints  # (I,)


class Scene(NamedTuple):
    """What there is, and where."""

    geometry: Geometry
    parts: Parts
    poses: Floats  # (I, 4, 4) T_base_mesh


class View(NamedTuple):
    """A pinhole camera."""

    T_base_cam: Floats  # (4, 4)
    fx: float
    fy: float
    cx: float
    cy: float


class Buffers(NamedTuple):
    """What a pinhole camera sees, and the work space on the way."""

    vertices_cam: Floats  # (V, 6) x y z in metres, u v in pixels, 1 / z; the last three only in front of the camera
    polygon: Floats  # (4, 3) work space of the near-plane clipping
    inverse_depth: NDArray[np.float32]  # (H, W), 0 is background
    triangle: Owners  # (H, W) number in the scene, -1 is background


class ShadowMap(NamedTuple):
    """A square, orthographic map of heights towards the light."""

    R_light_base: Floats  # (3, 3); +Z away from the light, like a camera in the light
    vertices_light: Floats  # (V, 3) texel column, row, height
    height_m: NDArray[np.float32]  # (N, N)
    nearest: Owners  # (N, N) face in Geometry
    T_texel_cam: Floats  # (3, 4) from the camera frame to texel column, texel row and metres from the light
    fit: Floats  # (4,) corner x y in the light frame in metres, texels per metre in x and y; all 0 without any shadow


class Rays(NamedTuple):
    """One ray per pixel, row by row, and the pixel of the pinhole view that it falls into."""

    xy: Floats  # (P, 2) at unit depth, camera frame
    source: Owners  # (P,) row-major index into the pinhole view, -1 where the lens model has no ray
    pixel_angle: float  # size of a pixel at unit depth, to choose how blurred a texture must be


class Sight(NamedTuple):
    """A camera, what its pinhole view has found, and its pixels."""

    pinhole: View
    buffers: Buffers
    rays: Rays


class Lamp(NamedTuple):
    """Lights and backdrop."""

    direction: Vector  # towards the light, base frame
    rgb: Vector
    ambient: float
    diffuse: float
    shadow: float
    backdrop_rgb: Vector
    backdrop_texture: Texture


class Lights(NamedTuple):
    """All that colour needs beyond the scene."""

    lamp: Lamp
    shadow: ShadowMap
    texels: Texels


class Image(NamedTuple):
    """The result."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    depth_m: NDArray[np.float32]  # (H, W)
    label: NDArray[np.int16]  # (H, W)


class Triangle(NamedTuple):
    """The triangle in hand."""

    corners: tuple[int, int, int]  # in Geometry
    planes: Nine  # normals of the planes through the camera and the side opposite each corner
    depths_m: Vector  # of the corners
    facing: float  # 1 if it is seen from the front, else -1
    is_flat: bool  # the normal is the same all over
    normal: Vector  # at the first corner, towards the camera, mesh frame


class Frame(NamedTuple):
    """Camera and light in the frame of the mesh in hand."""

    R_mesh_cam: Nine
    eye: Vector
    light: Vector
    up: Vector


class Skin(NamedTuple):
    """The material of the part in hand."""

    rgb: Vector
    repeats_per_m: float
    specular: float
    use_vertex_rgb: bool
    texture: Texture
    label: int
