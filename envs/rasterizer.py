"""Compiled kernels that find which triangle every pixel sees, and how near every texel of a shadow map is to the light.

Both fill a buffer in which the larger value wins: inverse depth for the camera, height towards the light for the shadow
map. Both are linear in screen space, so that one routine draws for both. Pixel (0, 0) has its centre at the origin.
"""

import math

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled
from simtoreal.envs.render_records import Buffers, Floats, Owners, Scene, ShadowMap, Vector, View

NEAR_M = 0.005  # nothing nearer to the camera is drawn
EDGE_TOLERANCE_PX = 1e-7  # triangles overlap by this much, so that a pixel on a shared edge is never missed
MIN_AREA_PX2 = 1e-12
FAR_BELOW_M = -1e30  # in a shadow map: nothing here
SHADOW_MARGIN_TEXELS = 2

Values = NDArray[np.float32]
Corners = tuple[Vector, Vector, Vector]  # column, row and value of each
Bounds = tuple[float, float, float, float]  # lowest and highest x, lowest and highest y


@compiled
def rasterize(scene: Scene, view: View, buffers: Buffers) -> None:
    """Fills `buffers` with what the camera sees."""
    height, width = buffers.inverse_depth.shape
    buffers.inverse_depth[:] = np.float32(0.0)
    buffers.triangle[:] = np.int32(-1)
    R_cam_base, t_cam_base = np.empty((3, 3)), np.zeros(3)
    for i in range(3):
        for j in range(3):
            R_cam_base[i, j] = view.T_base_cam[j, i]
            t_cam_base[i] -= view.T_base_cam[j, i] * view.T_base_cam[j, 3]
    T = np.empty((3, 4))
    for part in range(len(scene.poses)):
        _compose(R_cam_base, t_cam_base, scene.poses[part], T)
        sphere = scene.parts.sphere_m[part]
        centre = _map_point(T, sphere[0], sphere[1], sphere[2])
        if _may_be_seen(centre, sphere[3], view, height, width):
            _project(scene, part, T, view, buffers.vertices_cam)
            _draw_part(scene, part, view, buffers)


@compiled
def draw_shadow_map(scene: Scene, view: View, buffers: Buffers, shadow: ShadowMap) -> None:
    """Fits the shadow map to what is both seen by the camera and possibly shaded, and draws the casters into it."""
    _fit(scene, view, buffers, shadow)
    if shadow.fit[2] == 0.0:
        return
    shadow.height_m[:] = np.float32(FAR_BELOW_M)
    T, no_shift = np.empty((3, 4)), np.zeros(3)
    for part in range(len(scene.poses)):
        if scene.parts.casts_shadow[part]:
            _compose(shadow.R_light_base, no_shift, scene.poses[part], T)
            _draw_caster(scene, part, T, shadow)


@compiled
def _compose(R: Floats, t: Floats, pose: Floats, out: Floats) -> None:
    """Writes the first three rows of [R t] @ pose to `out` (3, 4)."""
    for i in range(3):
        for j in range(4):
            out[i, j] = R[i, 0] * pose[0, j] + R[i, 1] * pose[1, j] + R[i, 2] * pose[2, j]
        out[i, 3] += t[i]


@compiled
def _map_point(T: Floats, x: float, y: float, z: float) -> Vector:
    return (
        T[0, 0] * x + T[0, 1] * y + T[0, 2] * z + T[0, 3],
        T[1, 0] * x + T[1, 1] * y + T[1, 2] * z + T[1, 3],
        T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3],
    )


@compiled
def _may_be_seen(centre: Vector, radius: float, view: View, height: int, width: int) -> bool:
    """Whether a sphere in the camera frame reaches into the four sides of the view and beyond the near plane."""
    x, y, z = centre
    left, right = -0.5 - view.cx, width - 0.5 - view.cx
    top, bottom = -0.5 - view.cy, height - 0.5 - view.cy
    return (
        z + radius >= NEAR_M
        and view.fx * x - left * z >= -radius * math.hypot(view.fx, left)
        and right * z - view.fx * x >= -radius * math.hypot(view.fx, right)
        and view.fy * y - top * z >= -radius * math.hypot(view.fy, top)
        and bottom * z - view.fy * y >= -radius * math.hypot(view.fy, bottom)
    )


