"""Scenes with one thing changed, and whole episodes of the oracle: what the tests of the cell share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from simtoreal.envs.bullet_cell import CONTROL_HZ, BulletCell
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.oracle import PrivilegedGrasps
from simtoreal.envs.scene import Scene
from simtoreal.head_interface import HeadScale
from simtoreal.policies.grasp_policy import GraspPolicy
from simtoreal.policies.servo import ServoHead
from simtoreal.runtime import run_episode

OPEN_M = 0.08
PERIOD_S = 1.0 / CONTROL_HZ


def with_dynamics(scene: Scene, **changes: Any) -> Scene:
    return replace(scene, world=replace(scene.world, dynamics=replace(scene.world.dynamics, **changes)))


def with_timing(scene: Scene, **changes: Any) -> Scene:
    return replace(scene, world=replace(scene.world, timing=replace(scene.world.timing, **changes)))


def grasp(cell: BulletCell, library: GraspLibrary, scene: Scene, after: Callable[[], None] | None = None) -> None:
    """Runs the oracle with the scripted servo until success, or for 8 s."""

    class Spy:
        def episode_start(self) -> None: ...
        def step(self, step: Any) -> None:
            if after is not None:
                after()

        def episode_end(self) -> None: ...

    policy = GraspPolicy(PrivilegedGrasps(cell, library), ServoHead(), HeadScale(max_opening_m=OPEN_M))
    observation = cell.reset(scene)
    run_episode(cell, policy, observation, lambda step: cell.outcome.success or step >= 160, [Spy()])


def trace(cell: BulletCell, library: GraspLibrary, scene: Scene) -> np.ndarray:
    """Everything the physics did in an episode of the oracle, a row per control period."""
    rows: list[np.ndarray] = []

    def note() -> None:
        observation = cell.get_observation()
        poses = [T.ravel() for T in cell.object_poses()]
        rows.append(np.concatenate([*poses, observation.T_base_tcp.ravel(), [observation.t_s]]))

    grasp(cell, library, scene, note)
    return np.array(rows)
