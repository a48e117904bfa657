"""What stands on the table in one episode or frame, drawn from a seed alone."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.assets import ObjectAsset
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.randomization import Randomization
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.world_sample import WorldSample

FloatArray = NDArray[np.float64]
WORKSPACE_CENTRE_M = (0.5, 0.0)
_SPREAD_M = 0.10  # objects lie within this distance of the centre, on both axes
_NEIGHBOUR_GAP_M = 0.03
_BLOCK_GAP_M = 0.10  # a static block leaves room for the open hand beside the object


@dataclass(frozen=True)
class PlacedObject:
    """A free object in one of its resting poses; any of them counts when lifted."""

    asset: ObjectAsset
    T_base_obj: FloatArray  # (4, 4), before settling
    scale: float
    resting_index: int
    T_table_rest: FloatArray  # (4, 4), planar motion from the canonical resting pose to the one here


@dataclass(frozen=True)
class Scenery:
    """Something that is not to be grasped: a sheet too flat to hold, or a block too large. It never moves."""

    extents_m: tuple[float, float, float]
    T_base_box: FloatArray  # (4, 4)
    rgb: tuple[float, float, float]
    texture_seed: int

    @property
    def collides(self) -> bool:
        return self.extents_m[2] > 0.005


@dataclass(frozen=True)
class Scene:
    """Objects, scenery and everything randomized, with the seed they were drawn from."""

    seed: tuple[int, ...]
    world: WorldSample
    objects: tuple[PlacedObject, ...]
    scenery: tuple[Scenery, ...]

    @property
    def table_height_m(self) -> float:
        """Where the table top is, base frame."""
        return self.world.dynamics.table_height_m


class SceneSampler:
    """Draws scenes of an object set; the same seed gives the same scene, whoever asks and in whatever order."""

    def __init__(self, objects: ObjectSet, resting: RestingPoses, randomization: Randomization) -> None:
        self.objects = objects
        self.resting = resting
        self.randomization = randomization

    def sample(self, seed: tuple[int, ...], target: str, num_objects: int = 1) -> Scene:
        """A scene with `target` and `num_objects - 1` other objects of the set.

        Raises:
            AssetError: the file of an object turned out to be broken.
        """
        rng = np.random.default_rng(seed)
        world = self.randomization.sample(rng)
        names = [target, *rng.choice(self.objects.names, size=num_objects - 1)]
        placed: list[PlacedObject] = []
        for name in names:
            placed.append(self._place(self.objects.asset(str(name)), placed, world, rng))
        scenery = [self._scenery(placed, world, rng) for _ in range(world.visual.num_distractors)]
        return Scene(seed, world, tuple(placed), tuple(item for item in scenery if item is not None))

    def _place(
        self, asset: ObjectAsset, others: list[PlacedObject], world: WorldSample, rng: np.random.Generator
    ) -> PlacedObject:
        index = self.resting.draw(asset, rng)
        scale = round(20.0 * world.dynamics.object_scale) / 20.0  # in steps, so that planned grasps can be kept
        T_rest = self.resting.poses(asset)[index].copy()
        T_rest[2, 3] *= scale
        radius = footprint_radius_m(asset, scale)
        for _ in range(50):
            x, y = np.asarray(WORKSPACE_CENTRE_M) + rng.uniform(-_SPREAD_M, _SPREAD_M, size=2)
            yaw = rng.uniform(-math.pi, math.pi)
            if all(
                math.dist((x, y), other.T_base_obj[:2, 3])
                > radius + footprint_radius_m(other.asset, other.scale) + _NEIGHBOUR_GAP_M
                for other in others
            ):
                break
        T_table_rest = frames.transform((x, y, world.dynamics.table_height_m), frames.rotation_about_z(yaw))
        return PlacedObject(asset, T_table_rest @ T_rest, scale, index, T_table_rest)

    def _scenery(self, placed: list[PlacedObject], world: WorldSample, rng: np.random.Generator) -> Scenery | None:
        flat = bool(rng.random() < 0.6)
        height = rng.uniform(0.0002, 0.001) if flat else rng.uniform(0.02, 0.12)
        low, high = (0.03, 0.25) if flat else (0.10, 0.20)
        extents = (rng.uniform(low, high), rng.uniform(low, high), height)
        yaw, rgb, seed = rng.uniform(-math.pi, math.pi), rng.uniform(0.05, 0.95, 3), int(rng.integers(2**31))
        for _ in range(20):
            x, y = np.asarray(WORKSPACE_CENTRE_M) + rng.uniform(-0.3, 0.3, size=2)
            if flat or all(
                math.dist((x, y), item.T_base_obj[:2, 3])
                > 0.5 * math.hypot(extents[0], extents[1]) + footprint_radius_m(item.asset, item.scale) + _BLOCK_GAP_M
                for item in placed
            ):
                z = world.dynamics.table_height_m + height / 2
                T_box = frames.transform((x, y, z), frames.rotation_about_z(yaw))
                return Scenery(extents, T_box, (float(rgb[0]), float(rgb[1]), float(rgb[2])), seed)
        return None


def footprint_radius_m(asset: ObjectAsset, scale: float) -> float:
    """Radius of a sphere about the obj origin that holds the object."""
    return float(np.linalg.norm(asset.vertices_m, axis=1).max() * scale)
