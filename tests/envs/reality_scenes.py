"""Scenes of the second world with one thing changed: what its tests share."""

from dataclasses import replace
from typing import Any

from simtoreal.envs.reality_sample import RealitySample
from simtoreal.envs.reality_scene import RealityScene


def with_world(scene: RealityScene, group: str, **changes: Any) -> RealityScene:
    """The scene with values of one group of its sample replaced."""
    world: RealitySample = replace(scene.world, **{group: replace(getattr(scene.world, group), **changes)})
    return replace(scene, world=world)
