"""How each object comes to rest on a flat table: dropped once in PyBullet, kept on disk by content.

Scenes put objects down in these poses, and grasps are planned once per pose instead of once per scene.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.assets import AssetError, ObjectAsset
from simtoreal.envs.bullet_world import PHYSICS_HZ, BulletWorld
from simtoreal.envs.robot import load_robot
from simtoreal.envs.storage import load_arrays, save_arrays

FloatArray = NDArray[np.float64]
NUM_POSES = 6  # the authored one, upright, and five from random drops
_UPRIGHT_FRAC = 0.4  # people put things down the way they stand
_VERSION = 2
_DROP_AT_M = (0.5, 0.0)
_MAX_SETTLE_S = 3.0


class RestingPoses:
    """Resting poses of assets: (NUM_POSES, 4, 4), yaw 0 and x = y = 0, z above the table."""

    def __init__(self, cache_dir: Path) -> None:
        self._dir = cache_dir / "resting"
        self._world: BulletWorld | None = None
        self._memory: dict[str, FloatArray] = {}

    def draw(self, asset: ObjectAsset, rng: np.random.Generator) -> int:
        """Index of a pose: the authored one with 40 %, else one of the drops."""
        upright, other = bool(rng.random() < _UPRIGHT_FRAC), int(rng.integers(1, NUM_POSES))
        return 0 if upright else other

    def poses(self, asset: ObjectAsset) -> FloatArray:
        """Resting poses (NUM_POSES, 4, 4) of an asset; computed on first use, about 60 ms.

        Raises:
            AssetError: the object never comes to rest on the table.
        """
        if asset.sha not in self._memory:
            path = self._dir / f"{asset.sha}-v{_VERSION}.npz"
            stored = load_arrays(path)
            if stored is None:
                stored = {"poses": self._drop_all(asset)}
                save_arrays(path, stored)
            self._memory[asset.sha] = stored["poses"]
        return self._memory[asset.sha]

    def _drop_all(self, asset: ObjectAsset) -> FloatArray:
        rng = np.random.default_rng(int(asset.sha[:15], 16))
        if self._world is None:
            self._world = BulletWorld(load_robot("panda"))
            self._world.remove(self._world.body)  # an arm that only watches doubles the cost of a step
        found = []
        for attempt in range(4 * NUM_POSES):
            pose = self._drop(asset, np.eye(3) if attempt == 0 else _random_rotation(rng))
            if pose is not None:
                found.append(pose)
            if len(found) == NUM_POSES:
                return np.stack(found)
        if not found:
            raise AssetError(f"{asset.urdf_path}: never comes to rest on the table; check its collision shape and mass")
        return np.stack([found[i % len(found)] for i in range(NUM_POSES)])

    def _drop(self, asset: ObjectAsset, R: FloatArray) -> FloatArray | None:
        assert self._world is not None
        world = self._world
        lowest = float((asset.vertices_m @ R.T)[:, 2].min())
        start = frames.transform((*_DROP_AT_M, 0.003 - lowest), R)
        body = world.add_object(asset, start, 1.0)
        world.set_object_dynamics(body, asset.mass_kg, 0.8, 0.0)
        try:
            for _ in range(int(_MAX_SETTLE_S * PHYSICS_HZ / 24)):
                world.step(24)
                linear, angular = world.speed(body)
                if linear < 0.004 and angular < 0.08:
                    break
            T = world.pose(body)
        finally:
            world.remove(body)
        inside = np.isfinite(T).all() and math.dist(T[:2, 3], _DROP_AT_M) < 0.3 and -0.02 < T[2, 3] < 0.5
        if not inside or linear > 0.02:
            return None
        # Bullet rests a few tenths of a millimetre off; the mesh stands on the table exactly.
        T = frames.transform((0.0, 0.0, 0.0), T[:3, :3])
        T[2, 3] = -float((asset.vertices_m @ T[:3, :3].T)[:, 2].min())
        return T


def _random_rotation(rng: np.random.Generator) -> FloatArray:
    return frames.quat_to_rotation(rng.normal(size=4))
