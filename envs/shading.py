"""The compiled kernel that colours every pixel once, after the rasterizer has found which triangle it sees.

A pixel is a ray, which may be bent by the lens. Where the ray meets the plane of its triangle gives depth, and the
place in the frame of the mesh, where textures and normals live.
"""

import math

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled
from simtoreal.envs.render_records import (
    Faces,
    Floats,
    Frame,
    Image,
    Ints,
    Lamp,
    Lights,
    Nine,
    Normals,
    Scene,
    ShadowMap,
    Sight,
    Skin,
    Texels,
    Texture,
    Triangle,
    Vector,
)

Twelve = tuple[float, float, float, float, float, float, float, float, float, float, float, float]

SKY_FRAC = 0.3  # of the ambient light comes from above, so that faces out of the light do not look flat
GLOSS_SQUARINGS = 5  # the specular exponent is 2^5
BIAS_TEXELS = 0.5  # a shadow map is as coarse as its texels; with less than this surfaces shade themselves,
BIAS_SLOPE_TEXELS = 5.0  # the more so the more they slope against the light
SHARPNESS_TEXELS = 1.4  # texels per pixel up to which a texture level is used


@compiled
def shade(scene: Scene, sight: Sight, lights: Lights, image: Image, with_rgb: bool) -> None:
    """Writes `image`; depth and label only, if `with_rgb` is False."""
    # Arrays are taken out of their records here: inside the loop numba would count references to them for every pixel.
    geometry, parts, poses = scene.geometry, scene.parts, scene.poses
    faces, normals, vertex_rgb, first_triangle = (
        geometry.faces,
        geometry.normals,
        geometry.vertex_rgb,
        parts.first_triangle,
    )
    owners, vertices, T_base_cam = sight.buffers.triangle.ravel(), sight.buffers.vertices_cam, sight.pinhole.T_base_cam
    xy, sources, pixel_angle = sight.rays.xy, sight.rays.source, sight.rays.pixel_angle
    lamp, texels, height_m = lights.lamp, lights.texels, lights.shadow.height_m
    rgb, depth_m, label = image.rgb.reshape(-1, 3), image.depth_m.ravel(), image.label.ravel()
    surface, texture, labels = parts.surface, parts.texture, parts.label
    R_base_cam, light = _rotation(T_base_cam), _light_map(lights.shadow)
    last, part, offsets, zeros = -1, -1, (0, 0, 0), (0.0, 0.0, 0.0)
    triangle = Triangle((0, 0, 0), R_base_cam, zeros, 1.0, False, zeros)
    frame, skin = Frame(R_base_cam, zeros, zeros, zeros), Skin(zeros, 0.0, 0.0, False, (0, 0, 0, 0), 0)
    for pixel in range(len(sources)):
        x, y = xy[pixel, 0], xy[pixel, 1]
        owner = owners[sources[pixel]] if sources[pixel] >= 0 else -1
        if owner < 0:
            depth_m[pixel], label[pixel] = np.nan, -1
            if with_rgb:
                wall = _wall(texels, lamp.backdrop_texture, R_base_cam, (x, y), pixel_angle)
                _store(rgb, pixel, _times(wall, lamp.backdrop_rgb))
            continue
        if owner != last:
            last, found = owner, _find_part(first_triangle, part, owner)
            if found != part:
                part = found
                offsets = (
                    parts.first_vertex[part],
                    parts.pool_vertex[part],
                    parts.pool_face[part] - first_triangle[part],
                )
                frame, skin = _frame(poses, part, T_base_cam, lamp.direction), _skin(surface, texture, labels, part)
            triangle = _triangle(faces, vertices, normals, owner, offsets)
        weights = _weights(triangle, x, y)
        z = _dot(weights, triangle.depths_m)
        depth_m[pixel], label[pixel] = z, skin.label
        if with_rgb:
            place, normal = _place(frame, x, y, z), _normal(normals, triangle, weights)
            albedo = _albedo(texels, skin, place, normal, pixel_angle * z)
            tint = _vertex_colour(vertex_rgb, skin.use_vertex_rgb, triangle.corners, weights)
            lit = max(_dot(normal, frame.light), 0.0)
            lit *= 1.0 - lamp.shadow * _shaded_frac(height_m, light, (x * z, y * z, z), lit)
            gloss = lit * _gloss(skin.specular, frame, place, normal)
            colour = _reflect(lamp, _times(albedo, tint), lit, _dot(normal, frame.up), gloss)
            _store(rgb, pixel, _times(colour, lamp.rgb))


