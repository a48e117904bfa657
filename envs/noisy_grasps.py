"""Grasp estimates as a perception with a measured error would give them, without rendering an image."""

import math

import numpy as np

from simtoreal import frames
from simtoreal.contracts import FloatArray, GraspEstimate, GraspSource, Observation
from simtoreal.perception_error import PerceptionError

_SHARED = 0.8  # of the error is the same from frame to frame (the network misreads this object), the rest is fresh
_FREEZE_ABOVE_M = 0.03  # closer than this the fingers hide the object, as in `LearnedGrasps`
_CAMERA_ABOVE_TOOL_M = 0.10
_WRONG_OFFSET_M = 0.05


class NoisyGrasps:
    """A `GraspSource` that spoils another one as measured: error by distance, wrong grasps, frozen close up."""

    def __init__(self, source: GraspSource, error: PerceptionError, rng: np.random.Generator) -> None:
        self._source = source
        self._error = error
        self._rng = rng
        self._last: GraspEstimate | None = None
        self.scale = 1.0  # of all errors; a curriculum raises it
        self._draw_episode()

    def reset(self) -> None:
        self._source.reset()
        self._draw_episode()

    def missed(self, T_base_tcp: FloatArray, slipped: bool = False) -> None:
        self._source.missed(T_base_tcp, slipped)
        self._draw_episode()

    def estimate(self, observation: Observation) -> GraspEstimate | None:
        true = self._source.estimate(observation)
        return None if true is None else self.perceived(true, observation)

    def perceived(self, true: GraspEstimate, observation: Observation) -> GraspEstimate:
        """What perception makes of a true grasp, for callers that have already asked for it."""
        if self._last is None or not self._is_close(observation, self._last):
            self._last = self._spoil(true, observation)
            self._seen_at_s = observation.t_s
        return self._last._replace(age_s=max(0.0, observation.t_s - self._seen_at_s))

    def _draw_episode(self) -> None:
        self._shared = self._rng.standard_normal(5).tolist()
        self._wrong_draw = float(self._rng.random())
        angle = self._rng.uniform(-math.pi, math.pi)
        offset_m = _WRONG_OFFSET_M * self._rng.uniform(0.5, 1.5)
        self._wrong_offset_m = offset_m * math.cos(angle), offset_m * math.sin(angle)
        self._last = None
        self._seen_at_s = 0.0

    def _is_close(self, observation: Observation, last: GraspEstimate) -> bool:
        *tool, tool_z = observation.T_base_tcp[:3, 3].tolist()
        *grasp, grasp_z = last.T_base_grasp[:3, 3].tolist()
        return bool(tool_z - grasp_z < _FREEZE_ABOVE_M and math.dist(tool, grasp) < 0.04)

    def _spoil(self, true: GraspEstimate, observation: Observation) -> GraspEstimate:
        x, y, z = true.T_base_grasp[:3, 3].tolist()
        error = self._error.at(math.dist((x, y, z), observation.T_base_tcp[:3, 3].tolist()) + _CAMERA_ABOVE_TOOL_M)
        fresh = self._rng.standard_normal(5).tolist()
        noise = [self.scale * (_SHARED * a + 0.6 * b) for a, b in zip(self._shared, fresh, strict=True)]
        along_x, along_y, along_z, turn, other = noise
        x, y, z = x + along_x * error["lateral_m"], y + along_y * error["lateral_m"], z + along_z * error["height_m"]
        quality = min(max(true.quality + 0.08 * other, 0.0), 1.0)
        if self._wrong_draw < self.scale * error["wrong_frac"]:
            x, y = x + self._wrong_offset_m[0], y + self._wrong_offset_m[1]
            quality *= 0.7
        pose = frames.top_down((x, y, z), frames.yaw_of(true.T_base_grasp) + turn * error["yaw_rad"])
        width_m = min(max(true.width_m * (1.0 + 0.1 * other), 0.0), 0.1)
        return GraspEstimate(pose, width_m, quality)