@compiled
def _project(scene: Scene, part: int, T: Floats, view: View, vertices_cam: Floats) -> None:
    parts, vertices_m = scene.parts, scene.geometry.vertices_m
    shift = parts.pool_vertex[part] - parts.first_vertex[part]
    for vertex in range(parts.first_vertex[part], parts.first_vertex[part + 1]):
        source = vertex + shift
        x, y, z = _map_point(T, vertices_m[source, 0], vertices_m[source, 1], vertices_m[source, 2])
        inverse = 1.0 / max(z, NEAR_M)
        vertices_cam[vertex, 0], vertices_cam[vertex, 1], vertices_cam[vertex, 2] = x, y, z
        vertices_cam[vertex, 3] = view.fx * x * inverse + view.cx
        vertices_cam[vertex, 4] = view.fy * y * inverse + view.cy
        vertices_cam[vertex, 5] = inverse


@compiled
def _draw_part(scene: Scene, part: int, view: View, buffers: Buffers) -> None:
    parts, faces, vertices = scene.parts, scene.geometry.faces, buffers.vertices_cam
    first, start, is_closed = parts.first_vertex[part], parts.first_triangle[part], parts.is_closed[part]
    values, owners, pool_face = buffers.inverse_depth, buffers.triangle, parts.pool_face[part]
    for index in range(parts.first_triangle[part + 1] - start):
        a, b, c = faces[pool_face + index, 0], faces[pool_face + index, 1], faces[pool_face + index, 2]
        i, j, k = first + a, first + b, first + c
        if min(vertices[i, 2], vertices[j, 2], vertices[k, 2]) >= NEAR_M:
            corners = (
                (vertices[i, 3], vertices[i, 4], vertices[i, 5]),
                (vertices[j, 3], vertices[j, 4], vertices[j, 5]),
                (vertices[k, 3], vertices[k, 4], vertices[k, 5]),
            )
            _draw(values, owners, start + index, is_closed, corners)
        elif max(vertices[i, 2], vertices[j, 2], vertices[k, 2]) >= NEAR_M:
            _clip_and_draw(buffers, start + index, is_closed, (i, j, k), view)


@compiled
def _clip_and_draw(buffers: Buffers, owner: int, is_closed: bool, corners: tuple[int, int, int], view: View) -> None:
    """Draws the part of a triangle that lies beyond the near plane (Sutherland and Hodgman 1974)."""
    vertices, polygon, count = buffers.vertices_cam, buffers.polygon, 0
    for k in range(3):
        here, there = corners[k], corners[(k + 1) % 3]
        z_here, z_there = vertices[here, 2], vertices[there, 2]
        if z_here >= NEAR_M:
            for i in range(3):
                polygon[count, i] = vertices[here, 3 + i]
            count += 1
        if (z_here >= NEAR_M) != (z_there >= NEAR_M):
            along = (NEAR_M - z_here) / (z_there - z_here)
            x = vertices[here, 0] + along * (vertices[there, 0] - vertices[here, 0])
            y = vertices[here, 1] + along * (vertices[there, 1] - vertices[here, 1])
            polygon[count, 0], polygon[count, 1] = view.fx * x / NEAR_M + view.cx, view.fy * y / NEAR_M + view.cy
            polygon[count, 2] = 1.0 / NEAR_M
            count += 1
    for k in range(2, count):
        a, b, c = polygon[0], polygon[k - 1], polygon[k]
        fan = ((a[0], a[1], a[2]), (b[0], b[1], b[2]), (c[0], c[1], c[2]))
        _draw(buffers.inverse_depth, buffers.triangle, owner, is_closed, fan)


