"""Privileged grasp planner: knows the mesh and its pose, and ranks the places where the jaws can close from above.

It labels training frames and is the oracle of every evaluation, so its qualities are absolute (two objects can be
compared), smooth, and low where a tool pose a few millimetres off would fail. All frames have +Z up and the table at
`table_z_m`; a grasp position is the point between the finger tips (`frames.top_down`).
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs import grasp_scoring as scoring
from simtoreal.envs.grasp_clearance import clear_of_points
from simtoreal.envs.grasp_quality import qualities
from simtoreal.envs.grasp_scoring import FloatArray, Found, Jaws, Lattice, Surface

NUM_YAWS = 24  # of the lattice, over half a turn
HEIGHT_STEP_M = 0.005
TABLE_CLEARANCE_M = 0.0035  # between finger tips and table, less for flat objects
PALM_CLEARANCE_M = 0.003  # between palm and the top of the object
POINT_SPACING_M = 0.003  # on the surface, fine enough for the height maps
MAX_CORNERS = 1500
MIN_QUALITY = 0.05
GOOD_QUALITY = 0.3  # worth trying
MAP_CELL_M = 0.006  # grasps closer than this and
MAP_YAW_RAD = math.pi / 12  # this are one to a dense grasp map
_MANY = 100_000  # more than the cells along any side of an object: keeps combined indices apart


@dataclasses.dataclass(frozen=True)
class GripperGeometry:
    """A parallel gripper, seen along its approach; the defaults are the Franka hand.

    Raises:
        ValueError: a size is not positive, or the pads are longer than the fingers.
    """

    max_opening_m: float = 0.08
    finger_thickness_m: float = 0.012  # along the closing direction
    finger_width_m: float = 0.020  # across
    finger_length_m: float = 0.045  # free length, palm to tip
    pad_height_m: float = 0.018  # of the flat that grips, from the tip
    palm_size_m: tuple[float, float] = (0.20, 0.06)  # along the closing direction, across

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not np.all(np.isfinite(value)) or np.min(value) <= 0.0:
                raise ValueError(f"gripper geometry: {name} must be positive and finite, got {value}")
        if self.pad_height_m > self.finger_length_m:
            raise ValueError(f"gripper geometry: pad_height_m must not exceed finger_length_m, got {self.pad_height_m}")


class GraspSet(NamedTuple):
    """Grasps from above, best first, in whatever frame the object pose was given in."""

    positions_m: FloatArray  # (N, 3), between the finger tips
    yaws_rad: FloatArray  # (N,), closing direction in [-pi/2, pi/2)
    widths_m: FloatArray  # (N,), extent between the jaws
    qualities: FloatArray  # (N,), in [0, 1]

    @property
    def num(self) -> int:
        """How many grasps there are."""
        return int(self.qualities.size)

    def select(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "GraspSet":
        """The grasps of an index or mask, in that order."""
        return GraspSet(*(column[index] for column in self))

    def transformed(self, T_a_b: FloatArray) -> "GraspSet":
        """Moves grasps from frame b to frame a, so that one plan serves every place an object rests at in that pose.

        Raises:
            ValueError: the transform tilts; only shifts and turns about the vertical keep a grasp from above one.
        """
        if abs(T_a_b[2, 2] - 1.0) > 1e-6:
            raise ValueError(f"T_a_b must keep +Z up to move grasps from above, got z axis {T_a_b[:3, 2]}")
        yaw_rad = math.atan2(T_a_b[1, 0], T_a_b[0, 0])
        yaws_rad = (self.yaws_rad + yaw_rad + math.pi / 2) % math.pi - math.pi / 2
        return self._replace(positions_m=frames.apply(T_a_b, self.positions_m), yaws_rad=yaws_rad)


def surface_points(
    vertices_m: FloatArray, faces: NDArray[np.integer], num: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draws points evenly over a mesh.

    Args:
        vertices_m: (V, 3).
        faces: (F, 3) indices.
        num: how many points.
        rng: the only source of chance.

    Returns:
        Points (num, 3) and unit normals (num, 3).

    Raises:
        ValueError: a vertex is not finite or the mesh has no area.
    """
    sample = _sample(vertices_m, faces, num, rng)
    return sample.points_m, sample.normals


def _sample(vertices_m: FloatArray, faces: NDArray[np.integer], num: int, rng: np.random.Generator) -> Surface:
    corners = np.asarray(vertices_m, dtype=np.float64)[faces]  # (F, 3, 3)
    if not np.isfinite(corners).all():
        raise ValueError("vertices_m holds values that are not finite: repair or leave out this mesh")
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled_m2 = np.linalg.norm(crosses, axis=1)
    cumulative = np.cumsum(doubled_m2)
    if cumulative.size == 0 or cumulative[-1] <= 0.0:
        raise ValueError(f"the mesh has no surface ({len(faces)} faces of zero area)")
    # Systematic sampling: every face gets its share of points to within one.
    targets = (np.arange(num) + rng.random(num)) * (cumulative[-1] / num)
    chosen = np.minimum(np.searchsorted(cumulative, targets, side="right"), len(faces) - 1)
    root, share = np.sqrt(rng.random(num)), rng.random(num)
    weights = np.stack([1.0 - root, root * (1.0 - share), root * share], axis=1)
    points = np.einsum("nc,ncd->nd", weights, corners[chosen])
    normals = crosses[chosen] / doubled_m2[chosen, None]
    return Surface(points, normals, np.full(num, 0.5 * cumulative[-1] / num))


