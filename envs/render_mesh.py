"""Triangle meshes prepared for rendering: consistently oriented, with normals that are smooth except at creases."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtoreal.envs.compiled import compiled

CREASE_ANGLE_RAD = math.radians(40.0)

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RenderMesh:
    """A mesh ready to be drawn; make one with `create`, once, and share it between scenes.

    A vertex that lies on a crease is stored once per smooth side.
    """

    vertices_m: NDArray[np.float32]  # (V, 3)
    normals: NDArray[np.float32]  # (V, 3), unit length, outward if the mesh is closed
    faces: NDArray[np.int32]  # (F, 3), counter-clockwise from outside if the mesh is closed
    vertex_rgb: NDArray[np.uint8] | None  # (V, 3)
    is_closed: bool  # no border, so that faces seen from behind need not be drawn
    centre_m: tuple[float, float, float]
    radius_m: float  # of a sphere about the centre that holds every vertex

    @classmethod
    def create(cls, vertices_m: ArrayLike, faces: ArrayLike, vertex_rgb: ArrayLike | None = None) -> "RenderMesh":
        """Prepares vertices (V, 3) in metres, faces (F, 3) and, if there are any, vertex colours (V, 3).

        Faces without area are left out. Closed parts that were wound inside out are turned.

        Raises:
            ValueError: a shape is wrong, a vertex is not finite, or a face names a vertex that does not exist.
        """
        vertices = np.asarray(vertices_m, dtype=np.float64)
        triangles = np.asarray(faces, dtype=np.int64)
        colours = None if vertex_rgb is None else np.asarray(vertex_rgb, dtype=np.uint8)
        _check(vertices, triangles, colours)
        welded = _weld(vertices)
        weighted = _weighted_normals(vertices, triangles)
        places = welded[triangles]
        keep = (np.linalg.norm(weighted, axis=1) > 0.0) & (places != np.roll(places, 1, axis=1)).all(axis=1)
        triangles, weighted = triangles[keep], weighted[keep]
        is_closed = _is_closed(welded[triangles], len(vertices))
        if is_closed:
            inside_out = _inside_out(vertices, triangles, welded)
            triangles[inside_out] = triangles[inside_out][:, ::-1]
            weighted[inside_out] *= -1.0
        normals = _corner_normals(welded[triangles], weighted, len(vertices))
        source, new_faces, new_normals = _split(triangles, normals)
        return cls._finish(
            vertices[source], new_normals, new_faces, None if colours is None else colours[source], is_closed
        )

    @classmethod
    def _finish(
        cls, vertices: Floats, normals: Floats, faces: Indices, rgb: NDArray[np.uint8] | None, is_closed: bool
    ) -> "RenderMesh":
        centre = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0)) if len(vertices) else np.zeros(3)
        radius = float(np.linalg.norm(vertices - centre, axis=1).max()) if len(vertices) else 0.0
        return cls(
            np.ascontiguousarray(vertices, dtype=np.float32),
            np.ascontiguousarray(normals, dtype=np.float32),
            np.ascontiguousarray(faces, dtype=np.int32),
            None if rgb is None else np.ascontiguousarray(rgb),
            is_closed,
            (float(centre[0]), float(centre[1]), float(centre[2])),
            radius,
        )

    def scaled(self, scale: float) -> "RenderMesh":
        """The same mesh, larger by a factor; shares everything but the vertices.

        Raises:
            ValueError: the factor is not positive and finite.
        """
        if not (math.isfinite(scale) and scale > 0.0):
            raise ValueError(f"the scale of a mesh must be positive, got {scale}")
        x, y, z = self.centre_m
        return RenderMesh(
            self.vertices_m * np.float32(scale),
            self.normals,
            self.faces,
            self.vertex_rgb,
            self.is_closed,
            (x * scale, y * scale, z * scale),
            self.radius_m * scale,
        )


def box_mesh(extents_m: ArrayLike) -> RenderMesh:
    """A box with full extents (3,) in metres, centred at the origin.

    Raises:
        ValueError: there are not three positive extents.
    """
    extents = np.asarray(extents_m, dtype=np.float64)
    if extents.shape != (3,) or not (extents > 0.0).all():
        raise ValueError(f"a box needs three positive extents_m, got {extents_m}")
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * extents
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return RenderMesh.create(corners, [half for a, b, c, d in quads for half in ((a, b, c), (a, c, d))])


def plane_mesh(size_m: float | tuple[float, float], divisions: int = 1) -> RenderMesh:
    """A rectangle in z = 0, centred at the origin, normal +Z, seen from both sides, of `divisions`^2 cells.

    Raises:
        ValueError: a size or the number of divisions is not positive.
    """
    size_x, size_y = size_m if isinstance(size_m, tuple) else (size_m, size_m)
    if not (size_x > 0.0 and size_y > 0.0 and divisions > 0):
        raise ValueError(f"a plane needs positive size_m and divisions, got {size_m} and {divisions}")
    ticks = np.linspace(-0.5, 0.5, divisions + 1)
    x, y = np.meshgrid(ticks * size_x, ticks * size_y, indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    row = divisions + 1
    first = (np.arange(divisions)[:, None] * row + np.arange(divisions)).ravel()
    lower = np.stack([first, first + row, first + row + 1], axis=1)
    upper = np.stack([first, first + row + 1, first + 1], axis=1)
    return RenderMesh.create(vertices, np.concatenate([lower, upper]))


def _check(vertices: Floats, faces: Indices, rgb: NDArray[np.uint8] | None) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"vertices_m must have shape (V, 3), got {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces must have shape (F, 3), got {faces.shape}")
    finite = np.isfinite(vertices).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"vertices_m must be finite; {int((~finite).sum())} are not, the first is {int(np.argmin(finite))}"
        )
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"faces must name vertices 0 to {len(vertices) - 1}, got {faces.min()} to {faces.max()}")
    if rgb is not None and rgb.shape != vertices.shape:
        raise ValueError(f"vertex_rgb must have shape {vertices.shape} like the vertices, got {rgb.shape}")


def _weld(vertices: Floats) -> Indices:
    """For each vertex (V,) the number of its place; files store a place once per texture seam and per normal."""
    if not len(vertices):
        return np.zeros(0, dtype=np.int64)
    span = float(np.ptp(vertices, axis=0).max())
    grid = np.round((vertices - vertices.min(axis=0)) / max(span * 1e-6, 1e-12)).astype(np.int64)
    keys = (grid[:, 0] << 42) | (grid[:, 1] << 21) | grid[:, 2]  # each below 2^20, see the step of the grid
    return np.unique(keys, return_inverse=True)[1].reshape(-1)


def _weighted_normals(vertices: Floats, faces: Indices) -> Floats:
    """Normals (F, 3) whose length is twice the area."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.asarray(np.cross(b - a, c - a))