@compiled
def _draw(values: Values, owners: Owners, owner: int, is_closed: bool, corners: Corners) -> None:
    """Draws a triangle unless it is the back of a closed mesh; the area of a front is negative, as rows run down."""
    (x0, y0, _), (x1, y1, _), (x2, y2, _) = corners
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area < -MIN_AREA_PX2 or (area > MIN_AREA_PX2 and not is_closed):
        _fill(values, owners, owner, corners, area)


@compiled
def _fill(values: Values, owners: Owners, owner: int, corners: Corners, area: float) -> None:
    """Draws a triangle of twice the signed area `area`; in every pixel the larger value wins, the first of equals."""
    (x0, y0, w0), (x1, y1, w1), (x2, y2, w2) = corners
    height, width = values.shape
    row_first = math.ceil(max(min(y0, y1, y2) - EDGE_TOLERANCE_PX, 0.0))
    row_last = math.floor(min(max(y0, y1, y2) + EDGE_TOLERANCE_PX, height - 1.0))
    left = max(min(x0, x1, x2) - EDGE_TOLERANCE_PX, 0.0)
    right = min(max(x0, x1, x2) + EDGE_TOLERANCE_PX, width - 1.0)
    if row_first > row_last or math.ceil(left) > math.floor(right):
        return
    sign = 1.0 if area > 0.0 else -1.0
    edge_a, edge_b, edge_c = _edge(x0, y0, x1, y1, sign), _edge(x1, y1, x2, y2, sign), _edge(x2, y2, x0, y0, sign)
    w_x = ((w1 - w0) * (y2 - y0) - (w2 - w0) * (y1 - y0)) / area
    w_y = ((w2 - w0) * (x1 - x0) - (w1 - w0) * (x2 - x0)) / area
    w_min, w_max = min(w0, w1, w2), max(w0, w1, w2)  # seen edge-on, a triangle must not reach beyond itself
    for row in range(row_first, row_last + 1):
        low, high = _limit(edge_a, row, left, right)
        low, high = _limit(edge_b, row, low, high)
        low, high = _limit(edge_c, row, low, high)
        w_row = w0 + w_y * (row - y0) - w_x * x0
        for column in range(math.ceil(low), math.floor(high) + 1):
            w = np.float32(min(max(w_row + w_x * column, w_min), w_max))
            if w > values[row, column]:
                values[row, column] = w
                owners[row, column] = owner


@compiled
def _edge(x0: float, y0: float, x1: float, y1: float, sign: float) -> Vector:
    """An edge as (a, m, k): inside are x >= m * y + k where a > 0, x <= m * y + k where a < 0, all x where a = 0."""
    a, b = (y0 - y1) * sign, (x1 - x0) * sign
    if abs(a) < 1e-12:  # level; the rows of the triangle already end here
        return 0.0, 0.0, 0.0
    c = EDGE_TOLERANCE_PX * (abs(a) + abs(b)) - a * x0 - b * y0
    return a, -b / a, -c / a


@compiled
def _limit(edge: Vector, row: int, low: float, high: float) -> tuple[float, float]:
    a, slope, start = edge
    bound = slope * row + start
    if a > 0.0:
        return max(low, bound), high
    if a < 0.0:
        return low, min(high, bound)
    return low, high