def _dense_surface(
    vertices_m: FloatArray, faces: NDArray[np.integer], num_samples: int, rng: np.random.Generator
) -> Surface:
    """Samples plus corners, which random points miss and which are what a jaw touches first."""
    sample = _sample(vertices_m, faces, num_samples, rng)
    corners = np.unique(faces)
    corners = corners if corners.size <= MAX_CORNERS else rng.choice(corners, MAX_CORNERS, replace=False)
    return Surface(
        np.concatenate([sample.points_m, np.asarray(vertices_m, dtype=np.float64)[corners]]),
        np.concatenate([sample.normals, np.tile([0.0, 0.0, 1.0], (corners.size, 1))]),
        np.concatenate([sample.areas_m2, np.zeros(corners.size)]),
    )


def _lattice(surface: Surface, table_z_m: float, rng: np.random.Generator) -> Lattice | None:
    """Where to try grasps on points around the origin, None if nothing sticks out of the table."""
    top_m = float(surface.points_m[:, 2].max()) - table_z_m
    if top_m < 0.0015:
        return None
    lowest_m = min(TABLE_CLEARANCE_M, 0.4 * top_m)
    tip_heights_m: FloatArray = table_z_m + np.arange(lowest_m, max(top_m - 0.002, lowest_m + 1e-6), HEIGHT_STEP_M)
    step_rad = math.pi / NUM_YAWS
    yaws_rad: FloatArray = np.linspace(-math.pi / 2, math.pi / 2, NUM_YAWS, endpoint=False)
    yaws_rad += _favoured_yaw(surface, step_rad)
    reach_m = float(np.linalg.norm(surface.points_m[:, :2], axis=1).max()) + 4 * scoring.CELL_M
    start_m = -reach_m - rng.random() * scoring.CELL_M * scoring.CELLS_PER_ROW
    return Lattice(yaws_rad, tip_heights_m, start_m, int((reach_m - start_m) / scoring.CELL_M) + 1)


def _favoured_yaw(surface: Surface, step_rad: float) -> float:
    """Phase of the yaws, in [0, step_rad), that lets most walls be met squarely: a box is gripped along its axes."""
    x, y = surface.normals[:, 0], surface.normals[:, 1]
    steep = surface.areas_m2 * (x * x + y * y) ** 4
    turns = np.arctan2(y, x) * (2.0 * math.pi / step_rad)
    phase_rad = math.atan2(float(steep @ np.sin(turns)), float(steep @ np.cos(turns))) * step_rad / (2.0 * math.pi)
    return phase_rad % step_rad


def _jaws(gripper: GripperGeometry) -> Jaws:
    return Jaws(
        gripper.max_opening_m,
        gripper.finger_thickness_m,
        gripper.finger_width_m / 2,
        gripper.finger_length_m - PALM_CLEARANCE_M,
        gripper.palm_size_m[0] / 2,
        gripper.palm_size_m[1] / 2,
    )


def plan_grasps(
    vertices_m: FloatArray,
    faces: NDArray[np.integer],
    T_base_obj: FloatArray,
    gripper: GripperGeometry,
    rng: np.random.Generator,
    *,
    table_z_m: float = 0.0,
    max_grasps: int = 400,
) -> GraspSet:
    """Finds and ranks the grasps from straight above on one object at rest.

    The origin of `obj` is taken to be the centre of mass. The gripper comes down fully open. A quality is the chance
    that the grasp holds (`grasp_quality`), averaged over tool poses some millimetres and degrees around it.

    Args:
        vertices_m: (V, 3) in the obj frame.
        faces: (F, 3) indices.
        T_base_obj: (4, 4) pose of the object, +Z of base up.
        gripper: what closes.
        rng: surface samples and where the rows lie; the same state gives the same grasps.
        table_z_m: height of the table in base.
        max_grasps: at most so many, spread over the object.

    Returns:
        Grasps in base, best first; none if the object does not fit between the jaws.

    Raises:
        ValueError: the mesh is not finite or has no surface.
    """
    vertices = np.asarray(vertices_m, dtype=np.float64) @ T_base_obj[:3, :3].T
    origin_m = np.array([T_base_obj[0, 3], T_base_obj[1, 3], T_base_obj[2, 3]])
    surface = _dense_surface(vertices, faces, _num_samples(vertices, faces), rng)
    lattice = _lattice(surface, table_z_m - origin_m[2], rng)
    if lattice is None:
        return _empty()
    found = scoring.search(surface, lattice, _jaws(gripper))
    chances = qualities(found, gripper.finger_width_m, lattice.start_m)
    return _spread(_best_heights(found, chances, origin_m), max_grasps)


