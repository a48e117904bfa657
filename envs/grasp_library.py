"""Grasps planned once per object and resting pose, kept on disk, and moved to wherever the object lies."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.assets import ObjectAsset, content_hash
from simtoreal.envs.cell import SceneLayout
from simtoreal.envs.planner import GraspSet, GripperGeometry, clear_of, plan_grasps, surface_points
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.scene import PlacedObject
from simtoreal.envs.storage import load_arrays, save_arrays

FloatArray = NDArray[np.float64]
_VERSION = 2  # of the planner, whose grasps these are
_MAX_IN_MEMORY = 512  # 10 MB
_OBSTACLE_POINTS = 600


class GraspLibrary:
    """Ranked grasps of assets in their resting poses, for one gripper."""

    def __init__(self, gripper: GripperGeometry, resting: RestingPoses, cache_dir: Path) -> None:
        self.gripper = gripper
        self._resting = resting
        self._dir = cache_dir / "grasps"
        self._gripper_key = content_hash([repr(gripper).encode()])[:8]
        self._memory: OrderedDict[tuple[str, int, float], GraspSet] = OrderedDict()

    def at_rest(self, asset: ObjectAsset, resting_index: int, scale: float) -> GraspSet:
        """Grasps of an asset in a resting pose at the origin of the table."""
        key = (asset.sha, resting_index, scale)
        if key not in self._memory:
            self._memory[key] = self._load(asset, resting_index, scale)
            if len(self._memory) > _MAX_IN_MEMORY:
                self._memory.popitem(last=False)
        self._memory.move_to_end(key)
        return self._memory[key]

    def placed(self, item: PlacedObject) -> GraspSet:
        """Grasps of an object where it was put down, whatever stands beside it."""
        return self.at_rest(item.asset, item.resting_index, item.scale).transformed(item.T_table_rest)

    def in_scene(self, scene: SceneLayout, index: int) -> GraspSet:
        """Grasps of one object of a scene where it was put down, without those that would hit a neighbour."""
        poses = [item.T_base_obj for item in scene.objects]
        return self.clear(scene, index, self.placed(scene.objects[index]), poses)

    def clear(self, scene: SceneLayout, index: int, grasps: GraspSet, poses: Sequence[FloatArray]) -> GraspSet:
        """Those of the grasps on object `index` that hit no neighbour, with the objects at `poses`, (4, 4) each."""
        obstacles = neighbour_points(scene, index, poses)
        if grasps.num == 0 or obstacles.size == 0:
            return grasps
        return grasps.select(clear_of(grasps, obstacles, self.gripper))

    def planned(self, item: PlacedObject, T_base_obj: FloatArray, table_z_m: float) -> GraspSet:
        """Grasps of an object in whatever pose it has come to, planned anew."""
        return plan_grasps(
            item.asset.vertices_m * item.scale,
            item.asset.faces,
            T_base_obj,
            self.gripper,
            np.random.default_rng(0),
            table_z_m=table_z_m,
        )

    def _load(self, asset: ObjectAsset, resting_index: int, scale: float) -> GraspSet:
        path = self._dir / f"{asset.sha}-{resting_index}-{scale:.2f}-{self._gripper_key}-v{_VERSION}.npz"
        stored = load_arrays(path)
        if stored is None:
            T = self._resting.poses(asset)[resting_index].copy()
            T[2, 3] *= scale
            seed = (int(asset.sha[:8], 16), resting_index)
            grasps = plan_grasps(asset.vertices_m * scale, asset.faces, T, self.gripper, np.random.default_rng(seed))
            # Rounded before it is used as well: a result must not depend on whether the cache was warm.
            stored = {name: column.astype(np.float32) for name, column in grasps._asdict().items()}
            save_arrays(path, stored)
        return GraspSet(**{name: np.asarray(stored[name], dtype=np.float64) for name in GraspSet._fields})


def neighbour_points(scene: SceneLayout, index: int, poses: Sequence[FloatArray]) -> FloatArray:
    """Surface points (M, 3) of everything that a hand over object `index` must not hit, with the objects at `poses`."""
    rng = np.random.default_rng(0)
    points = [np.zeros((0, 3))]
    for i, item in enumerate(scene.objects):
        if i != index:
            local, _ = surface_points(item.asset.vertices_m * item.scale, item.asset.faces, _OBSTACLE_POINTS, rng)
            points.append(frames.apply(poses[i], local))
    for block in scene.scenery:
        if block.collides:
            corners = rng.uniform(-0.5, 0.5, size=(_OBSTACLE_POINTS, 3)) * block.extents_m
            points.append(frames.apply(block.T_base_box, corners))
    return np.concatenate(points)
