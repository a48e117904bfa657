"""What a policy head sees and says: one low-dimensional vector each way, the same in training and on the robot.

Translations are in the tool-yaw frame (base +Z up, X along the closing direction), so a head does not care where in the
cell, or under which arm, it works.

| observation | entries | scale |
|---|---|---|
| grasp position minus measured tool position | 3 | 0.1 m |
| yaw from tool to grasp, by the nearer half turn | 1 | 1 rad |
| quality, age of the image | 2 | 1, 1 s |
| width between the jaws: expected, measured, commanded | 3 | full opening |
| lead of the setpoint over the measured tool: position, yaw | 4 | 0.05 m, 0.3 rad |
| measured height of the tool above the nominal table | 1 | 0.2 m |
| time since the jaws were told to close | 1 | 1 s |
| measured rise of the tool since the jaws were told to close | 1 | 0.1 m |
| its own last three actions | 15 | 1 |
"""

import itertools
import math
from collections import deque
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, GraspEstimate, Observation

FloatArray = NDArray[np.float64]
ACTION_DIM = 5  # dx, dy, dz, dyaw, jaws (+1 open, -1 closed)
NUM_RECENT_ACTIONS = 3
OBSERVATION_DIM = 16 + NUM_RECENT_ACTIONS * ACTION_DIM
_CLIP = 5.0
_MAX_WOUND_RAD = 1.75  # away from the first yaw; a little over a quarter turn, so that grasps at its end do not flip
_SMALL_TURN_RAD = 0.3  # so little farther is no reason to go round the other way
_EMPTY_WIDTH_M = 0.0012  # jaws that measure less than this hold nothing
_CLOSED_FOR_S = 0.6  # the jaws need this long to close before their width says anything


@dataclass(frozen=True)
class HeadScale:
    """Units of one action: how far +-1 goes in one control period.

    Raises:
        ValueError: a value is not positive and finite.
    """

    max_delta_m: float = 0.025
    max_yaw_rad: float = 0.2
    max_opening_m: float = 0.08
    control_hz: float = 20.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"head scale: {name} must be positive and finite, got {value}")


