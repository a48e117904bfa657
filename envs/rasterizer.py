"""Compiled kernels that find which triangle every pixel sees, and how near every texel of a shadow map is to the light.

Both fill a buffer in which the larger value wins: inverse depth for the camera, height towards the light for the shadow
map. Both are linear in screen space, so that one routine draws for both. Pixel (0, 0) has its centre at the origin.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled

NEAR_M = 0.005  # nothing nearer to the camera is drawn
EDGE_TOLERANCE_PX = 1e-7  # triangles overlap by this much, so that a pixel on a shared edge is never missed
FAR_BELOW_M = -1e30  # in a shadow map: nothing here

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class Geometry(NamedTuple):
    """Vertices and faces of every mesh that was met so far."""

    vertices_m: NDArray[np.float32]  # (N, 3), mesh frame
    normals: NDArray[np.float32]  # (N, 3)
    vertex_rgb: NDArray[np.uint8]  # (N, 3)
    faces: Ints  # (M, 3), counted from the first vertex of the mesh


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
    texture: Ints  # (I, 4) offset, width, height, number of levels; no texture has zero levels
    label: NDArray[np.int16]  # (I,)


class View(NamedTuple):
    """A pinhole camera."""

    T_base_cam: Floats  # (4, 4)
    fx: float
    fy: float
    cx: float
    cy: float


class Buffers(NamedTuple):
    """What a camera sees, and the work space on the way."""

    vertices_cam: Floats  # (V, 6) x y z in metres, u v in pixels, 1 / z; the last three only in front of the camera
    polygon: Floats  # (4, 3) work space of the near-plane clipping
    inverse_depth: NDArray[np.float32]  # (H, W), 0 is background
    triangle: Ints  # (H, W) number in the scene, -1 is background


class ShadowMap(NamedTuple):
    """A square, orthographic map of heights along the light."""

    R_light_base: Floats  # (3, 3); +Z away from the light, like a camera in the light
    vertices_light: Floats  # (V, 3) texel column, row, height
    height_m: NDArray[np.float32]  # (N, N)
    nearest: Ints  # (N, N), work space
    fit: Floats  # (4,) corner in the light frame in metres, texels per metre in x and y; all 0 if nothing can be shaded


@compiled
def _fill(buffer, owners, owner, x0, y0, w0, x1, y1, w1, x2, y2, w2, area):  # type: ignore[no-untyped-def]
    """Draws one triangle of screen-space corners and values w; the larger w wins. `area` is twice the signed area."""
    height, width = buffer.shape
    row_first = max(math.ceil(max(min(y0, y1, y2) - EDGE_TOLERANCE_PX, 0.0)), 0)
    row_last = math.floor(min(max(y0, y1, y2) + EDGE_TOLERANCE_PX, height - 1.0))
    left = max(min(x0, x1, x2) - EDGE_TOLERANCE_PX, 0.0)
    right = min(max(x0, x1, x2) + EDGE_TOLERANCE_PX, width - 1.0)
    if row_first > row_last or math.ceil(left) > math.floor(right):
        return
    sign = 1.0 if area > 0.0 else -1.0
    a0, m0, k0 = _edge(x0, y0, x1, y1, sign)
    a1, m1, k1 = _edge(x1, y1, x2, y2, sign)
    a2, m2, k2 = _edge(x2, y2, x0, y0, sign)
    w_x = ((w1 - w0) * (y2 - y0) - (w2 - w0) * (y1 - y0)) / area
    w_y = ((w2 - w0) * (x1 - x0) - (w1 - w0) * (x2 - x0)) / area
    w_min, w_max = min(w0, w1, w2), max(w0, w1, w2)  # seen edge-on, a triangle must not reach beyond itself
    for row in range(row_first, row_last + 1):
        low, high = _limit(a0, m0 * row + k0, left, right)
        low, high = _limit(a1, m1 * row + k1, low, high)
        low, high = _limit(a2, m2 * row + k2, low, high)
        w_row = w0 + w_y * (row - y0) - w_x * x0
        for column in range(math.ceil(low), math.floor(high) + 1):
            w = np.float32(min(max(w_row + w_x * column, w_min), w_max))
            if w > buffer[row, column]:
                buffer[row, column] = w
                owners[row, column] = owner


@compiled
def _edge(x0, y0, x1, y1, sign):  # type: ignore[no-untyped-def]
    """An edge as (a, m, k): inside are x >= m * y + k where a > 0, x <= m * y + k where a < 0, k >= 0 where a = 0."""
    a = (y0 - y1) * sign
    b = (x1 - x0) * sign
    c = EDGE_TOLERANCE_PX * (abs(a) + abs(b)) - a * x0 - b * y0
    if abs(a) < 1e-12:  # level; the rows of the triangle already end here
        return 0.0, 0.0, 0.0
    return a, -b / a, -c / a


@compiled
def _limit(a, bound, low, high):  # type: ignore[no-untyped-def]
    if a > 0.0:
        return max(low, bound), high
    if a < 0.0:
        return low, min(high, bound)
    return low, high


@compiled
def _fill_facing(buffer, owners, owner, is_closed, x0, y0, w0, x1, y1, w1, x2, y2, w2):  # type: ignore[no-untyped-def]
    """Draws a triangle unless it is the back of a closed mesh. Seen from the front, its area is negative: y is down."""
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area < -1e-12 or (area > 1e-12 and not is_closed):
        _fill(buffer, owners, owner, x0, y0, w0, x1, y1, w1, x2, y2, w2, area)


@compiled
def _clip_and_fill(buffers, owner, is_closed, corners, view):  # type: ignore[no-untyped-def]
    """Draws the part of a triangle that lies beyond the near plane (Sutherland and Hodgman 1974)."""
    vertices, polygon = buffers.vertices_cam, buffers.polygon
    count = 0
    for k in range(3):
        here, there = corners[k], corners[(k + 1) % 3]
        z_here, z_there = vertices[here, 2], vertices[there, 2]
        if z_here >= NEAR_M:
            count = _add_corner(polygon, count, vertices, here, here, 0.0, view)
        if (z_here >= NEAR_M) != (z_there >= NEAR_M):
            along = (NEAR_M - z_here) / (z_there - z_here)
            count = _add_corner(polygon, count, vertices, here, there, along, view)
    for k in range(2, count):
        a, b, c = polygon[0], polygon[k - 1], polygon[k]
        _fill_facing(
            buffers.inverse_depth, buffers.triangle, owner, is_closed,
            a[0], a[1], a[2], b[0], b[1], b[2], c[0], c[1], c[2],
        )  # fmt: skip


@compiled
def _add_corner(polygon, count, vertices, here, there, along, view):  # type: ignore[no-untyped-def]
    x = vertices[here, 0] + along * (vertices[there, 0] - vertices[here, 0])
    y = vertices[here, 1] + along * (vertices[there, 1] - vertices[here, 1])
    z = max(vertices[here, 2] + along * (vertices[there, 2] - vertices[here, 2]), NEAR_M)
    polygon[count, 0] = view.fx * x / z + view.cx
    polygon[count, 1] = view.fy * y / z + view.cy
    polygon[count, 2] = 1.0 / z
    return count + 1


@compiled
def _sphere_outside(x, y, z, radius, view, width, height):  # type: ignore[no-untyped-def]
    """Whether a sphere in the camera frame lies beyond one side of the image or before the near plane."""
    if z + radius < NEAR_M:
        return True
    left, right = -0.5 - view.cx, width - 0.5 - view.cx
    top, bottom = -0.5 - view.cy, height - 0.5 - view.cy
    return (
        (view.fx * x - left * z) < -radius * math.hypot(view.fx, left)
        or (right * z - view.fx * x) < -radius * math.hypot(view.fx, right)
        or (view.fy * y - top * z) < -radius * math.hypot(view.fy, top)
        or (bottom * z - view.fy * y) < -radius * math.hypot(view.fy, bottom)
    )


@compiled
def _compose_rows(R, t, pose, out):  # type: ignore[no-untyped-def]
    """Writes the first three rows of [R t] @ pose to `out` (3, 4)."""
    for i in range(3):
        for j in range(4):
            out[i, j] = R[i, 0] * pose[0, j] + R[i, 1] * pose[1, j] + R[i, 2] * pose[2, j]
        out[i, 3] += t[i]


@compiled
def _map_point(T, x, y, z):  # type: ignore[no-untyped-def]
    return (
        T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3],
        T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3],
        T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3],
    )


@compiled
def rasterize(geometry, parts, poses, view, buffers):  # type: ignore[no-untyped-def]
    """Fills `buffers` with what the camera sees of instances at poses (I, 4, 4)."""
    height, width = buffers.inverse_depth.shape
    buffers.inverse_depth[:] = np.float32(0.0)
    buffers.triangle[:] = np.int32(-1)
    R_cam_base = view.T_base_cam[:3, :3].T
    t_cam_base = np.empty(3)
    for i in range(3):
        t_cam_base[i] = -(
            R_cam_base[i, 0] * view.T_base_cam[0, 3]
            + R_cam_base[i, 1] * view.T_base_cam[1, 3]
            + R_cam_base[i, 2] * view.T_base_cam[2, 3]
        )
    T = np.empty((3, 4))
    for part in range(len(poses)):
        _compose_rows(R_cam_base, t_cam_base, poses[part], T)
        sphere = parts.sphere_m[part]
        x, y, z = _map_point(T, sphere[0], sphere[1], sphere[2])
        if not _sphere_outside(x, y, z, sphere[3], view, width, height):
            _project(geometry, parts, part, T, view, buffers.vertices_cam)
            _draw_part(geometry, parts, part, view, buffers)


@compiled
def _project(geometry, parts, part, T, view, vertices_cam):  # type: ignore[no-untyped-def]
    source = parts.pool_vertex[part] - parts.first_vertex[part]
    for vertex in range(parts.first_vertex[part], parts.first_vertex[part + 1]):
        position = geometry.vertices_m[source + vertex]
        x, y, z = _map_point(T, position[0], position[1], position[2])
        inverse = 1.0 / max(z, NEAR_M)
        out = vertices_cam[vertex]
        out[0], out[1], out[2] = x, y, z
        out[3], out[4], out[5] = view.fx * x * inverse + view.cx, view.fy * y * inverse + view.cy, inverse


@compiled
def _draw_part(geometry, parts, part, view, buffers):  # type: ignore[no-untyped-def]
    vertices, first = buffers.vertices_cam, parts.first_vertex[part]
    is_closed, start = parts.is_closed[part], parts.first_triangle[part]
    for index in range(parts.first_triangle[part + 1] - start):
        face = geometry.faces[parts.pool_face[part] + index]
        a, b, c = first + face[0], first + face[1], first + face[2]
        nearest = min(vertices[a, 2], vertices[b, 2], vertices[c, 2])
        if nearest >= NEAR_M:
            _fill_facing(
                buffers.inverse_depth, buffers.triangle, start + index, is_closed,
                vertices[a, 3], vertices[a, 4], vertices[a, 5],
                vertices[b, 3], vertices[b, 4], vertices[b, 5],
                vertices[c, 3], vertices[c, 4], vertices[c, 5],
            )  # fmt: skip
        elif max(vertices[a, 2], vertices[b, 2], vertices[c, 2]) >= NEAR_M:
            _clip_and_fill(buffers, start + index, is_closed, (a, b, c), view)


@compiled
def draw_shadow_map(geometry, parts, poses, view, buffers, shadow):  # type: ignore[no-untyped-def]
    """Fits the shadow map to what is both seen by the camera and possibly shaded, and draws the casters into it."""
    size = shadow.height_m.shape[0]
    _fit(parts, poses, view, buffers, shadow)
    if shadow.fit[2] == 0.0:
        return
    shadow.height_m[:] = np.float32(FAR_BELOW_M)
    no_shift = np.zeros(3)
    T = np.empty((3, 4))
    x_0, y_0, scale_x, scale_y = shadow.fit[0], shadow.fit[1], shadow.fit[2], shadow.fit[3]
    for part in range(len(poses)):
        if not parts.casts_shadow[part]:
            continue
        _compose_rows(shadow.R_light_base, no_shift, poses[part], T)
        sphere = parts.sphere_m[part]
        x, y, _ = _map_point(T, sphere[0], sphere[1], sphere[2])
        column, row = (x - x_0) * scale_x, (y - y_0) * scale_y
        if (
            abs(column - 0.5 * size) < 0.5 * size + sphere[3] * scale_x
            and abs(row - 0.5 * size) < 0.5 * size + sphere[3] * scale_y
        ):
            _draw_caster(geometry, parts, part, T, shadow)


@compiled
def _draw_caster(geometry, parts, part, T, shadow):  # type: ignore[no-untyped-def]
    vertices, first = shadow.vertices_light, parts.first_vertex[part]
    x_0, y_0, scale_x, scale_y = shadow.fit[0], shadow.fit[1], shadow.fit[2], shadow.fit[3]
    source = parts.pool_vertex[part] - first
    for vertex in range(first, parts.first_vertex[part + 1]):
        position = geometry.vertices_m[source + vertex]
        x, y, z = _map_point(T, position[0], position[1], position[2])
        vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2] = (x - x_0) * scale_x, (y - y_0) * scale_y, -z
    is_closed, start = parts.is_closed[part], parts.first_triangle[part]
    for index in range(parts.first_triangle[part + 1] - start):
        face = geometry.faces[parts.pool_face[part] + index]
        a, b, c = vertices[first + face[0]], vertices[first + face[1]], vertices[first + face[2]]
        _fill_facing(
            shadow.height_m, shadow.nearest, 0, is_closed, a[0], a[1], a[2], b[0], b[1], b[2], c[0], c[1], c[2]
        )


@compiled
def _fit(parts, poses, view, buffers, shadow):  # type: ignore[no-untyped-def]
    """Sets `shadow.fit` to the overlap, seen from the light, of visible points and shadow casters."""
    size = shadow.height_m.shape[0]
    seen = _seen_bounds(view, buffers, shadow.R_light_base)
    cast = _caster_bounds(parts, poses, shadow.R_light_base)
    x_low, x_high = max(seen[0], cast[0]), min(seen[1], cast[1])
    y_low, y_high = max(seen[2], cast[2]), min(seen[3], cast[3])
    shadow.fit[:] = 0.0
    if x_low < x_high and y_low < y_high:
        step_x, step_y = (x_high - x_low) / (size - 5), (y_high - y_low) / (size - 5)
        shadow.fit[0], shadow.fit[1] = x_low - 2.0 * step_x, y_low - 2.0 * step_y
        shadow.fit[2], shadow.fit[3] = 1.0 / step_x, 1.0 / step_y


@compiled
def _seen_bounds(view, buffers, R_light_base):  # type: ignore[no-untyped-def]
    height, width = buffers.inverse_depth.shape
    T = np.empty((3, 4))
    _compose_rows(R_light_base, np.zeros(3), view.T_base_cam, T)
    x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
    step = max(1, min(height, width) // 48)  # a coarse look is enough: the map has a margin
    for row in range(0, height, step):
        for column in range(0, width, step):
            inverse = buffers.inverse_depth[row, column]
            if inverse > 0.0:
                z = 1.0 / inverse
                x, y, _ = _map_point(T, (column - view.cx) / view.fx * z, (row - view.cy) / view.fy * z, z)
                x_low, x_high = min(x_low, x), max(x_high, x)
                y_low, y_high = min(y_low, y), max(y_high, y)
    return x_low, x_high, y_low, y_high


@compiled
def _caster_bounds(parts, poses, R_light_base):  # type: ignore[no-untyped-def]
    T = np.empty((3, 4))
    x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
    for part in range(len(poses)):
        if parts.casts_shadow[part]:
            _compose_rows(R_light_base, np.zeros(3), poses[part], T)
            sphere = parts.sphere_m[part]
            x, y, _ = _map_point(T, sphere[0], sphere[1], sphere[2])
            x_low, x_high = min(x_low, x - sphere[3]), max(x_high, x + sphere[3])
            y_low, y_high = min(y_low, y - sphere[3]), max(y_high, y + sphere[3])
    return x_low, x_high, y_low, y_high