def _is_closed(faces: Indices, num_vertices: int) -> bool:
    """Whether every edge is met exactly once in each direction."""
    if not len(faces):
        return False
    tail, head = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    forward, backward = np.sort(tail * num_vertices + head), np.sort(head * num_vertices + tail)
    return bool((np.diff(forward) > 0).all() and np.array_equal(forward, backward))


def _inside_out(vertices: Floats, faces: Indices, welded: Indices) -> NDArray[np.bool_]:
    """Faces (F,) of connected parts whose signed volume is negative."""
    places = welded[faces]
    part = _parts(places, len(vertices))
    a, b, c = (vertices[faces[:, k]] - vertices.mean(axis=0) for k in range(3))
    volumes = np.bincount(part, weights=np.einsum("ij,ij->i", a, np.cross(b, c)))
    return np.asarray(volumes[part] < 0.0)


@compiled
def _parts(places: Indices, num_places: int) -> Indices:
    """The connected part (F,) that every face belongs to; scipy has this too, for 20 MB in every simulator worker."""
    root = np.arange(num_places)
    for face in range(len(places)):
        for corner in range(1, 3):
            a, b = places[face, 0], places[face, corner]
            while root[a] != a:
                root[a] = root[root[a]]
                a = root[a]
            while root[b] != b:
                root[b] = root[root[b]]
                b = root[b]
            root[max(a, b)] = min(a, b)
    part = np.empty(len(places), dtype=np.int64)
    for face in range(len(places)):
        a = places[face, 0]
        while root[a] != a:
            a = root[a]
        part[face] = a
    return part


def _corner_normals(places: Indices, weighted: Floats, num_places: int) -> Floats:
    """Unit normals (F, 3, 3) at the corners of every face, averaged over the neighbours across no crease."""
    order = np.argsort(places.ravel(), kind="stable")
    starts = np.searchsorted(places.ravel()[order], np.arange(num_places + 1))
    unit = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-300)
    sums = _sum_neighbours(places, weighted, unit, order // 3, starts)
    return np.asarray(sums / np.linalg.norm(sums, axis=2, keepdims=True))


@compiled
def _sum_neighbours(places: Indices, weighted: Floats, unit: Floats, neighbours: Indices, starts: Indices) -> Floats:
    sums = np.zeros((len(places), 3, 3))
    cosine = math.cos(CREASE_ANGLE_RAD)
    for face in range(len(places)):
        for corner in range(3):
            place = places[face, corner]
            for index in range(starts[place], starts[place + 1]):
                other = neighbours[index]
                facing = 0.0
                for axis in range(3):
                    facing += unit[face, axis] * unit[other, axis]
                if facing >= cosine or other == face:
                    for axis in range(3):
                        sums[face, corner, axis] += weighted[other, axis]
    return sums


def _split(faces: Indices, corner_normals: Floats) -> tuple[Indices, Indices, Floats]:
    """Source vertices (V',), faces (F, 3) over them and their normals (V', 3): one vertex per distinct normal."""
    steps = np.round((corner_normals.reshape(-1, 3) + 1.0) * 1000.0).astype(np.int64)  # 0 to 2000, 11 bits
    keys = (faces.ravel() << 33) | (steps[:, 0] << 22) | (steps[:, 1] << 11) | steps[:, 2]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return faces.ravel()[first], inverse.reshape(-1, 3), corner_normals.reshape(-1, 3)[first]