def _num_samples(vertices: FloatArray, faces: NDArray[np.integer]) -> int:
    corners = vertices[faces]
    area_m2 = 0.5 * float(
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    )
    if not math.isfinite(area_m2):
        return 2000
    return int(np.clip(area_m2 / POINT_SPACING_M**2, 2000, 20000))


def _empty() -> GraspSet:
    return GraspSet(np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0))


def _best_heights(found: Found, chances: FloatArray, origin_m: FloatArray) -> GraspSet:
    """One grasp for every yaw, row and place along the row: the best tip height, as grasps in base, best first."""
    c = found.columns
    places = np.round(c[:, scoring.U] / scoring.MATCH_M).astype(np.int64)
    keys = (found.nodes[:, 0] * found.first.shape[1] + found.nodes[:, 1]) * _MANY + places
    group = np.unique(keys, return_inverse=True)[1]
    order = np.lexsort((-chances, group))
    best = order[np.flatnonzero(np.diff(group[order], prepend=-1))]  # by group
    tip_z_m = _smooth_height(c[:, scoring.TIP_Z], chances, group, best)
    kept = np.flatnonzero(chances[best] >= MIN_QUALITY)
    kept = kept[np.argsort(-chances[best[kept]], kind="stable")]
    chosen = best[kept]
    u, v, yaws_rad = c[chosen, scoring.U], c[chosen, scoring.V], c[chosen, scoring.YAW]
    cosine, sine = np.cos(yaws_rad), np.sin(yaws_rad)
    positions = np.stack([cosine * u - sine * v, sine * u + cosine * v, tip_z_m[kept]], axis=1) + origin_m
    return GraspSet(positions, yaws_rad, c[chosen, scoring.WIDTH], chances[chosen])


def _smooth_height(
    tip_z_m: FloatArray, chances: FloatArray, group: NDArray[np.int64], best: NDArray[np.int64]
) -> FloatArray:
    """Tip height of every group: mean over the best and the next lower and higher, weighted by their odds.

    Between equally good heights the best one is an accident of the lattice, and a label should not be one.
    """
    near = np.abs(tip_z_m - tip_z_m[best][group]) < 1.5 * HEIGHT_STEP_M
    weights = np.where(near, (chances / (1.01 - chances)) ** 2, 0.0) + 1e-12 * near
    return np.asarray(np.bincount(group, weights * tip_z_m) / np.bincount(group, weights))


def _spread(grasps: GraspSet, max_grasps: int) -> GraspSet:
    """At most `max_grasps`: first the best of every (cell, yaw bin) of a grasp map, then by quality."""
    if grasps.num <= max_grasps:
        return grasps
    cells = np.floor(grasps.positions_m[:, :2] / MAP_CELL_M)
    bins = (cells[:, 0] * _MANY + cells[:, 1]) * _MANY + np.floor(grasps.yaws_rad / MAP_YAW_RAD)
    first = np.unique(bins, return_index=True)[1]
    repeated = np.ones(grasps.num, dtype=bool)
    repeated[first] = False
    return grasps.select(np.sort(np.argsort(repeated, kind="stable")[:max_grasps]))


def diverse(grasps: GraspSet, num: int, min_distance_m: float = 0.015, min_angle_rad: float = 0.35) -> GraspSet:
    """The best grasps that are at least so far from all better ones, in place or in yaw; at most `num`."""
    kept: list[int] = []
    for i in range(grasps.num):
        if len(kept) == num:
            break
        near = np.linalg.norm(grasps.positions_m[kept] - grasps.positions_m[i], axis=1) < min_distance_m
        turn_rad = np.abs((grasps.yaws_rad[kept] - grasps.yaws_rad[i] + math.pi / 2) % math.pi - math.pi / 2)
        if not np.any(near & (turn_rad < min_angle_rad)):
            kept.append(i)
    return grasps.select(np.asarray(kept, dtype=np.int64))


def clear_of(
    grasps: GraspSet, obstacle_points_m: FloatArray, gripper: GripperGeometry, margin_m: float = 0.003
) -> NDArray[np.bool_]:
    """Which grasps neither the fingers nor the palm hit something else on the way straight down.

    Args:
        grasps: N of them; the fingers come down fully open.
        obstacle_points_m: (M, 3) on the surfaces of the neighbours, in the frame of the grasps, a few mm apart.
        gripper: its geometry.
        margin_m: space to keep on every side.

    Returns:
        Mask (N,).
    """
    obstacles = np.ascontiguousarray(obstacle_points_m, dtype=np.float64).reshape(-1, 3)
    poses = np.column_stack([grasps.positions_m, grasps.yaws_rad])
    return np.asarray(clear_of_points(poses, obstacles, _jaws(gripper), margin_m))


def fits_gripper(grasps: GraspSet) -> bool:
    """Whether any grasp is worth trying; an object without one is too large, or flat, for this gripper."""
    return grasps.num > 0 and bool(grasps.qualities[0] >= GOOD_QUALITY)
