"""Scenes of the second world with one thing changed, and whole episodes of the oracle there: what its tests share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from simtoreal.envs.cell import SimulatedCell
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.oracle import PrivilegedGrasps
from simtoreal.envs.reality_sample import RealitySample
from simtoreal.envs.reality_scene import RealityScene
from simtoreal.head_interface import HeadScale
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.servo import ServoHead
from simtoreal.runtime import Step, run_episode

OPEN_M = 0.08


def with_world(scene: RealityScene, group: str, **changes: Any) -> RealityScene:
    """The scene with values of one group of its sample replaced."""
    world: RealitySample = replace(scene.world, **{group: replace(getattr(scene.world, group), **changes)})
    return replace(scene, world=world)


class _Spy:
    def __init__(self, after: Callable[[], None]) -> None:
        self._after = after

    def episode_start(self) -> None: ...
    def step(self, step: Step) -> None:
        self._after()

    def episode_end(self) -> None: ...


def grasp(
    cell: SimulatedCell[RealityScene],
    library: GraspLibrary,
    scene: RealityScene,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Runs the oracle with the scripted servo until success, or for 12 s."""
    policy = GraspPolicy(PrivilegedGrasps(cell, library), ServoHead(), HeadScale(max_opening_m=OPEN_M))
    observation = cell.reset(scene)
    run_episode(cell, policy, observation, lambda step: cell.outcome.success or step >= 240, [_Spy(after)])


def trace(cell: SimulatedCell[RealityScene], library: GraspLibrary, scene: RealityScene) -> np.ndarray:
    """Everything the physics did in an episode of the oracle, a row per control period."""
    rows: list[np.ndarray] = []

    def note() -> None:
        observation = cell.get_observation()
        poses = [T.ravel() for T in cell.object_poses()]
        rows.append(np.concatenate([*poses, observation.T_base_tcp.ravel(), [observation.t_s, cell.time_s]]))

    grasp(cell, library, scene, note)
    return np.array(rows)
