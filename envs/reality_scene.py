"""Scenes of the second world: the target, free objects around it, and things that lie about, from a seed alone.

Free objects are of the same set as the target, and any of them counts when it is lifted. Everything else never counts:
blocks are wider than the gripper opens, sheets are flat, and fixtures (posts, clamps, rails) look as if they could be
taken and are bolted to the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.envs.object_sets import ObjectSet
from simtoreal.envs.reality import Reality
from simtoreal.envs.reality_groups import NUM_SEEDS
from simtoreal.envs.reality_sample import RealitySample
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.scene import WORKSPACE_CENTRE_M, PlacedObject, footprint_radius_m

FloatArray = NDArray[np.float64]
_TARGET_SPREAD_M = 0.10  # the target lies within this distance of the centre, on both axes
_REACH_M = (0.16, 0.22)  # neighbours lie within this distance of the centre, along x and y
_PROP_SPREAD_M = (0.22, 0.36)
_TRIES = 40
_BLOCK_SIZE_M = (0.10, 0.24)  # wider than grippers open
_BLOCK_HEIGHT_M = (0.02, 0.11)
_HAND_ROOM_M = 0.05  # between a block and the ball around an object, so that an open hand fits
_FINGER_ROOM_M = 0.025  # between a fixture and such a ball
_FIXTURES = {  # lowest and highest extents: along, across, up
    "post": ((0.012, 0.012, 0.03), (0.035, 0.035, 0.09)),
    "clamp": ((0.025, 0.015, 0.015), (0.06, 0.045, 0.05)),
    "rail": ((0.09, 0.012, 0.01), (0.22, 0.03, 0.03)),
}
_SCALE_STEP = 0.05  # of object sizes, so that planned grasps can be kept


@dataclass(frozen=True)
class Prop:
    """A block, a fixture or a sheet; it never moves and never counts."""

    shape: str  # box or cylinder
    extents_m: tuple[float, float, float]
    T_base_box: FloatArray  # (4, 4)
    kind: str  # finish
    texture_seed: int

    @property
    def collides(self) -> bool:
        """Sheets do not."""
        return self.extents_m[2] > 0.005

    @property
    def radius_m(self) -> float:
        """Of the circle around it, seen from above."""
        return 0.5 * (self.extents_m[0] if self.shape == "cylinder" else math.hypot(*self.extents_m[:2]))


@dataclass(frozen=True)
class RealityScene:
    """What stands on the table, and everything that was drawn, with the seed it was drawn from."""

    seed: tuple[int, ...]
    world: RealitySample
    objects: tuple[PlacedObject, ...]  # the target first
    scenery: tuple[Prop, ...]

    @property
    def table_height_m(self) -> float:
        """Where the table top is, base frame."""
        return self.world.physics.table_height_m


class RealitySampler:
    """Draws scenes of an object set in a reality; the same seed gives the same scene, whoever asks."""

    def __init__(self, objects: ObjectSet, resting: RestingPoses, reality: Reality) -> None:
        self.objects = objects
        self.resting = resting
        self.reality = reality

    def sample(self, seed: tuple[int, ...], target: str, num_objects: int = 1) -> RealityScene:
        """A scene with `target`, `num_objects - 1` other objects of the set, and what the reality adds to them.

        A neighbour or a block for which there is no room is left out.

        Raises:
            AssetError: the file of an object turned out to be broken.
        """
        rng = np.random.default_rng(seed)
        world = self.reality.sample(rng)
        placed = [self._free(target, world, rng, (_TARGET_SPREAD_M, _TARGET_SPREAD_M), [])]
        for name in rng.choice(self.objects.names, size=num_objects - 1 + world.content.num_neighbours):
            placed.append(self._free(str(name), world, rng, _REACH_M, placed))
        objects = [item for item in placed if item is not None]
        props = [_put(_block(world, rng), _HAND_ROOM_M, world, rng, objects) for _ in range(world.content.num_blocks)]
        props += [
            _put(_fixture(world, rng), _FINGER_ROOM_M, world, rng, objects) for _ in range(world.content.num_fixtures)
        ]
        scenery = _apart([prop for prop in props if prop is not None])
        scenery += [_sheet(world, rng, layer) for layer in range(world.content.num_sheets)]
        return RealityScene(seed, world, tuple(objects), tuple(scenery))

    def _free(
        self,
        name: str,
        world: RealitySample,
        rng: np.random.Generator,
        reach_m: tuple[float, float],
        others: Sequence[PlacedObject | None],
    ) -> PlacedObject | None:
        """An object in one of its resting poses, close to the others but clear of them; None if there is no room."""
        asset = self.objects.asset(name)
        index = self.resting.draw(asset, rng)
        scale = _SCALE_STEP * round(world.physics.object_scale / _SCALE_STEP)
        T_rest = self.resting.poses(asset)[index].copy()
        T_rest[2, 3] *= scale
        radius = footprint_radius_m(asset, scale)
        taken = [(item.T_base_obj, footprint_radius_m(item.asset, item.scale)) for item in others if item is not None]
        for _ in range(_TRIES):
            x, y = np.asarray(WORKSPACE_CENTRE_M) + rng.uniform(-1.0, 1.0, 2) * reach_m
            yaw = rng.uniform(-math.pi, math.pi)
            if all(math.dist((x, y), T[:2, 3]) > radius + other + world.content.gap_m for T, other in taken):
                T_table_rest = frames.transform((x, y, world.physics.table_height_m), frames.rotation_about_z(yaw))
                return PlacedObject(asset, T_table_rest @ T_rest, scale, index, T_table_rest)
        return None


def _block(world: RealitySample, rng: np.random.Generator) -> Prop:
    """A box or a tin that is too wide to grasp, anywhere."""
    shape = "cylinder" if rng.random() < 0.3 else "box"
    width, depth = rng.uniform(*_BLOCK_SIZE_M, size=2)
    height, kind = rng.uniform(*_BLOCK_HEIGHT_M), str(rng.choice(world.looks.object_finishes))
    extents = (float(width), float(width if shape == "cylinder" else depth), float(height))
    return Prop(shape, extents, np.eye(4), kind, int(rng.integers(NUM_SEEDS)))


def _fixture(world: RealitySample, rng: np.random.Generator) -> Prop:
    """A post, a clamp or a rail, anywhere."""
    name = str(rng.choice(list(_FIXTURES)))
    along, across, up = (float(extent) for extent in rng.uniform(*_FIXTURES[name]))
    kind = str(rng.choice(world.looks.fixtures))
    if name == "post":
        return Prop("cylinder", (along, along, up), np.eye(4), kind, int(rng.integers(NUM_SEEDS)))
    return Prop("box", (along, across, up), np.eye(4), kind, int(rng.integers(NUM_SEEDS)))


def _put(
    prop: Prop, room_m: float, world: RealitySample, rng: np.random.Generator, objects: Sequence[PlacedObject]
) -> Prop | None:
    """The prop on the table with room around each object; None if there is none."""
    z = world.physics.table_height_m + prop.extents_m[2] / 2
    for _ in range(_TRIES):
        x, y = np.asarray(WORKSPACE_CENTRE_M) + rng.uniform(-1.0, 1.0, 2) * _PROP_SPREAD_M
        placed = replace(
            prop, T_base_box=frames.transform((x, y, z), frames.rotation_about_z(rng.uniform(-math.pi, math.pi)))
        )
        if all(_clear_m(placed, item) > room_m for item in objects):
            return placed
    return None


def _clear_m(prop: Prop, item: PlacedObject) -> float:
    """Space between a prop and the ball around an object, seen from above."""
    x, y = frames.apply(frames.invert(prop.T_base_box), item.T_base_obj[:3, 3])[:2]
    dx, dy = (max(0.0, abs(v) - 0.5 * size) for v, size in zip((x, y), prop.extents_m, strict=False))
    return math.hypot(dx, dy) - footprint_radius_m(item.asset, item.scale)


def _apart(blocks: Sequence[Prop]) -> list[Prop]:
    """The blocks without those that would stand in one that came before."""
    kept: list[Prop] = []
    for block in blocks:
        centres = [math.dist(block.T_base_box[:2, 3], other.T_base_box[:2, 3]) for other in kept]
        if all(distance > block.radius_m + other.radius_m for distance, other in zip(centres, kept, strict=True)):
            kept.append(block)
    return kept


def _sheet(world: RealitySample, rng: np.random.Generator, layer: int) -> Prop:
    """A flat thing anywhere on the table; each lies on top of the one before."""
    extents = (float(rng.uniform(0.04, 0.3)), float(rng.uniform(0.04, 0.21)), 0.0002)
    x, y = np.asarray(WORKSPACE_CENTRE_M) + rng.uniform(-1.0, 1.0, 2) * (0.25, 0.35)
    z = world.physics.table_height_m + 0.0003 * (layer + 1)
    T = frames.transform((x, y, z), frames.rotation_about_z(rng.uniform(-math.pi, math.pi)))
    return Prop("box", extents, T, str(rng.choice(world.looks.sheets)), int(rng.integers(NUM_SEEDS)))
