"""The compiled kernel that colours every pixel once, after the rasterizer has found which triangle it sees.

A pixel is a ray, which may be bent by the lens. Where the ray meets the plane of its triangle gives depth, and the place in
the frame of the mesh, where textures and normals live.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled

SKY_FRAC = 0.3  # of the ambient light comes from above, so that faces out of the light do not look flat
GLOSS_SQUARINGS = 5  # the specular exponent is 2^5
BIAS_TEXELS = 0.8  # a shadow map is as coarse as its texels; with less than this surfaces shade themselves
MAX_SLOPE = 6.0  # of a surface against the light, beyond which the bias grows no more
SHARPNESS_TEXELS = 1.4  # texels per pixel up to which a texture level is used

Floats = NDArray[np.float64]


class Rays(NamedTuple):
    """One ray per pixel, and the pixel of the pinhole view that it falls into."""

    xy: Floats  # (H, W, 2) at unit depth, camera frame
    source: NDArray[np.int32]  # (H, W) row-major index into the pinhole view, -1 where the lens model has no ray
    pixel_angle: float  # size of a pixel at unit depth, to choose how blurred a texture must be


class Lamp(NamedTuple):
    """Lights and backdrop."""

    direction: Floats  # (3,) towards the light, base frame
    rgb: Floats  # (3,)
    ambient: float
    diffuse: float
    shadow: float
    backdrop_rgb: Floats  # (3,)
    backdrop_texture: NDArray[np.int32]  # (4,) offset, width, height, levels


class Image(NamedTuple):
    """The result."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    depth_m: NDArray[np.float32]  # (H, W)
    label: NDArray[np.int16]  # (H, W)


class Scratch(NamedTuple):
    """Work space of one call; frames of parts hold R_mesh_cam (9), camera (3), light (3) and up (3) in the mesh frame."""

    frames: Floats  # (I, 18)
    T_light_cam: Floats  # (3, 4)
    planes: Floats  # (3, 3) normals of the planes through the camera and each side of the triangle in hand
    corners: NDArray[np.int64]  # (3,) its vertices in the scene
    facing: Floats  # (1,) 1 if it is seen from the front, else -1
    weights: Floats  # (3,) of its corners at the pixel in hand
    place: Floats  # (3,) of the pixel in hand, mesh frame
    normal: Floats  # (3,) there
    colour: Floats  # (3,) there


@compiled
def shade(geometry, parts, poses, view, buffers, shadow, rays, lamp, texels, image, with_rgb):  # type: ignore[no-untyped-def]
    """Writes `image`; depth and label only, if `with_rgb` is False."""
    height, width = image.depth_m.shape
    owners = buffers.triangle.ravel()
    scratch = _prepare(poses, view, lamp, shadow)
    last, part = -1, 0
    for row in range(height):
        for column in range(width):
            source = rays.source[row, column]
            owner = owners[source] if source >= 0 else -1
            x, y = rays.xy[row, column, 0], rays.xy[row, column, 1]
            if owner >= 0:
                if owner != last:
                    part = _find_part(parts.first_triangle, part, owner)
                    _load_triangle(geometry, parts, buffers.vertices_cam, part, owner, scratch)
                    last = owner
                z = _intersect(buffers.vertices_cam, x, y, scratch)
                image.depth_m[row, column] = z
                image.label[row, column] = parts.label[part]
                if with_rgb:
                    _colour(geometry, parts, part, shadow, rays.pixel_angle, lamp, texels, x, y, z, scratch)
                    _store(image.rgb, row, column, scratch.colour)
            else:
                image.depth_m[row, column] = np.nan
                image.label[row, column] = -1
                if with_rgb:
                    _backdrop(view, lamp, texels, rays.pixel_angle, x, y, scratch.colour)
                    _store(image.rgb, row, column, scratch.colour)


@compiled
def _prepare(poses, view, lamp, shadow):  # type: ignore[no-untyped-def]
    frames, T_light_cam = np.empty((len(poses), 18)), np.empty((3, 4))
    R_base_cam, position = view.T_base_cam[:3, :3], view.T_base_cam[:3, 3]
    for part in range(len(poses)):
        pose, frame = poses[part], frames[part]
        for i in range(3):
            for j in range(3):
                frame[3 * i + j] = _dot(pose[:3, i], R_base_cam[:, j])
            frame[9 + i] = _dot(pose[:3, i], position) - _dot(pose[:3, i], pose[:3, 3])
            frame[12 + i] = _dot(pose[:3, i], lamp.direction)
            frame[15 + i] = pose[2, i]
    for i in range(3):
        for j in range(4):
            T_light_cam[i, j] = _dot(shadow.R_light_base[i], view.T_base_cam[:3, j])
    return Scratch(
        frames, T_light_cam, np.empty((3, 3)), np.empty(3, dtype=np.int64), np.empty(1),
        np.empty(3), np.empty(3), np.empty(3), np.empty(3),
    )  # fmt: skip