@compiled
def _rotation(T: Floats) -> Nine:
    return T[0, 0], T[0, 1], T[0, 2], T[1, 0], T[1, 1], T[1, 2], T[2, 0], T[2, 1], T[2, 2]


@compiled
def _light_map(shadow: ShadowMap) -> tuple[Twelve, float]:
    """`T_texel_cam` row by row, and the size of a texel in metres, which is 0 where there is no shadow map."""
    T, scale = shadow.T_texel_cam, min(shadow.fit[2], shadow.fit[3])
    right, down = (T[0, 0], T[0, 1], T[0, 2], T[0, 3]), (T[1, 0], T[1, 1], T[1, 2], T[1, 3])
    return right + down + (T[2, 0], T[2, 1], T[2, 2], T[2, 3]), 1.0 / scale if scale > 0.0 else 0.0


@compiled
def _skin(surface: Floats, texture: Ints, labels: Ints, part: int) -> Skin:
    return Skin(
        (surface[part, 0], surface[part, 1], surface[part, 2]),
        surface[part, 3],
        surface[part, 4],
        surface[part, 5] > 0.0,
        (texture[part, 0], texture[part, 1], texture[part, 2], texture[part, 3]),
        labels[part],
    )


@compiled
def _frame(poses: Floats, part: int, T_base_cam: Floats, light: Vector) -> Frame:
    axes = (
        (poses[part, 0, 0], poses[part, 1, 0], poses[part, 2, 0]),
        (poses[part, 0, 1], poses[part, 1, 1], poses[part, 2, 1]),
        (poses[part, 0, 2], poses[part, 1, 2], poses[part, 2, 2]),
    )
    C = T_base_cam
    camera = ((C[0, 0], C[1, 0], C[2, 0]), (C[0, 1], C[1, 1], C[2, 1]), (C[0, 2], C[1, 2], C[2, 2]))
    eye = (C[0, 3] - poses[part, 0, 3], C[1, 3] - poses[part, 1, 3], C[2, 3] - poses[part, 2, 3])
    return Frame(
        _along(axes[0], camera) + _along(axes[1], camera) + _along(axes[2], camera),
        _along(eye, axes),
        _along(light, axes),
        (poses[part, 2, 0], poses[part, 2, 1], poses[part, 2, 2]),
    )


@compiled
def _along(vector: Vector, axes: tuple[Vector, Vector, Vector]) -> Vector:
    return _dot(vector, axes[0]), _dot(vector, axes[1]), _dot(vector, axes[2])


@compiled
def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def _times(a: Vector, b: Vector) -> Vector:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


@compiled
def _cross(p: Vector, q: Vector) -> Vector:
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


@compiled
def _find_part(first_triangle: Ints, part: int, owner: int) -> int:
    if part >= 0 and first_triangle[part] <= owner < first_triangle[part + 1]:
        return part
    low, high = 0, len(first_triangle) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if first_triangle[middle] <= owner:
            low = middle
        else:
            high = middle
    return low


@compiled
def _triangle(
    faces: Faces,
    vertices: Floats,
    normals: Normals,
    owner: int,
    offsets: tuple[int, int, int],
) -> Triangle:
    first_vertex, pool_vertex, face_shift = offsets
    a, b, c = faces[owner + face_shift, 0], faces[owner + face_shift, 1], faces[owner + face_shift, 2]
    i, j, k = first_vertex + a, first_vertex + b, first_vertex + c
    p = (vertices[i, 0], vertices[i, 1], vertices[i, 2])
    q = (vertices[j, 0], vertices[j, 1], vertices[j, 2])
    r = (vertices[k, 0], vertices[k, 1], vertices[k, 2])
    planes = _cross(q, r) + _cross(r, p) + _cross(p, q)
    facing = 1.0 if planes[0] * p[0] + planes[1] * p[1] + planes[2] * p[2] < 0.0 else -1.0
    i, j, k = pool_vertex + a, pool_vertex + b, pool_vertex + c
    normal = (facing * normals[i, 0], facing * normals[i, 1], facing * normals[i, 2])
    return Triangle((i, j, k), planes, (p[2], q[2], r[2]), facing, _is_flat(normals, i, j, k), normal)


