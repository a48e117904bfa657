"""The privileged planner as a source of grasps: it knows every mesh and pose: the ceiling of every evaluation."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import FloatArray, GraspEstimate, Observation
from simtoreal.envs.cell import SimulatedCell
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.planner import GraspSet, fits_gripper

_MOVED_M = 0.003
_TURNED_RAD = 0.03
_TILTED = 0.9997  # cosine: a grasp from above does not survive a tilt
_NEAR_M, _NEAR_RAD = 0.012, 0.4  # grasps this close to one that failed will fail too


class PrivilegedGrasps:
    """A `GraspSource` that reads the state of the simulator.

    Args:
        pick: chooses among the ranked grasps; the best one if None. Training draws among the good ones, so that a head
            sees more than one grasp per object.
    """

    def __init__(self, cell: SimulatedCell[Any], library: GraspLibrary, rng: np.random.Generator | None = None) -> None:
        self._cell = cell
        self._library = library
        self._rng = rng

    def reset(self) -> None:
        scene = self._cell.scene
        self._failed: list[tuple[int, FloatArray]] = []
        self._poses = self._cell.object_poses()
        # The cell has settled the objects; what was planned for where they were put moves along.
        self._whole = [
            self._follow(i, self._library.placed(item), item.T_base_obj, self._poses[i])
            for i, item in enumerate(scene.objects)
        ]
        self._sets = self._clear()
        self._chosen = self._choose()

    @property
    def fits(self) -> bool:
        """Whether any object of the scene has a grasp worth trying."""
        return any(fits_gripper(grasps) for grasps in self._sets)

    def estimate(self, observation: Observation) -> GraspEstimate | None:
        """The grasp to aim at, on the object as it lies now."""
        if self._chosen is None:
            return None
        index, T_base_grasp, width_m, quality = self._chosen
        lies = self._cell.rises_m[index] < 0.01
        if lies and _differs(self._poses[index], self._cell.object_poses()[index]):
            self._refresh()
            if self._chosen is None:
                return None
            index, T_base_grasp, width_m, quality = self._chosen
        return GraspEstimate(T_base_grasp, width_m, quality)

    def missed(self, T_base_tcp: FloatArray, slipped: bool = False) -> None:
        """Remembers the failure relative to the object and chooses again on the objects as they lie now."""
        if self._chosen is not None:
            index, T_base_grasp, _, _ = self._chosen
            self._failed.append((index, frames.invert(self._poses[index]) @ T_base_grasp))
        self._refresh(choose_again=True)

    def _refresh(self, choose_again: bool = False) -> None:
        poses = self._cell.object_poses()
        previous = self._poses
        self._whole = [self._follow(i, self._whole[i], previous[i], poses[i]) for i in range(len(poses))]
        self._poses = poses
        self._sets = self._clear()
        if self._chosen is None or choose_again:
            self._chosen = self._choose()
            return
        index, T_base_grasp, width_m, quality = self._chosen
        T_before_now = poses[index] @ frames.invert(previous[index])
        if T_before_now[2, 2] > _TILTED:
            self._chosen = (index, _level(T_before_now @ T_base_grasp), width_m, quality)
        else:
            self._chosen = self._choose()

    def _clear(self) -> list[GraspSet]:
        """What of each object's grasps hits no neighbour, as they all lie now."""
        return [self._library.clear(self._cell.scene, i, self._whole[i], self._poses) for i in range(len(self._poses))]

    def _follow(self, index: int, grasps: GraspSet, T_before: FloatArray, T_now: FloatArray) -> GraspSet:
        if not np.isfinite(T_now).all():
            return grasps
        motion = T_now @ frames.invert(T_before)
        if motion[2, 2] > _TILTED:
            yaw = math.atan2(motion[1, 0], motion[0, 0])
            planar = frames.transform((0, 0, 0), frames.rotation_about_z(yaw))
            planar[:3, 3] = T_now[:3, 3] - planar[:3, :3] @ T_before[:3, 3]
            return grasps.transformed(planar)
        scene = self._cell.scene
        return self._library.planned(scene.objects[index], T_now, scene.table_height_m)

    def _choose(self) -> tuple[int, FloatArray, float, float] | None:
        best: tuple[int, FloatArray, float, float] | None = None
        for index, grasps in enumerate(self._sets):
            fresh = grasps.select(self._untried(index, grasps))
            if fresh.num == 0:
                continue
            k = 0
            if self._rng is not None:
                good = int(np.sum(fresh.qualities > 0.7 * fresh.qualities[0]))
                k = int(self._rng.integers(good))
            if best is None or fresh.qualities[k] > best[3]:
                pose = frames.top_down(fresh.positions_m[k], float(fresh.yaws_rad[k]))
                best = (index, pose, float(fresh.widths_m[k]), float(fresh.qualities[k]))
        if best is None and self._failed:  # everything was tried once: try again rather than stand still
            self._failed.clear()
            return self._choose()
        return best

    def _untried(self, index: int, grasps: GraspSet) -> NDArray[np.bool_]:
        keep = np.ones(grasps.num, dtype=bool)
        for failed_index, T_obj_grasp in self._failed:
            if failed_index == index:
                T = self._poses[index] @ T_obj_grasp
                near = np.linalg.norm(grasps.positions_m - T[:3, 3], axis=1) < _NEAR_M
                turn = np.abs((grasps.yaws_rad - frames.yaw_of(T) + math.pi / 2) % math.pi - math.pi / 2)
                keep &= ~(near & (turn < _NEAR_RAD))
        return keep


def _differs(T_a: FloatArray, T_b: FloatArray) -> bool:
    rows = list(zip(T_a[:3].tolist(), T_b[:3].tolist(), strict=True))
    if max(abs(a[3] - b[3]) for a, b in rows) > _MOVED_M:
        return True
    trace = sum(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] for a, b in rows)  # of R_a^T R_b
    return bool(trace < 1 + 2 * math.cos(_TURNED_RAD))


def _level(T: FloatArray) -> FloatArray:
    return frames.top_down(T[:3, 3], frames.yaw_of(T))
