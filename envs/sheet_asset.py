"""A thin board with a printed face as an object of a cell: rectangles of one grey each, exact at any distance.

Calibration boards are made of it, so that both worlds show them as they show any object.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.assets import ObjectAsset, content_hash, default_cache_dir, write_cached

FloatArray = NDArray[np.float64]
THICKNESS_M = 0.003
_DENSITY_KG_M3 = 1200.0
_BLACK, _WHITE = 25, 230  # of ink and paper
_VERSION = 1
_URDF = """<robot name="sheet"><link name="sheet">
<inertial><mass value="{mass}"/><inertia ixx="{ixx}" iyy="{iyy}" izz="{izz}" ixy="0" ixz="0" iyz="0"/></inertial>
<collision><geometry><box size="{x} {y} {z}"/></geometry></collision>
<visual><geometry><box size="{x} {y} {z}"/></geometry></visual>
</link></robot>
"""


class Sheet(NamedTuple):
    """A printed board; the frame of the print has +Z into the board, like a camera that looks at it."""

    asset: ObjectAsset
    T_print_obj: FloatArray  # (4, 4), centre of the board in the frame of the print


def sheet_asset(low_m: FloatArray, high_m: FloatArray, is_black: NDArray[np.bool_]) -> Sheet:
    """A board of rectangles (R, 2) to (R, 2) that touch and do not overlap.

    Raises:
        OSError: the cache of objects cannot be written.
    """
    corner, opposite = low_m.min(axis=0), high_m.max(axis=0)
    centre = np.array([*(0.5 * (corner + opposite)), 0.5 * THICKNESS_M])
    size = np.array([*(opposite - corner), THICKNESS_M])
    vertices, faces, rgb = _mesh(low_m - centre[:2], high_m - centre[:2], is_black)
    sha = content_hash([f"sheet-{_VERSION}", vertices.tobytes(), faces.tobytes(), rgb.tobytes()])
    mass_kg = float(np.prod(size) * _DENSITY_KG_M3)
    path = default_cache_dir() / "sheets" / f"{sha}.urdf"
    if not path.is_file():
        ixx, iyy, izz = (mass_kg / 12.0 * (np.sum(size**2) - size[axis] ** 2) for axis in range(3))
        x, y, z = size
        write_cached(path, _URDF.format(mass=mass_kg, ixx=ixx, iyy=iyy, izz=izz, x=x, y=y, z=z))
    asset = ObjectAsset("board", "file", path, vertices, faces, rgb, mass_kg, 0.8, sha)
    return Sheet(asset, frames.transform(centre))


def _mesh(
    low: FloatArray, high: FloatArray, is_black: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.int32], NDArray[np.uint8]]:
    """Front (facing -Z) in rectangles, and one white back."""
    z = 0.5 * THICKNESS_M
    front = np.stack([low, np.stack([low[:, 0], high[:, 1]], 1), high, np.stack([high[:, 0], low[:, 1]], 1)], axis=1)
    (x0, y0), (x1, y1) = low.min(axis=0), high.max(axis=0)
    back = np.array([[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]])
    corners = np.concatenate([front, back])  # (R + 1, 4, 2)
    heights = np.repeat([-z] * len(front) + [z], 4)
    vertices = np.column_stack([corners.reshape(-1, 2), heights])
    first = 4 * np.arange(len(corners))[:, None]
    faces = np.concatenate([first + np.array(half) for half in ((0, 1, 2), (0, 2, 3))]).astype(np.int32)
    grey = np.where(np.append(is_black, False), _BLACK, _WHITE).astype(np.uint8)
    return vertices, faces, np.repeat(np.repeat(grey, 4)[:, None], 3, axis=1)
