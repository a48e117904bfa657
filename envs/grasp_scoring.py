"""Compiled search for places where two parallel jaws, coming straight down, can close on an object.

For every yaw of a lattice the surface points are turned so that `u` is the closing direction and `v` runs across the
fingers. A height map then tells where a finger can go down without touching (the runs of material between such places
are what can be grasped), and the points between the jaws tell what they would touch first. Nothing is drawn at random:
the lattice covers every yaw, row and tip height, so that neighbours in it are the perturbed versions of a grasp.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CELL_M = 0.002  # of the height maps
CELLS_PER_ROW = 2  # rows of grasps lie this many cells apart
CONTACT_DEPTH_M = 0.002  # a pad is taken to touch what lies this close to the first contact
ENTRY_MARGIN_M = 0.001  # free space on each side that a finger needs at least to go down
HEIGHT_MARGIN_M = 0.0015  # material this far below the tips still blocks them
MATCH_M = 0.007  # neighbours in the lattice are the same grasp if their centres differ by less along u
MAX_RUNS = 5  # separate pieces of material in one row; more of them are not told apart
ROOM = MAX_RUNS * (MAX_RUNS + 1) // 2  # grasps that one lattice node can have

# Columns of what `search` measures of a candidate; u and v are relative to the origin of the surface points.
# ENTRY is the free space on each side of a fully open finger, TOP how far the material reaches above the tips.
U, V, TIP_Z, YAW, WIDTH, ENTRY, TOP = range(7)
# Columns of one contact: parts of the mean outward normal against the closing direction, upwards and across the finger,
# area in m2, place across the finger, height above the tips. There is a left and a right contact.
ALIGN, RISE, SIDE, AREA, ACROSS, ABOVE_TIP = range(6)
NUM_CONTACT = 6
LEFT, RIGHT, NUM_COLUMNS = 7, 7 + NUM_CONTACT, 7 + 2 * NUM_CONTACT


class Surface(NamedTuple):
    """Points on the object, dense enough that no finger fits between them."""

    points_m: FloatArray  # (N, 3)
    normals: FloatArray  # (N, 3), unit; which side is out does not matter
    areas_m2: FloatArray  # (N,), the piece of surface a point stands for; 0 for corners


class Jaws(NamedTuple):
    """The gripper as the kernels need it, all in metres."""

    opening_m: float
    thickness_m: float
    half_width_m: float
    length_m: float
    palm_half_x_m: float
    palm_half_y_m: float


class Lattice(NamedTuple):
    """Where grasps are tried; `num_cells` squared cells of the height map start at `start_m` along u and v."""

    yaws_rad: FloatArray  # (K,), evenly over half a turn
    tip_heights_m: FloatArray  # (Z,), ascending
    start_m: float
    num_cells: int


class Found(NamedTuple):
    """The grasps of a lattice."""

    columns: FloatArray  # (G, NUM_COLUMNS) what was measured, columns as named above
    nodes: IntArray  # (G, 3) index of yaw, row and tip height
    first: IntArray  # (K, R, Z + 1) first grasp of every node, which ends where the next one's begin


class Slab(NamedTuple):
    """The surface points that pass between the jaws at one yaw and row; normals are in u, v, z."""

    points_m: FloatArray  # (S, 3) u, v, z; a few lie just beside the fingers
    normals: FloatArray  # (S, 3)
    areas_m2: FloatArray  # (S,)
    v_m: float  # middle of the fingers
    half_width_m: float  # of the fingers


@compiled
def _turn(surface: Surface, yaw_rad: float, start_m: float, num_cells: int) -> tuple[Surface, IntArray]:
    """The surface in u, v, z, its points sorted by row of cells, and (num_cells + 1,) where each row begins."""
    cosine, sine = math.cos(yaw_rad), math.sin(yaw_rad)
    num = surface.areas_m2.size
    rows = np.empty(num, dtype=np.int64)
    first = np.zeros(num_cells + 1, dtype=np.int64)
    for i in range(num):
        v = cosine * surface.points_m[i, 1] - sine * surface.points_m[i, 0]
        rows[i] = int((v - start_m) / CELL_M)
        first[rows[i] + 1] += 1
    first = np.cumsum(first)
    free = first.copy()
    points, normals, areas_m2 = np.empty((num, 3)), np.empty((num, 3)), np.empty(num)
    for i in range(num):
        k = free[rows[i]]
        free[rows[i]] += 1
        x, y, points[k, 2] = surface.points_m[i]
        points[k, 0], points[k, 1] = cosine * x + sine * y, cosine * y - sine * x
        x, y, normals[k, 2] = surface.normals[i]
        normals[k, 0], normals[k, 1] = cosine * x + sine * y, cosine * y - sine * x
        areas_m2[k] = surface.areas_m2[i]
    return Surface(points, normals, areas_m2), first


@compiled
def _height_map(points: FloatArray, start_m: float, num_cells: int) -> FloatArray:
    """Highest point of every cell, rows along v; -inf where there is none."""
    heights = np.full((num_cells, num_cells), -np.inf)
    for i in range(points.shape[0]):
        column, row = int((points[i, 0] - start_m) / CELL_M), int((points[i, 1] - start_m) / CELL_M)
        if points[i, 2] > heights[row, column]:
            heights[row, column] = points[i, 2]
    return heights


@compiled
def _band(heights: FloatArray, row: int, half_width_m: float) -> FloatArray:
    """Highest point of every column within `half_width_m` of a row."""
    reach = math.ceil(half_width_m / CELL_M)
    band = np.full(heights.shape[1], -np.inf)
    for r in range(max(row - reach, 0), min(row + reach + 1, heights.shape[0])):
        for c in range(band.size):
            band[c] = max(band[c], heights[r, c])
    return band


@compiled
def _slab(turned: Surface, first: IntArray, row: int, v_m: float, half_width_m: float) -> Slab:
    """The points under the fingers when their middle is at `v_m`, in a row of cells."""
    reach = math.ceil(half_width_m / CELL_M)
    i, j = first[max(row - reach, 0)], first[min(row + reach + 1, first.size - 1)]
    return Slab(turned.points_m[i:j], turned.normals[i:j], turned.areas_m2[i:j], v_m, half_width_m)


@compiled
def _runs(band: FloatArray, level_m: float, min_gap: int) -> tuple[IntArray, int]:
    """Runs of columns higher than `level_m` that lie at least `min_gap` columns apart: (start, end) pairs, number."""
    runs = np.empty((MAX_RUNS, 2), dtype=np.int64)
    num = 0
    for c in range(band.size):
        if band[c] <= level_m:
            continue
        if num > 0 and (c - runs[num - 1, 1] <= min_gap or num == MAX_RUNS):
            runs[num - 1, 1] = c + 1
        else:
            runs[num, 0], runs[num, 1] = c, c + 1
            num += 1
    return runs, num


@compiled
def _extent(slab: Slab, span_m: tuple[float, float], tip_z_m: float) -> tuple[float, float, float]:
    """Leftmost and rightmost u, and the top, of the material above the tips within a span of u."""
    left, right, top = np.inf, -np.inf, -np.inf
    for i in range(slab.areas_m2.size):
        u, v, z = slab.points_m[i, 0], slab.points_m[i, 1], slab.points_m[i, 2]
        if z >= tip_z_m and span_m[0] <= u <= span_m[1] and abs(v - slab.v_m) <= slab.half_width_m:
            left, right, top = min(left, u), max(right, u), max(top, z)
    return left, right, top


@compiled
def _touch(slab: Slab, i: int, depth_m: float, side: float, out: FloatArray) -> float:
    """Adds point `i`, `depth_m` behind the first one that a pad facing along `side` touches; returns its weight."""
    area_m2 = float(slab.areas_m2[i])
    share = area_m2 * (1.0 - depth_m / CONTACT_DEPTH_M)
    outward = -1.0 if side * slab.normals[i, 0] > 0.0 else 1.0
    out[ALIGN] -= share * outward * side * slab.normals[i, 0]
    out[RISE] += share * outward * slab.normals[i, 2]
    out[SIDE] += share * outward * slab.normals[i, 1]
    out[AREA] += area_m2
    out[ACROSS] += share * (slab.points_m[i, 1] - slab.v_m)
    out[ABOVE_TIP] += share * slab.points_m[i, 2]
    return share


@compiled
def _finish(weight: float, tip_z_m: float, out: FloatArray) -> None:
    """Turns the sums of one contact into means; a pad that touches only a corner has no area and no direction."""
    if weight > 0.0:
        for k in (ALIGN, RISE, SIDE, ACROSS, ABOVE_TIP):
            out[k] /= weight
        out[ABOVE_TIP] -= tip_z_m


@compiled
def _measure(slab: Slab, span_m: tuple[float, float], tip_z_m: float, out: FloatArray) -> bool:
    """Fills the columns that the points between the jaws decide; False if there is nothing to hold."""
    left_m, right_m, top_m = _extent(slab, span_m, tip_z_m)
    if right_m <= left_m:
        return False
    out[U], out[WIDTH], out[TOP] = 0.5 * (left_m + right_m), right_m - left_m, top_m - tip_z_m
    out[LEFT:] = 0.0
    left, right = out[LEFT : LEFT + NUM_CONTACT], out[RIGHT : RIGHT + NUM_CONTACT]
    left_weight, right_weight = 0.0, 0.0
    for i in range(slab.areas_m2.size):
        from_left_m, from_right_m = slab.points_m[i, 0] - left_m, right_m - slab.points_m[i, 0]
        nearest_m = min(from_left_m, from_right_m)
        if nearest_m < 0.0 or nearest_m >= CONTACT_DEPTH_M or slab.points_m[i, 2] < tip_z_m:
            continue
        if abs(slab.points_m[i, 1] - slab.v_m) > slab.half_width_m:
            continue
        if from_left_m < CONTACT_DEPTH_M:
            left_weight += _touch(slab, i, from_left_m, 1.0, left)
        if from_right_m < CONTACT_DEPTH_M:
            right_weight += _touch(slab, i, from_right_m, -1.0, right)
    _finish(left_weight, tip_z_m, left)
    _finish(right_weight, tip_z_m, right)
    return True


@compiled
def _palm_top(palm_band: FloatArray, start_m: float, u_m: float, palm_half_x_m: float) -> float:
    """Highest point under the palm when the tool is at `u_m`."""
    first = max(int((u_m - palm_half_x_m - start_m) / CELL_M), 0)
    last = min(int((u_m + palm_half_x_m - start_m) / CELL_M) + 1, palm_band.size)
    top = -np.inf
    for c in range(first, last):
        top = max(top, palm_band[c])
    return top


@compiled
def _row_grasps(slab: Slab, bands: tuple[FloatArray, FloatArray], jaws: Jaws, start_m: float, out: FloatArray) -> int:
    """All grasps of one yaw, row and tip height (`out[0, TIP_Z]`), into the rows of `out`; returns their number."""
    tip_z_m = out[0, TIP_Z]
    min_gap = int((jaws.thickness_m + 2 * ENTRY_MARGIN_M) / CELL_M)
    runs, num_runs = _runs(bands[0], tip_z_m - HEIGHT_MARGIN_M, min_gap)
    num = 0
    for i in range(num_runs):
        for j in range(i, num_runs):
            if (runs[j, 1] - runs[i, 0] - 2) * CELL_M > jaws.opening_m or num == out.shape[0]:
                break
            gap_m = np.inf if i == 0 else (runs[i, 0] - runs[i - 1, 1]) * CELL_M
            gap_m = gap_m if j == num_runs - 1 else min(gap_m, (runs[j + 1, 0] - runs[j, 1]) * CELL_M)
            grasp = out[num]
            grasp[TIP_Z] = tip_z_m
            span_m = (start_m + runs[i, 0] * CELL_M, start_m + runs[j, 1] * CELL_M)
            palm_top_m = _palm_top(bands[1], start_m, 0.5 * (span_m[0] + span_m[1]), jaws.palm_half_x_m)
            if palm_top_m > tip_z_m + jaws.length_m or not _measure(slab, span_m, tip_z_m, grasp):
                continue
            inside_m = 0.5 * (jaws.opening_m - grasp[WIDTH])
            grasp[ENTRY] = min(inside_m, gap_m - jaws.thickness_m - inside_m)
            num += grasp[ENTRY] >= ENTRY_MARGIN_M
    return num


@compiled
def search(surface: Surface, lattice: Lattice, jaws: Jaws) -> Found:
    """Measures every collision-free grasp of the lattice; the origin of the points should be near their centre."""
    num_yaws, num_heights = lattice.yaws_rad.size, lattice.tip_heights_m.size
    num_rows = lattice.num_cells // CELLS_PER_ROW
    columns = np.empty((num_yaws * num_rows * num_heights * 3 + ROOM, NUM_COLUMNS))
    nodes = np.empty((columns.shape[0], 3), dtype=np.int64)
    first = np.zeros((num_yaws, num_rows, num_heights + 1), dtype=np.int64)
    num = 0
    for k in range(num_yaws):
        turned, row_first = _turn(surface, lattice.yaws_rad[k], lattice.start_m, lattice.num_cells)
        heights = _height_map(turned.points_m, lattice.start_m, lattice.num_cells)
        for r in range(num_rows):
            row = r * CELLS_PER_ROW
            v_m = lattice.start_m + (row + 0.5) * CELL_M
            slab = _slab(turned, row_first, row, v_m, jaws.half_width_m)
            bands = (_band(heights, row, jaws.half_width_m + 0.001), _band(heights, row, jaws.palm_half_y_m))
            for z in range(num_heights):
                first[k, r, z] = num
                if slab.areas_m2.size == 0 or num + ROOM > columns.shape[0]:
                    continue
                out = columns[num : num + ROOM]
                out[0, TIP_Z] = lattice.tip_heights_m[z]
                added = _row_grasps(slab, bands, jaws, lattice.start_m, out)
                out[:added, YAW], out[:added, V] = lattice.yaws_rad[k], v_m
                nodes[num : num + added] = np.array([k, r, z])
                num += added
            first[k, r, num_heights] = num
    return Found(columns[:num], nodes[:num], first)


@compiled
def _match(found: Found, node: tuple[int, int, int], u_m: float) -> int:
    """Index of the grasp of one lattice node that lies closest to `u_m`, or -1 if none is the same grasp."""
    best, best_m = -1, MATCH_M
    for i in range(found.first[node], found.first[node[0], node[1], node[2] + 1]):
        distance_m = abs(found.columns[i, U] - u_m)
        if distance_m < best_m:
            best, best_m = i, distance_m
    return best


@compiled
def _mean_over_heights(found: Found, scores: FloatArray, node: tuple[int, int, int], u_m: float) -> float:
    """Mean score over the tip heights around one node: 2/3 at its own, 1/6 one step lower and higher.

    Heights are known better than the rest. Lower than the lowest is the table, which stops the fingers where they are
    good; elsewhere no grasp scores 0.
    """
    total = 0.0
    for dz in range(-1, 2):
        z = max(node[2] + dz, 0)
        if z < found.first.shape[2] - 1:
            i = _match(found, (node[0], node[1], z), u_m)
            total += 0.0 if i < 0 else scores[i] * (4.0 if dz == 0 else 1.0) / 6.0
    return total


@compiled
def _mean_over_rows(found: Found, scores: FloatArray, i: int, dk: int, start_m: float) -> float:
    """Mean score of grasp `i` turned by `dk` lattice steps, over the rows and heights around it."""
    num_yaws, num_rows = found.first.shape[0], found.first.shape[1]
    u, v, k = found.columns[i, U], found.columns[i, V], found.nodes[i, 0] + dk
    cosine, sine = math.cos(dk * math.pi / num_yaws), math.sin(dk * math.pi / num_yaws)
    half_turn = -1.0 if k < 0 or k >= num_yaws else 1.0  # past the end of the yaws the same jaws come back mirrored
    u_m, v_m = half_turn * (cosine * u + sine * v), half_turn * (cosine * v - sine * u)
    middle = round(((v_m - start_m) / CELL_M - 0.5) / CELLS_PER_ROW)
    total = 0.0
    for row in range(max(middle - 1, 0), min(middle + 2, num_rows)):
        node = (k % num_yaws, row, found.nodes[i, 2])
        total += (0.5 if row == middle else 0.25) * _mean_over_heights(found, scores, node, u_m)
    return total


@compiled
def smooth(found: Found, scores: FloatArray, start_m: float) -> FloatArray:
    """Mean score (G,) of every grasp over its neighbours in yaw, row and height, that is over perturbed tool poses.

    A neighbour that is not feasible counts as zero, so that a grasp on the edge of feasibility scores low.
    """
    smoothed = np.empty(scores.size)
    for i in range(scores.size):
        around = _mean_over_rows(found, scores, i, -1, start_m) + _mean_over_rows(found, scores, i, 1, start_m)
        smoothed[i] = 0.25 * around + 0.5 * _mean_over_rows(found, scores, i, 0, start_m)
    return smoothed