@compiled
def _dot(a, b):  # type: ignore[no-untyped-def]
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def _find_part(first_triangle, part, owner):  # type: ignore[no-untyped-def]
    if first_triangle[part] <= owner < first_triangle[part + 1]:
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
def _load_triangle(geometry, parts, vertices, part, owner, scratch):  # type: ignore[no-untyped-def]
    face = geometry.faces[parts.pool_face[part] + owner - parts.first_triangle[part]]
    for k in range(3):
        scratch.corners[k] = parts.first_vertex[part] + face[k]
    for k in range(3):
        p, q, plane = vertices[scratch.corners[(k + 1) % 3]], vertices[scratch.corners[(k + 2) % 3]], scratch.planes[k]
        plane[0], plane[1], plane[2] = p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]
    scratch.facing[0] = 1.0 if _dot(scratch.planes[0], vertices[scratch.corners[0]]) < 0.0 else -1.0


@compiled
def _intersect(vertices, x, y, scratch):  # type: ignore[no-untyped-def]
    """Depth where the ray (x, y, 1) meets the triangle in hand, and the weights of its corners (Olano and Greer 1997).

    A ray that passes just outside, as at the border of a bent image, gets the nearest weights inside.
    """
    planes, corners, weights = scratch.planes, scratch.corners, scratch.weights
    total = 0.0
    for k in range(3):
        weights[k] = planes[k, 0] * x + planes[k, 1] * y + planes[k, 2]
        total += weights[k]
    inverse = 1.0 / total if total != 0.0 else 0.0
    clamped = 0.0
    for k in range(3):
        weights[k] = max(weights[k] * inverse, 0.0)
        clamped += weights[k]
    inverse = 1.0 / clamped if clamped > 0.0 else 0.0
    z = 0.0
    for k in range(3):
        weights[k] = weights[k] * inverse if clamped > 0.0 else 1.0 / 3.0
        z += weights[k] * vertices[corners[k], 2]
    return z


@compiled
def _colour(geometry, parts, part, shadow, pixel_angle, lamp, texels, x, y, z, scratch):  # type: ignore[no-untyped-def]
    frame, place, normal, colour = scratch.frames[part], scratch.place, scratch.normal, scratch.colour
    for i in range(3):
        place[i] = frame[9 + i] + z * (frame[3 * i] * x + frame[3 * i + 1] * y + frame[3 * i + 2])
    offset = parts.pool_vertex[part] - parts.first_vertex[part]
    _interpolate_normal(geometry.normals, offset, scratch)
    _albedo(geometry.vertex_rgb, offset, parts.surface[part], parts.texture[part], texels, pixel_angle * z, scratch)
    towards_light, upward = _dot(normal, frame[12:15]), _dot(normal, frame[15:18])
    lit = 0.0
    if towards_light > 0.0:
        lit = 1.0 - lamp.shadow * _shaded_frac(shadow, scratch.T_light_cam, x * z, y * z, z, towards_light)
    gloss = parts.surface[part, 4] * lit
    gloss = gloss * _specular(normal, place, frame) if gloss > 0.0 else 0.0
    power = lamp.ambient * (1.0 - SKY_FRAC * 0.5 * (1.0 - upward)) + lamp.diffuse * lit * max(towards_light, 0.0)
    for i in range(3):
        colour[i] = lamp.rgb[i] * (colour[i] * power + gloss)


@compiled
def _interpolate_normal(normals, offset, scratch):  # type: ignore[no-untyped-def]
    normal, weights, corners = scratch.normal, scratch.weights, scratch.corners
    a, b, c = normals[offset + corners[0]], normals[offset + corners[1]], normals[offset + corners[2]]
    for i in range(3):
        normal[i] = weights[0] * a[i] + weights[1] * b[i] + weights[2] * c[i]
    scale = scratch.facing[0] / math.sqrt(max(_dot(normal, normal), 1e-12))
    for i in range(3):
        normal[i] *= scale


@compiled
def _albedo(vertex_rgb, offset, surface, texture, texels, footprint_m, scratch):  # type: ignore[no-untyped-def]
    """Colour of the surface itself; textures are laid on along the axis that the surface faces most."""
    colour, weights, corners = scratch.colour, scratch.weights, scratch.corners
    if texture[3] > 0:
        axis = _main_axis(scratch.normal)
        u = scratch.place[(axis + 1) % 3] * surface[3]
        v = scratch.place[(axis + 2) % 3] * surface[3]
        _sample(texels, texture, u, v, footprint_m * surface[3], colour)
    else:
        colour[:] = 1.0
    if surface[5] > 0.0:
        a, b, c = vertex_rgb[offset + corners[0]], vertex_rgb[offset + corners[1]], vertex_rgb[offset + corners[2]]
        for i in range(3):
            colour[i] *= (weights[0] * a[i] + weights[1] * b[i] + weights[2] * c[i]) * (1.0 / 255.0)
    for i in range(3):
        colour[i] *= surface[i]


@compiled
def _main_axis(direction):  # type: ignore[no-untyped-def]
    x, y, z = abs(direction[0]), abs(direction[1]), abs(direction[2])
    if z >= x and z >= y:
        return 2
    return 0 if x >= y else 1


