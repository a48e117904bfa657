"""Gymnasium environments over the PyBullet cell.

`simtoreal/GraspState-v0` shows what a policy head sees (a noisy grasp estimate and proprioception) and renders nothing.
`simtoreal/GraspCamera-v0` shows the camera image and proprioception. Actions are the same: five numbers in [-1, 1], see
`simtoreal.head_interface`.

Example:
    >>> import gymnasium
    >>> env = gymnasium.make("simtoreal/GraspState-v0", randomization="none")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, env.action_space.shape
    ((44,), (5,))
    >>> env.close()
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import GraspEstimate, Observation
from simtoreal.envs.adaptive import AdaptiveRandomization
from simtoreal.envs.assets import AssetError, default_cache_dir
from simtoreal.envs.bullet_cell import BulletCell
from simtoreal.envs.camera_setup import CameraSetup
from simtoreal.envs.cell import InvalidScene
from simtoreal.envs.grasp_library import GraspLibrary
from simtoreal.envs.noisy_grasps import NoisyGrasps
from simtoreal.envs.object_sets import load_object_set
from simtoreal.envs.oracle import PrivilegedGrasps
from simtoreal.envs.randomization import load_randomization
from simtoreal.envs.resting import RestingPoses
from simtoreal.envs.reward import PotentialReward, RewardConfig, Situation
from simtoreal.envs.robot import load_robot
from simtoreal.envs.scene import Scene, SceneSampler
from simtoreal.head_interface import ACTION_DIM, NUM_OF_ESTIMATE, OBSERVATION_DIM, HeadInterface, HeadScale
from simtoreal.perception_error import PerceptionError

MAX_STEPS = 160
_MAX_REDRAWS = 30


@dataclass(frozen=True)
class EnvConfig:
    """What an environment is made of."""

    objects: tuple[str, ...] = ("random_train",)
    randomization: str = "default"
    robot: str = "panda"
    num_objects: int = 1
    perception_error: PerceptionError = field(default_factory=PerceptionError)
    reward: RewardConfig = field(default_factory=RewardConfig)
    cache_dir: Path | None = None


class GraspStateEnv(gymnasium.Env[Any, NDArray[np.float32]]):
    """The control stage: a noisy privileged grasp instead of an image, full physics, no rendering.

    `info` holds `reward_terms`, `is_success`, `failure`, and `redraws` (scenes that were invalid, since the start).

    Args:
        config: everything; the keyword arguments below replace single fields of it.
        adaptive: automatic domain randomization of dynamics and timing, or None for the fixed ranges.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  # gymnasium's contract

    def __init__(
        self,
        config: EnvConfig | None = None,
        adaptive: AdaptiveRandomization | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")
        self.config = replace(config or EnvConfig(), **overrides)
        self.render_mode = render_mode
        self.adaptive = adaptive
        self.error_scale = 1.0
        cache_dir = self.config.cache_dir or default_cache_dir()
        robot = load_robot(self.config.robot)
        resting = RestingPoses(cache_dir)
        randomization = load_randomization(self.config.randomization)
        self._samplers = [
            SceneSampler(load_object_set(name, cache_dir), resting, randomization) for name in self.config.objects
        ]
        self.cell = BulletCell(robot, self._camera_setup())
        self._library = GraspLibrary(robot.gripper.geometry, resting, cache_dir)
        self._interface = HeadInterface(HeadScale(max_opening_m=robot.gripper.max_opening_m))
        self._reward = PotentialReward(self.config.reward)
        self._redraws = 0
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float32)
        self.observation_space = self._make_observation_space()

    # --- gymnasium

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._observation = self._reset_scene()
        self._true = PrivilegedGrasps(self.cell, self._library, self.np_random)
        self._source = NoisyGrasps(self._true, self.config.perception_error, self.np_random)
        self._source.scale = self.error_scale
        self._source.reset()
        self._goal = self._true.estimate(self._observation)
        self._interface.reset()
        self._interface.see(self._observation)
        self._steps = 0
        self._reward.reset(self._situation())
        return self._view(), {"redraws": self._redraws}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        try:
            sent = self.cell.send_action(self._interface.action(action, self._observation))
        except InvalidScene:  # lost by the physics, not by the policy: end without blame
            self._redraws += 1
            return self._view(), 0.0, False, True, self._info({})
        self._interface.sent(sent)
        self._observation = self.cell.get_observation()
        self._interface.see(self._observation)
        self._interface.tells_of_miss(self._observation, self._source)
        self._goal = self._true.estimate(self._observation)
        self._steps += 1
        terms = self._reward.step(self._situation(), action)
        success = self.cell.outcome.success
        truncated = self._steps >= MAX_STEPS and not success
        if (success or truncated) and self.adaptive is not None:
            self.adaptive.record(self._probe, success)
        return self._view(), float(sum(terms.values())), success, truncated, self._info(terms)

    def render(self) -> NDArray[np.uint8] | None:
        """The camera image of the latest observation; GraspState renders nothing and returns None."""
        return self._observation.rgb

    def close(self) -> None:
        self.cell.disconnect()

    # --- parts that GraspCamera replaces

    def _camera_setup(self) -> CameraSetup | None:
        return None

    def _make_observation_space(self) -> spaces.Space[Any]:
        return spaces.Box(-5.0, 5.0, (OBSERVATION_DIM,), np.float32)

    def _view(self) -> Any:
        self._estimated = self._estimate()
        return self._interface.vector(self._observation, self._estimated)

    # --- inside

    def _estimate(self) -> GraspEstimate:
        if self._goal is None:  # nothing graspable: aim at the tool itself, quality zero
            return GraspEstimate(self._observation.T_base_tcp, 0.0, 0.0)
        return self._source.perceived(self._goal, self._observation)

    def _reset_scene(self) -> Observation:
        for _ in range(_MAX_REDRAWS):
            seed = (int(self.np_random.integers(2**32)),)
            sampler = self._samplers[int(self.np_random.integers(len(self._samplers)))]
            name = str(self.np_random.choice(sampler.objects.names))
            try:
                scene = self._with_adaptive(sampler.sample(seed, name, self.config.num_objects))
                observation = self.cell.reset(scene)
            except (InvalidScene, AssetError):
                self._redraws += 1
                continue
            if any(self._library.in_scene(scene, i).num for i in range(len(scene.objects))):
                return observation
        raise RuntimeError(f"no valid scene in {_MAX_REDRAWS} draws from {self.config.objects}; check these objects")

    def _with_adaptive(self, scene: Scene) -> Scene:
        self._probe: str | None = None
        if self.adaptive is None:
            return scene
        draw = self.adaptive.sample(self.np_random)
        self._probe = draw.probe
        # Where things stand was drawn with the scene: heights and sizes stay, the rest is replaced.
        dynamics = replace(
            draw.dynamics,
            table_height_m=scene.world.dynamics.table_height_m,
            object_scale=scene.world.dynamics.object_scale,
        )
        return replace(scene, world=replace(scene.world, dynamics=dynamics, timing=draw.timing))

    def _situation(self) -> Situation:
        outcome = self.cell.outcome
        T_base_tcp = self._observation.T_base_tcp
        goal = T_base_tcp if self._goal is None else self._goal.T_base_grasp
        return Situation(
            distance_m=float(np.linalg.norm(goal[:3, 3] - T_base_tcp[:3, 3])),
            yaw_error_rad=frames.wrap_half_turn(frames.yaw_of(goal) - frames.yaw_of(T_base_tcp)),
            gripped=outcome.is_gripping,
            rise_m=max(self.cell.rises_m),
            success=outcome.success,
            collided=outcome.is_colliding,
        )

    def _info(self, terms: dict[str, float]) -> dict[str, Any]:
        outcome = self.cell.outcome
        return {
            "reward_terms": terms,
            "is_success": outcome.success,
            "failure": outcome.failure,
            "redraws": self._redraws,
        }