@compiled
def _is_flat(normals: Normals, i: int, j: int, k: int) -> bool:
    same = True
    for axis in range(3):
        same = same and normals[i, axis] == normals[j, axis] and normals[i, axis] == normals[k, axis]
    return same


@compiled
def _weights(triangle: Triangle, x: float, y: float) -> Vector:
    """Weights of the corners where the ray (x, y, 1) meets the triangle (Olano and Greer 1997).

    A ray that passes just outside, as at the border of a bent image, gets weights at the border.
    """
    planes, sign = triangle.planes, -triangle.facing
    a = max(sign * (planes[0] * x + planes[1] * y + planes[2]), 0.0)
    b = max(sign * (planes[3] * x + planes[4] * y + planes[5]), 0.0)
    c = max(sign * (planes[6] * x + planes[7] * y + planes[8]), 0.0)
    total = a + b + c
    if total <= 0.0:
        return 1.0, 0.0, 0.0
    inverse = 1.0 / total
    return a * inverse, b * inverse, c * inverse


@compiled
def _place(frame: Frame, x: float, y: float, z: float) -> Vector:
    R, eye = frame.R_mesh_cam, frame.eye
    return (
        eye[0] + z * (R[0] * x + R[1] * y + R[2]),
        eye[1] + z * (R[3] * x + R[4] * y + R[5]),
        eye[2] + z * (R[6] * x + R[7] * y + R[8]),
    )


@compiled
def _normal(normals: Normals, triangle: Triangle, weights: Vector) -> Vector:
    if triangle.is_flat:
        return triangle.normal
    (i, j, k), (a, b, c) = triangle.corners, weights
    x = a * normals[i, 0] + b * normals[j, 0] + c * normals[k, 0]
    y = a * normals[i, 1] + b * normals[j, 1] + c * normals[k, 1]
    z = a * normals[i, 2] + b * normals[j, 2] + c * normals[k, 2]
    scale = triangle.facing / math.sqrt(max(x * x + y * y + z * z, 1e-12))
    return x * scale, y * scale, z * scale


@compiled
def _albedo(texels: Texels, skin: Skin, place: Vector, normal: Vector, footprint_m: float) -> Vector:
    """Colour of the surface itself; textures are laid on along the axis that the surface faces most."""
    if skin.texture[3] == 0:
        return skin.rgb
    scale = skin.repeats_per_m
    x, y, z = abs(normal[0]), abs(normal[1]), abs(normal[2])
    if z >= x and z >= y:
        u, v = place[0], place[1]
    else:
        u, v = (place[1], place[2]) if x >= y else (place[2], place[0])
    return _times(skin.rgb, _sample(texels, skin.texture, u * scale, v * scale, footprint_m * scale))


@compiled
def _vertex_colour(vertex_rgb: NDArray[np.uint8], use: bool, corners: tuple[int, int, int], weights: Vector) -> Vector:
    if not use:
        return 1.0, 1.0, 1.0
    i, j, k = corners
    a, b, c = weights[0] * (1.0 / 255.0), weights[1] * (1.0 / 255.0), weights[2] * (1.0 / 255.0)
    return (
        a * vertex_rgb[i, 0] + b * vertex_rgb[j, 0] + c * vertex_rgb[k, 0],
        a * vertex_rgb[i, 1] + b * vertex_rgb[j, 1] + c * vertex_rgb[k, 1],
        a * vertex_rgb[i, 2] + b * vertex_rgb[j, 2] + c * vertex_rgb[k, 2],
    )


@compiled
def _sample(texels: Texels, texture: Texture, u: float, v: float, footprint: float) -> Vector:
    """Bilinear colour at (u, v) in repeats of a texture, from the level whose texels are about `footprint` repeats.

    A texel holds its three channels 20 bits apart, so that one multiplication by a 12-bit weight serves all of them.
    """
    start, width, height, num_levels = texture
    per_pixel = footprint * width
    v = v * width / height  # texels are square
    while per_pixel > SHARPNESS_TEXELS and num_levels > 1:
        start += width * height
        width, height, per_pixel, num_levels = max(width >> 1, 1), max(height >> 1, 1), 0.5 * per_pixel, num_levels - 1
    x = int((u - math.floor(u)) * (width << 6)) - 32  # in 1/64 of a texel, from the centre of the first
    y = int((v - math.floor(v)) * (height << 6)) - 32
    left, top, along, down = x >> 6, y >> 6, x & 63, y & 63
    right, bottom = left + 1 if left + 1 < width else 0, top + 1 if top + 1 < height else 0
    upper, lower = start + width * (top if top >= 0 else height - 1), start + width * bottom
    left = left if left >= 0 else width - 1
    above = texels[upper + left] * (64 - along) + texels[upper + right] * along
    below = texels[lower + left] * (64 - along) + texels[lower + right] * along
    mixed = above * (64 - down) + below * down
    scale = 1.0 / (255.0 * 4096.0)
    return (mixed & 0xFFFFF) * scale, ((mixed >> 20) & 0xFFFFF) * scale, (mixed >> 40) * scale