class HeadInterface:
    """Keeps the little state a head needs (its setpoint, its recent actions) and converts both ways."""

    def __init__(self, scale: HeadScale) -> None:
        self.scale = scale
        self._recent: deque[list[float]] = deque(maxlen=NUM_RECENT_ACTIONS)
        self._first_yaw = 0.0
        self.reset()

    def reset(self) -> None:
        self._recent.clear()
        self._recent.extend([0.0] * ACTION_DIM for _ in range(NUM_RECENT_ACTIONS))
        self.T_base_tcp_commanded: FloatArray | None = None
        self.commanded_width_m = self.scale.max_opening_m
        self.closed_s = 0.0
        self.closed_at_m = 0.0
        self.num_misses = 0
        self._miss_told = False

    def begin(self, observation: Observation) -> None:
        """Takes the first measured pose as setpoint; later calls change nothing."""
        if self.T_base_tcp_commanded is None:
            self.T_base_tcp_commanded = observation.T_base_tcp.copy()
            self._first_yaw = frames.yaw_of(observation.T_base_tcp)

    def sent(self, action: Action) -> None:
        """Follows the setpoint with the action that was really sent."""
        if self.T_base_tcp_commanded is None:
            raise ValueError("HeadInterface.sent before the first observation; call begin(observation) first")
        T = frames.moved(self.T_base_tcp_commanded, action.delta_m, action.delta_rotation_rad)
        self.T_base_tcp_commanded = T
        self.commanded_width_m = action.gripper_width_m
        if self.is_closing:
            self.closed_at_m = T[2, 3] if self.closed_s == 0.0 else self.closed_at_m
            self.closed_s += 1.0 / self.scale.control_hz
        else:
            self.closed_s = 0.0

    @property
    def is_closing(self) -> bool:
        return self.commanded_width_m < 0.5 * self.scale.max_opening_m

    def notices_miss(self, observation: Observation) -> bool:
        """True once for every time the jaws have closed and hold nothing; ask in every control period."""
        self._miss_told &= self.is_closing
        empty = observation.gripper_width_m < _EMPTY_WIDTH_M
        if self._miss_told or not (self.is_closing and empty and self.closed_s > _CLOSED_FOR_S):
            return False
        self._miss_told = True
        self.num_misses += 1
        return True

    def errors(self, observation: Observation, T_base_goal: FloatArray) -> tuple[FloatArray, float]:
        """Goal minus measured tool: translation (3,) in the tool-yaw frame, and yaw by the nearer half turn.

        By the other half turn where the nearer one leads far away from the yaw that the episode began with: a wrist
        that goes on turning the same way meets its end.
        """
        x, y, z, turn = self._errors(observation, T_base_goal)
        return np.array([x, y, z]), turn

    def _errors(self, observation: Observation, T_base_goal: FloatArray) -> tuple[float, float, float, float]:
        yaw = frames.yaw_of(observation.T_base_tcp)
        x, y, z = observation.T_base_tcp[:3, 3].tolist()
        goal_x, goal_y, goal_z = T_base_goal[:3, 3].tolist()
        turn = frames.wrap_half_turn(frames.yaw_of(T_base_goal) - yaw)
        wound = math.remainder(yaw + turn - self._first_yaw, 2.0 * math.pi)
        over = abs(wound) - _MAX_WOUND_RAD
        if turn * wound > 0.0 and over > (0.0 if abs(turn) > _SMALL_TURN_RAD else _SMALL_TURN_RAD):
            turn -= math.copysign(math.pi, wound)
        return *_to_tool(goal_x - x, goal_y - y, yaw), goal_z - z, turn

    def lead(self, observation: Observation) -> tuple[FloatArray, float]:
        """Setpoint minus measured tool, likewise."""
        self.begin(observation)
        assert self.T_base_tcp_commanded is not None
        return self.errors(observation, self.T_base_tcp_commanded)

    def vector(self, observation: Observation, estimate: GraspEstimate) -> NDArray[np.float32]:
        """The observation of a head, (OBSERVATION_DIM,)."""
        self.begin(observation)
        assert self.T_base_tcp_commanded is not None
        x, y, z, yaw_error = self._errors(observation, estimate.T_base_grasp)
        lead_x, lead_y, lead_z, yaw_lead = self._errors(observation, self.T_base_tcp_commanded)
        opening = self.scale.max_opening_m
        height = float(observation.T_base_tcp[2, 3])
        rise = height - self.closed_at_m if self.closed_s > 0 else 0.0
        entries = [
            *(x / 0.1, y / 0.1, z / 0.1),
            *(yaw_error, estimate.quality, estimate.age_s, estimate.width_m / opening),
            *(observation.gripper_width_m / opening, self.commanded_width_m / opening),
            *(lead_x / 0.05, lead_y / 0.05, lead_z / 0.05),
            *(yaw_lead / 0.3, height / 0.2, min(self.closed_s, 2.0), rise / 0.1),
            *itertools.chain.from_iterable(self._recent),
        ]
        return np.array(entries, dtype=np.float32).clip(-_CLIP, _CLIP)

    def action(self, vector: NDArray[np.floating], observation: Observation) -> Action:
        """The action a head means by (ACTION_DIM,) numbers in [-1, 1]; remembers it."""
        values = [min(max(value, -1.0), 1.0) for value in vector.tolist()]
        self._recent.append(values)
        delta = np.array(values[:3]) * self.scale.max_delta_m
        delta *= min(1.0, self.scale.max_delta_m / max(math.sqrt(delta @ delta), 1e-9))
        yaw = frames.yaw_of(observation.T_base_tcp)
        # Yaw is measured from above; the tool points down, but a turn about base +Z is a turn about base +Z.
        turn = np.array([0.0, 0.0, values[3] * self.scale.max_yaw_rad])
        width = self.scale.max_opening_m * min(max(0.5 + 0.75 * values[4], 0.0), 1.0)
        x, y, z = delta.tolist()
        return Action(np.array([*_to_tool(x, y, -yaw), z]), turn, width)


def _to_tool(x: float, y: float, yaw_rad: float) -> tuple[float, float]:
    """A horizontal vector along the axes of the base, along those of a tool turned by a yaw."""
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return c * x + s * y, -s * x + c * y