@compiled
def _sample(texels, texture, u, v, footprint, colour):  # type: ignore[no-untyped-def]
    """Bilinear colour at (u, v) in repeats of a texture, from the level whose texels are about `footprint` repeats."""
    start, width, height = int(texture[0]), int(texture[1]), int(texture[2])
    per_pixel = footprint * width
    v *= width / height  # texels are square
    for _ in range(texture[3] - 1):
        if per_pixel <= SHARPNESS_TEXELS:
            break
        start += 3 * width * height
        width, height, per_pixel = max(width >> 1, 1), max(height >> 1, 1), 0.5 * per_pixel
    x, y = (u - math.floor(u)) * width - 0.5, (v - math.floor(v)) * height - 0.5
    left, top = math.floor(x), math.floor(y)
    along, down = x - left, y - top
    left, right = left if left >= 0 else width - 1, left + 1 if left + 1 < width else 0
    top, bottom = top if top >= 0 else height - 1, top + 1 if top + 1 < height else 0
    upper, lower = start + 3 * width * top, start + 3 * width * bottom
    for i in range(3):
        above = texels[upper + 3 * left + i] * (1.0 - along) + texels[upper + 3 * right + i] * along
        below = texels[lower + 3 * left + i] * (1.0 - along) + texels[lower + 3 * right + i] * along
        colour[i] = (above * (1.0 - down) + below * down) * (1.0 / 255.0)


@compiled
def _specular(normal, place, frame):  # type: ignore[no-untyped-def]
    """Blinn's highlight (1977) in [0, 1]."""
    x, y, z = frame[9] - place[0], frame[10] - place[1], frame[11] - place[2]
    inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
    x, y, z = x * inverse + frame[12], y * inverse + frame[13], z * inverse + frame[14]
    cosine = normal[0] * x + normal[1] * y + normal[2] * z
    if cosine <= 0.0:
        return 0.0
    value = cosine / math.sqrt(x * x + y * y + z * z)
    for _ in range(GLOSS_SQUARINGS):
        value *= value
    return value


@compiled
def _shaded_frac(shadow, T_light_cam, x, y, z, towards_light):  # type: ignore[no-untyped-def]
    """Fraction in [0, 1] of the four nearest texels, weighted, that lie nearer to the light than (x, y, z)."""
    scale_x, scale_y, size = shadow.fit[2], shadow.fit[3], shadow.height_m.shape[0]
    column = (_along(T_light_cam[0], x, y, z) - shadow.fit[0]) * scale_x
    row = (_along(T_light_cam[1], x, y, z) - shadow.fit[1]) * scale_y
    if scale_x == 0.0 or not (0.0 <= column < size - 1.0 and 0.0 <= row < size - 1.0):
        return 0.0
    slope = min(math.sqrt(max(1.0 - towards_light * towards_light, 0.0)) / towards_light, MAX_SLOPE)
    height = BIAS_TEXELS * (0.5 + slope) / min(scale_x, scale_y) - _along(T_light_cam[2], x, y, z)
    left, top = int(column), int(row)
    along, down = column - left, row - top
    above = (1.0 - along) * _covers(shadow, top, left, height) + along * _covers(shadow, top, left + 1, height)
    below = (1.0 - along) * _covers(shadow, top + 1, left, height) + along * _covers(shadow, top + 1, left + 1, height)
    return (1.0 - down) * above + down * below


@compiled
def _along(axis, x, y, z):  # type: ignore[no-untyped-def]
    return axis[0] * x + axis[1] * y + axis[2] * z + axis[3]


@compiled
def _covers(shadow, row, column, height):  # type: ignore[no-untyped-def]
    return 1.0 if shadow.height_m[row, column] > height else 0.0


@compiled
def _backdrop(view, lamp, texels, pixel_angle, x, y, colour):  # type: ignore[no-untyped-def]
    """Colour of the walls of a large room about the camera, one repeat of the texture per wall."""
    colour[:] = 1.0
    if lamp.backdrop_texture[3] > 0:
        R = view.T_base_cam
        direction = (
            R[0, 0] * x + R[0, 1] * y + R[0, 2],
            R[1, 0] * x + R[1, 1] * y + R[1, 2],
            R[2, 0] * x + R[2, 1] * y + R[2, 2],
        )
        axis = _main_axis(direction)
        scale = 0.5 / abs(direction[axis])
        # Height runs down the walls, so that photographs stand upright.
        across, upright = (0, 1) if axis == 2 else (1 - axis, 2)
        u, v = 0.5 + direction[across] * scale, 0.5 - direction[upright] * scale
        _sample(texels, lamp.backdrop_texture, u, v, pixel_angle * scale, colour)
    for i in range(3):
        colour[i] *= lamp.backdrop_rgb[i]


@compiled
def _store(rgb, row, column, colour):  # type: ignore[no-untyped-def]
    for i in range(3):
        rgb[row, column, i] = np.uint8(min(max(colour[i] * 255.0 + 0.5, 0.0), 255.0))