@compiled
def _shaded_frac(height_m: NDArray[np.float32], light: tuple[Twelve, float], spot: Vector, lit: float) -> float:
    """Fraction in [0, 1] of the four texels about a spot (camera frame) that are nearer to the light, weighted."""
    (T, texel_m), (x, y, z), limit = light, spot, height_m.shape[0] - 1.0
    column, row = T[0] * x + T[1] * y + T[2] * z + T[3], T[4] * x + T[5] * y + T[6] * z + T[7]
    if lit <= 0.0 or texel_m == 0.0 or not (0.0 <= column < limit and 0.0 <= row < limit):
        return 0.0
    bias = texel_m * (BIAS_TEXELS + BIAS_SLOPE_TEXELS * (1.0 - lit))
    height = bias - (T[8] * x + T[9] * y + T[10] * z + T[11])
    left, top = int(column), int(row)
    along, down = column - left, row - top
    above = (1.0 - along) * (height_m[top, left] > height) + along * (height_m[top, left + 1] > height)
    below = (1.0 - along) * (height_m[top + 1, left] > height) + along * (height_m[top + 1, left + 1] > height)
    return float((1.0 - down) * above + down * below)


@compiled
def _reflect(lamp: Lamp, albedo: Vector, lit: float, upward: float, gloss: float) -> Vector:
    """What a surface throws back of the lamp, of which `lit` arrives (Lambert), and of the sky, and its highlight."""
    power = lamp.ambient * (1.0 - SKY_FRAC * 0.5 * (1.0 - upward)) + lamp.diffuse * lit
    return albedo[0] * power + gloss, albedo[1] * power + gloss, albedo[2] * power + gloss


@compiled
def _gloss(specular: float, frame: Frame, place: Vector, normal: Vector) -> float:
    """Blinn's highlight (1977)."""
    if specular <= 0.0:
        return 0.0
    eye, light = frame.eye, frame.light
    x, y, z = eye[0] - place[0], eye[1] - place[1], eye[2] - place[2]
    inverse = 1.0 / math.sqrt(max(x * x + y * y + z * z, 1e-12))
    half = (x * inverse + light[0], y * inverse + light[1], z * inverse + light[2])
    value = max(_dot(normal, half), 0.0) / math.sqrt(max(_dot(half, half), 1e-12))
    for _ in range(GLOSS_SQUARINGS):
        value *= value
    return value * specular


@compiled
def _wall(texels: Texels, texture: Texture, R: Nine, ray: tuple[float, float], pixel_angle: float) -> Vector:
    """Colour of the walls of a large room about the camera, one repeat of the texture per wall."""
    if texture[3] == 0:
        return 1.0, 1.0, 1.0
    x, y = ray
    east, north, up = R[0] * x + R[1] * y + R[2], R[3] * x + R[4] * y + R[5], R[6] * x + R[7] * y + R[8]
    if abs(up) >= max(abs(east), abs(north)):
        scale, u, v = 0.5 / abs(up), east, north
    else:  # height runs up the walls, so that photographs stand upright
        scale, u, v = 0.5 / max(abs(east), abs(north)), north if abs(east) >= abs(north) else east, up
    return _sample(texels, texture, 0.5 + u * scale, 0.5 - v * scale, pixel_angle * scale)


@compiled
def _store(rgb: NDArray[np.uint8], pixel: int, colour: Vector) -> None:
    rgb[pixel, 0] = np.uint8(min(max(colour[0] * 255.0 + 0.5, 0.0), 255.0))
    rgb[pixel, 1] = np.uint8(min(max(colour[1] * 255.0 + 0.5, 0.0), 255.0))
    rgb[pixel, 2] = np.uint8(min(max(colour[2] * 255.0 + 0.5, 0.0), 255.0))