class GraspCameraEnv(GraspStateEnv):
    """The camera in the loop: `rgb` (H, W, 3), `depth_m` (H, W, 1) with 0 for no return, and `state` (33,).

    `state` is the proprioceptive part of the head's observation; there is no grasp estimate in it.

    Args:
        camera: placement, lens and modality; 64 x 64 RGB-D on the wrist if absent.
    """

    def __init__(self, camera: CameraSetup | None = None, **arguments: Any) -> None:
        self._setup = camera or CameraSetup.default("wrist", 64)
        super().__init__(**arguments)

    def _camera_setup(self) -> CameraSetup:
        return self._setup

    def _make_observation_space(self) -> spaces.Space[Any]:
        size = (self._setup.model.height_px, self._setup.model.width_px)
        parts: dict[str, spaces.Space[Any]] = {
            "state": spaces.Box(-5.0, 5.0, (OBSERVATION_DIM - NUM_OF_ESTIMATE,), np.float32)
        }
        if self._setup.rgb:
            parts["rgb"] = spaces.Box(0, 255, (*size, 3), np.uint8)
        if self._setup.depth:
            parts["depth_m"] = spaces.Box(0.0, 10.0, (*size, 1), np.float32)
        return spaces.Dict(parts)

    def _view(self) -> Any:
        vector = self._interface.vector(self._observation, GraspEstimate(self._observation.T_base_tcp, 0.0, 0.0))
        parts: dict[str, Any] = {"state": vector[NUM_OF_ESTIMATE:]}
        if self._observation.rgb is not None:
            parts["rgb"] = self._observation.rgb.copy()  # a late camera delivers the same image again
        if self._observation.depth_m is not None:
            depth = np.nan_to_num(self._observation.depth_m, nan=0.0)
            parts["depth_m"] = np.clip(depth, 0.0, 10.0)[..., None]
        return parts
