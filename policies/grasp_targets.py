"""Training targets: grasp maps made of known grasps, in the layout of `grasp_map`."""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from simtoreal.policies.grasp_map import BIN_RAD, CELL_PX, HEIGHT_SCALE_M, NUM_FIELDS, NUM_YAWS, WIDTH_SCALE_M

_SPREAD = 0.35  # of a cell or bin, how quickly the quality falls off outside the one that a grasp lies in


def targets(rows: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """Training targets (NUM_YAWS, NUM_FIELDS, h, w) of grasps (G, 6); the best of each cell and bin gives its fields.

    Quality is flat inside the cell and bin a grasp lies in and falls off quickly outside.
    """
    cells = pixels // CELL_PX
    result = np.zeros((NUM_YAWS, NUM_FIELDS, cells, cells), dtype=np.float32)
    if len(rows):
        _splat(rows, result)
    return result


@numba.njit(cache=True)
def _splat(rows, result):  # type: ignore[no-untyped-def]
    cells = result.shape[2]
    for g in range(rows.shape[0]):
        u = (rows[g, 0] + 0.5) / CELL_PX - 0.5
        v = (rows[g, 1] + 0.5) / CELL_PX - 0.5
        b = (rows[g, 3] + math.pi / 2) / BIN_RAD - 0.5
        for i in range(max(0, int(math.floor(v))), min(cells, int(math.floor(v)) + 2)):
            for j in range(max(0, int(math.floor(u))), min(cells, int(math.floor(u)) + 2)):
                across = max(max(abs(u - j), abs(v - i)) - 0.5, 0.0) / _SPREAD
                for k in range(int(math.floor(b)), int(math.floor(b)) + 2):
                    turn = max(abs(b - k) - 0.5, 0.0) / _SPREAD
                    quality = rows[g, 5] * math.exp(-0.5 * (across * across + turn * turn))
                    a = k % NUM_YAWS
                    if quality > result[a, 0, i, j]:
                        result[a, 0, i, j] = quality
                        result[a, 1, i, j] = rows[g, 4] / WIDTH_SCALE_M
                        result[a, 2, i, j] = rows[g, 2] / HEIGHT_SCALE_M
                        result[a, 3, i, j] = u - j
                        result[a, 4, i, j] = v - i
                        result[a, 5, i, j] = b - k