@compiled
def _draw_caster(scene: Scene, part: int, T: Floats, shadow: ShadowMap) -> None:
    parts, vertices_m, faces, vertices = (
        scene.parts,
        scene.geometry.vertices_m,
        scene.geometry.faces,
        shadow.vertices_light,
    )
    x_0, y_0, scale_x, scale_y = shadow.fit[0], shadow.fit[1], shadow.fit[2], shadow.fit[3]
    first, is_closed, pool_face = parts.first_vertex[part], parts.is_closed[part], parts.pool_face[part]
    size, shift, sphere = shadow.height_m.shape[0], parts.pool_vertex[part] - first, parts.sphere_m[part]
    x, y, _ = _map_point(T, sphere[0], sphere[1], sphere[2])
    if not (
        abs((x - x_0) * scale_x - 0.5 * size) < 0.5 * size + sphere[3] * scale_x
        and abs((y - y_0) * scale_y - 0.5 * size) < 0.5 * size + sphere[3] * scale_y
    ):
        return
    for vertex in range(first, parts.first_vertex[part + 1]):
        source = vertex + shift
        x, y, z = _map_point(T, vertices_m[source, 0], vertices_m[source, 1], vertices_m[source, 2])
        vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2] = (x - x_0) * scale_x, (y - y_0) * scale_y, -z
    for face in range(pool_face, pool_face + parts.first_triangle[part + 1] - parts.first_triangle[part]):
        i, j, k = first + faces[face, 0], first + faces[face, 1], first + faces[face, 2]
        corners = (
            (vertices[i, 0], vertices[i, 1], vertices[i, 2]),
            (vertices[j, 0], vertices[j, 1], vertices[j, 2]),
            (vertices[k, 0], vertices[k, 1], vertices[k, 2]),
        )
        _draw(shadow.height_m, shadow.nearest, face, is_closed, corners)


@compiled
def _fit(scene: Scene, view: View, buffers: Buffers, shadow: ShadowMap) -> None:
    """Sets `shadow.fit` to the overlap, seen from the light, of visible points and shadow casters."""
    seen, cast = _seen_bounds(view, buffers, shadow.R_light_base), _caster_bounds(scene, shadow.R_light_base)
    x_low, x_high = max(seen[0], cast[0]), min(seen[1], cast[1])
    y_low, y_high = max(seen[2], cast[2]), min(seen[3], cast[3])
    shadow.fit[:] = 0.0
    if x_low < x_high and y_low < y_high:
        steps = shadow.height_m.shape[0] - 1 - 2 * SHADOW_MARGIN_TEXELS
        step_x, step_y = (x_high - x_low) / steps, (y_high - y_low) / steps
        shadow.fit[0], shadow.fit[1] = x_low - SHADOW_MARGIN_TEXELS * step_x, y_low - SHADOW_MARGIN_TEXELS * step_y
        shadow.fit[2], shadow.fit[3] = 1.0 / step_x, 1.0 / step_y
        _compose(shadow.R_light_base, np.zeros(3), view.T_base_cam, shadow.T_texel_cam)
        for axis in range(2):
            shadow.T_texel_cam[axis, 3] -= shadow.fit[axis]
            for column in range(4):
                shadow.T_texel_cam[axis, column] *= shadow.fit[2 + axis]


@compiled
def _seen_bounds(view: View, buffers: Buffers, R_light_base: Floats) -> Bounds:
    inverse_depth = buffers.inverse_depth
    height, width = inverse_depth.shape
    T = np.empty((3, 4))
    _compose(R_light_base, np.zeros(3), view.T_base_cam, T)
    x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
    step = max(1, min(height, width) // 48)  # a coarse look is enough: the map has a margin
    for row in range(0, height, step):
        for column in range(0, width, step):
            if inverse_depth[row, column] > 0.0:
                z = 1.0 / inverse_depth[row, column]
                x, y, _ = _map_point(T, (column - view.cx) / view.fx * z, (row - view.cy) / view.fy * z, z)
                x_low, x_high = min(x_low, x), max(x_high, x)
                y_low, y_high = min(y_low, y), max(y_high, y)
    return x_low, x_high, y_low, y_high


@compiled
def _caster_bounds(scene: Scene, R_light_base: Floats) -> Bounds:
    T, no_shift = np.empty((3, 4)), np.zeros(3)
    x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
    for part in range(len(scene.poses)):
        if scene.parts.casts_shadow[part]:
            _compose(R_light_base, no_shift, scene.poses[part], T)
            sphere = scene.parts.sphere_m[part]
            x, y, _ = _map_point(T, sphere[0], sphere[1], sphere[2])
            x_low, x_high = min(x_low, x - sphere[3]), max(x_high, x + sphere[3])
            y_low, y_high = min(y_low, y - sphere[3]), max(y_high, y + sphere[3])
    return x_low, x_high, y_low, y_high
