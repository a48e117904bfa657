"""A learned encoder as a source of grasps: view, map, candidates, and a memory that keeps the choice steady."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import FloatArray, GraspEstimate, Observation
from simtoreal.policies.grasp_map import Candidate, Viewpoint, decode, read_again, viewpoint_of
from simtoreal.policies.view import View, ViewSpec, make_view

GraspMap = Callable[[View], NDArray[np.float32]]  # to (NUM_YAWS, NUM_FIELDS, h, w), qualities in [0, 1]


@dataclass(frozen=True)
class TrackingConfig:
    """When to look again, and what counts as the same grasp."""

    num_candidates: int = 16
    freeze_above_m: float = 0.03  # closer to the grasp than this the fingers hide it: keep what was seen
    same_m: float = 0.025
    same_rad: float = 0.45
    blend: float = 0.4  # weight of the newest view in the running estimate
    # Another grasp must look better by this much before the tool turns to it; by once more for every time it has
    # turned, or it would go to and fro between equals until time is up.
    switch_margin: float = 0.12
    fade: float = 0.9  # of a grasp that is not seen any more, per look
    failed_m: float = 0.015  # grasps this close to one that failed are worth less
    failed_rad: float = 0.5
    failed_factor: float = 0.4
    slipped_m: float = 0.04  # so is whatever lies this close to what was held and slipped away: it may be bolted down


class LearnedGrasps:
    """A `GraspSource` around a grasp map."""

    def __init__(self, grasp_map: GraspMap, view: ViewSpec, config: TrackingConfig | None = None) -> None:
        self._grasp_map = grasp_map
        self._view = view
        self._config = config or TrackingConfig()
        self.reset()

    def reset(self) -> None:
        self._current: Candidate | None = None
        self._seen_at_s = 0.0
        self._last_t_s = -math.inf
        self._widest_m = 0.0
        self._failed: list[FloatArray] = []
        self._slipped: list[FloatArray] = []
        self._num_switches = 0
        self._picture: tuple[NDArray[np.float32], View] | None = None

    def estimate(self, observation: Observation) -> GraspEstimate | None:
        """The grasp to aim at; None before anything was seen."""
        self._widest_m = max(self._widest_m, observation.gripper_width_m)
        if observation.t_s > self._last_t_s and not self._too_close(observation):
            self._look(observation)
            self._seen_at_s = observation.t_s
        self._last_t_s = observation.t_s
        if self._current is None:
            return None
        quality_map, view = self._picture if self._picture is not None else (None, None)
        return GraspEstimate(
            T_base_grasp=self._current.T_base_grasp,
            width_m=self._current.width_m,
            quality=self._current.quality,
            age_s=observation.t_s - self._seen_at_s,
            quality_map=quality_map,
            view_rgb=None if view is None else _picture(view),
            pixel=self._current.pixel,
        )

    def missed(self, T_base_tcp: FloatArray, slipped: bool = False) -> None:
        """Lowers the worth of grasps near this one, of the whole place if something slipped, and forgets the choice."""
        self._failed.append(T_base_tcp.copy())
        if slipped:
            self._slipped.append(T_base_tcp.copy())
        if self._current is not None:
            self._failed.append(self._current.T_base_grasp)
        self._current = None
        self._num_switches = 0

    def _too_close(self, observation: Observation) -> bool:
        if self._current is None:
            return False
        above_m = observation.T_base_tcp[2, 3] - self._current.T_base_grasp[2, 3]
        across_m = math.dist(observation.T_base_tcp[:2, 3], self._current.T_base_grasp[:2, 3])
        closing = observation.gripper_width_m < 0.5 * self._widest_m
        return closing or (above_m < self._config.freeze_above_m and across_m < 0.04)

    def _look(self, observation: Observation) -> None:
        view = make_view(observation, self._view)
        grasp_map = self._grasp_map(view)
        viewpoint = viewpoint_of(view)
        candidates = self._candidates(grasp_map, viewpoint)
        self._picture = (grasp_map[:, 0].max(axis=0), view)
        if candidates:
            again = read_again(grasp_map, viewpoint, self._current.T_base_grasp) if self._current else None
            self._current = self._choose(candidates, self._judged(again) if again else None)

    def _candidates(self, grasp_map: NDArray[np.float32], viewpoint: Viewpoint) -> list[Candidate]:
        if not self._failed:  # the first is the best then, and nobody asks for the others
            best = decode(grasp_map, viewpoint, 1)
            if best:
                return best
        return [self._judged(c) for c in decode(grasp_map, viewpoint, self._config.num_candidates)]

    def _judged(self, candidate: Candidate) -> Candidate:
        config = self._config
        for T in self._failed:
            near = math.dist(T[:2, 3], candidate.T_base_grasp[:2, 3]) < config.failed_m
            if near and abs(_turn(T, candidate.T_base_grasp)) < config.failed_rad:
                candidate = candidate._replace(quality=candidate.quality * config.failed_factor)
        for T in self._slipped:
            if math.dist(T[:2, 3], candidate.T_base_grasp[:2, 3]) < config.slipped_m:
                candidate = candidate._replace(quality=candidate.quality * config.failed_factor)
        return candidate

    def _choose(self, candidates: list[Candidate], again: Candidate | None) -> Candidate:
        """Stays with the grasp it had while that is still seen, refined by how it looks now; else takes the best."""
        best = max(candidates, key=lambda c: c.quality)
        if self._current is None:
            return best
        margin = self._config.switch_margin * (1 + self._num_switches)
        if again is not None and self._is_same(again, self._current):
            kept = _blended(self._current, again, self._config.blend)
        else:  # lost from view for a moment: believe it a little less each time
            again = kept = self._current._replace(quality=self._config.fade * self._current.quality)
        if best.quality > again.quality + margin:
            self._num_switches += 1
            return best
        return kept

    def _is_same(self, a: Candidate, b: Candidate) -> bool:
        distance_m = math.dist(a.T_base_grasp[:3, 3], b.T_base_grasp[:3, 3])
        return distance_m < self._config.same_m and abs(_turn(a.T_base_grasp, b.T_base_grasp)) < self._config.same_rad


def _turn(T_a: FloatArray, T_b: FloatArray) -> float:
    return frames.wrap_half_turn(frames.yaw_of(T_b) - frames.yaw_of(T_a))


def _blended(old: Candidate, new: Candidate, weight: float) -> Candidate:
    position = (1 - weight) * old.T_base_grasp[:3, 3] + weight * new.T_base_grasp[:3, 3]
    yaw = frames.yaw_of(old.T_base_grasp) + weight * _turn(old.T_base_grasp, new.T_base_grasp)
    return Candidate(
        frames.top_down(position, yaw),
        (1 - weight) * old.width_m + weight * new.width_m,
        (1 - weight) * old.quality + weight * new.quality,
        new.pixel,
    )


def _picture(view: View) -> NDArray[np.uint8]:
    """The view in colour, or its heights as grey where the camera has no colour."""
    if view.rgb.any():
        return view.rgb
    grey = np.clip((np.nan_to_num(view.height_m, nan=0.0) + 0.02) / 0.15, 0.0, 1.0) * 255.0
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
