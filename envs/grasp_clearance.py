"""Whether the open gripper can come straight down at many poses without hitting what stands beside the object."""

import math

import numpy as np
from numpy.typing import NDArray

from simtoreal.envs.compiled import compiled
from simtoreal.envs.grasp_scoring import FloatArray, Jaws


@compiled
def clear_of_points(poses: FloatArray, points_m: FloatArray, jaws: Jaws, margin_m: float) -> NDArray[np.bool_]:
    """Whether the open gripper reaches each pose straight down with no point under it, between the jaws included.

    Args:
        poses: (N, 4) x, y, z of the tips, yaw.
        points_m: (M, 3) of the neighbours.
        jaws: the gripper.
        margin_m: space kept on every side.

    Returns:
        Mask (N,).
    """
    clear = np.ones(poses.shape[0], dtype=np.bool_)
    outer_m = jaws.opening_m / 2.0 + jaws.thickness_m + margin_m
    for i in range(poses.shape[0]):
        cosine, sine = math.cos(poses[i, 3]), math.sin(poses[i, 3])
        for j in range(points_m.shape[0]):
            x, y, z = points_m[j, 0] - poses[i, 0], points_m[j, 1] - poses[i, 1], points_m[j, 2] - poses[i, 2]
            u, v = abs(cosine * x + sine * y), abs(cosine * y - sine * x)
            finger = z > -margin_m and v < jaws.half_width_m + margin_m and u < outer_m
            palm = z > jaws.length_m and v < jaws.palm_half_y_m + margin_m and u < jaws.palm_half_x_m + margin_m
            if finger or palm:
                clear[i] = False
                break
    return clear
