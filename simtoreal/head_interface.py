"""What a policy head sees and says: one low-dimensional vector each way, the same in training and on the robot.

Translations are in the tool-yaw frame (base +Z up, X along the closing direction), so a head does not care where in the
cell, or under which arm, it works. What a head has to remember is here too, and shown to it: heads have no memory of
their own, so what one does follows from what it sees, and can be learned from another that does the same.

| observation | entries | scale |
|---|---|---|
| grasp position minus measured tool position: coarse, fine | 3 + 3 | 0.1 m, tanh of 8 mm |
| yaw from tool to grasp, by the nearer half turn: coarse, fine | 2 | 1 rad, tanh of 0.1 rad |
| quality, age of the image | 2 | 1, 1 s |
| width between the jaws: expected, measured, commanded | 3 | full opening |
| measured width between the jaws: fine | 1 | tanh of 4 mm |
| lead of the setpoint over the measured tool: position, yaw | 4 | 0.05 m, 0.3 rad |
| standing lead: what of it remained when the arm was last at rest | 3 | 0.01 m |
| measured height of the tool above the nominal table | 1 | 0.2 m |
| time since the jaws were told to close, to open | 2 | 1 s, 2 s |
| rise of the tool since the jaws were told to close: measured, commanded | 2 | 0.1 m |
| for how long neither tool nor jaws have moved | 1 | 0.5 s |
| height of the tool above the lowest point of this descent | 1 | 1 mm |
| misses so far | 1 | 3 |
| its own last three actions | 15 | 1 |
"""

import itertools
import math
from collections import deque
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, GraspEstimate, GraspSource, Observation

FloatArray = NDArray[np.float64]
ACTION_DIM = 5  # dx, dy, dz, dyaw, jaws (+1 open, -1 closed)
NUM_RECENT_ACTIONS = 3
NUM_OF_ESTIMATE = 11  # the first entries of an observation speak of the grasp estimate, the others of the arm
OBSERVATION_DIM = NUM_OF_ESTIMATE + 18 + NUM_RECENT_ACTIONS * ACTION_DIM
_CLIP = 5.0
_MAX_WOUND_RAD = 1.75  # away from the first yaw; a little over a quarter turn, so that grasps at its end do not flip
_SMALL_TURN_RAD = 0.3  # so little farther is no reason to go round the other way
_LIFTED_M = 0.005  # the setpoint above where the jaws closed
_EMPTY_WIDTH_M = 0.0012  # jaws that measure less than this hold nothing
_CLOSED_FOR_S = 0.6  # the jaws need this long to close before their width says anything
_STILL_M = 0.0008  # in one period
_SETTLED_S = 0.1  # at rest for so long, what lead remains is standing
_STANDING_GAIN = 0.15  # per period
_ASCENT_M = 0.02  # a tool that has risen so far is not on the same descent any more
_MAX_STANDING_M = 0.01  # more would press a blocked tool into what blocks it


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
    """Keeps the little that a head needs to remember, and converts both ways."""

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
        self.closed_s = 0.0  # since the jaws were told to close; 0 while they are told to be open
        self.open_s = 0.0  # likewise to open, or since the episode began
        self.closed_at_m = 0.0
        self.lowest_m = math.inf  # height of the tool at the lowest point of this descent
        self.still_s = 0.0  # for how long neither tool nor jaws have moved
        self.num_misses = 0
        self._miss_told = False
        self._standing_m = [0.0, 0.0, 0.0]  # lead of the setpoint that remains at rest, base frame
        self._settled_s = 0.0
        self._seen: list[float] | None = None

    def see(self, observation: Observation) -> None:
        """Takes note of an observation: once in every control period, before anything else is asked.

        The first measured pose becomes the setpoint.
        """
        if self.T_base_tcp_commanded is None:
            self.T_base_tcp_commanded = observation.T_base_tcp.copy()
            self._first_yaw = frames.yaw_of(observation.T_base_tcp)
        tool = observation.T_base_tcp[:3, 3].tolist()
        setpoint = self.T_base_tcp_commanded[:3, 3].tolist()
        seen = [*tool, observation.gripper_width_m, *setpoint]
        change = [abs(now - before) for now, before in zip(seen, self._seen or [math.inf] * 7, strict=True)]
        self._seen = seen
        period_s = 1.0 / self.scale.control_hz
        self.still_s = 0.0 if max(change[:4]) > _STILL_M else self.still_s + period_s
        # A late arm is still at first, although its setpoint has long been on its way: that is no standing lead.
        self._settled_s = 0.0 if max(change) > _STILL_M else self._settled_s + period_s
        self.lowest_m = tool[2] if tool[2] > self.lowest_m + _ASCENT_M else min(self.lowest_m, tool[2])
        if self._settled_s > _SETTLED_S and not self.is_closing:
            self._standing_m = [
                min(max(old + _STANDING_GAIN * (ahead - at - old), -_MAX_STANDING_M), _MAX_STANDING_M)
                for old, ahead, at in zip(self._standing_m, setpoint, tool, strict=True)
            ]

    def sent(self, action: Action) -> None:
        """Follows the setpoint with the action that was really sent."""
        T = frames.moved(self._setpoint(), action.delta_m, action.delta_rotation_rad)
        self.T_base_tcp_commanded = T
        self.commanded_width_m = action.gripper_width_m
        period_s = 1.0 / self.scale.control_hz
        if self.is_closing:
            self.closed_at_m = T[2, 3] if self.closed_s == 0.0 else self.closed_at_m
            self.closed_s, self.open_s = self.closed_s + period_s, 0.0
        else:
            self.closed_s, self.open_s = 0.0, self.open_s + period_s

    @property
    def is_closing(self) -> bool:
        return self.commanded_width_m < 0.5 * self.scale.max_opening_m

    def is_empty(self, observation: Observation) -> bool:
        """Whether the jaws have closed and hold nothing."""
        empty = observation.gripper_width_m < _EMPTY_WIDTH_M
        return self.is_closing and empty and self.closed_s > _CLOSED_FOR_S

    def notices_miss(self, observation: Observation) -> bool:
        """True once for every time the jaws have closed and hold nothing; ask in every control period."""
        self._miss_told &= self.is_closing
        if self._miss_told or not self.is_empty(observation):
            return False
        self._miss_told = True
        self.num_misses += 1
        return True

    def tells_of_miss(self, observation: Observation, source: GraspSource) -> bool:
        """Whether there is a new miss, of which the source is told; ask in every control period."""
        if not self.notices_miss(observation):
            return False
        source.missed(observation.T_base_tcp, slipped=self.has_lifted)
        return True

    @property
    def commanded_rise_m(self) -> float:
        """How far the setpoint has risen since the jaws were told to close; 0 while they are open."""
        if self.T_base_tcp_commanded is None or not self.is_closing:
            return 0.0
        return float(self.T_base_tcp_commanded[2, 3] - self.closed_at_m)

    @property
    def has_lifted(self) -> bool:
        """Whether the closed jaws have been told to rise: they held something then."""
        return self.commanded_rise_m > _LIFTED_M

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
        """Setpoint minus measured tool, likewise.

        Raises:
            ValueError: nothing was seen yet.
        """
        return self.errors(observation, self._setpoint())

    def standing(self, observation: Observation) -> FloatArray:
        """The standing lead (3,) in the tool-yaw frame."""
        x, y, z = self._standing_m
        return np.array([*_to_tool(x, y, frames.yaw_of(observation.T_base_tcp)), z])

    def vector(self, observation: Observation, estimate: GraspEstimate) -> NDArray[np.float32]:
        """The observation of a head, (OBSERVATION_DIM,).

        Raises:
            ValueError: nothing was seen yet.
        """
        *error, yaw_error = self._errors(observation, estimate.T_base_grasp)
        *lead, yaw_lead = self._errors(observation, self._setpoint())
        opening, width = self.scale.max_opening_m, observation.gripper_width_m
        height = float(observation.T_base_tcp[2, 3])
        rise = height - self.closed_at_m if self.is_closing else 0.0
        entries = [
            *(component / 0.1 for component in error),
            *(math.tanh(component / 0.008) for component in error),
            *(yaw_error, math.tanh(yaw_error / 0.1)),
            *(estimate.quality, estimate.age_s, estimate.width_m / opening),
            *(width / opening, self.commanded_width_m / opening, math.tanh(width / 0.004)),
            *(component / 0.05 for component in lead),
            yaw_lead / 0.3,
            *(component / 0.01 for component in self.standing(observation).tolist()),
            *(height / 0.2, min(self.closed_s, 4.0), min(self.open_s, 8.0) / 2.0),
            *(rise / 0.1, self.commanded_rise_m / 0.1, min(self.still_s, 1.0) / 0.5),
            *((height - self.lowest_m) / 0.001, min(self.num_misses, 3) / 3.0),
            *itertools.chain.from_iterable(self._recent),
        ]
        return np.array(entries, dtype=np.float32).clip(-_CLIP, _CLIP)

    def _setpoint(self) -> FloatArray:
        if self.T_base_tcp_commanded is None:
            raise ValueError("HeadInterface before the first observation; call see(observation) first")
        return self.T_base_tcp_commanded

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

    def vector_of(self, action: Action, observation: Observation) -> NDArray[np.float64]:
        """The numbers (ACTION_DIM,) in [-1, 1] that mean an action: the inverse of `action`, without remembering it.

        Of a step that was shortened to the longest one the direction comes back, of jaws at an end the end.
        """
        x, y, z = (float(value) / self.scale.max_delta_m for value in action.delta_m)
        across = _to_tool(x, y, frames.yaw_of(observation.T_base_tcp))
        opening = float(action.gripper_width_m) / self.scale.max_opening_m
        jaws = (opening - 0.5) / 0.75 if 1e-6 < opening < 1.0 - 1e-6 else math.copysign(1.0, opening - 0.5)
        turn = float(action.delta_rotation_rad[2]) / self.scale.max_yaw_rad
        return np.asarray(np.clip(np.array([*across, z, turn, jaws]), -1.0, 1.0))


def _to_tool(x: float, y: float, yaw_rad: float) -> tuple[float, float]:
    """A horizontal vector along the axes of the base, along those of a tool turned by a yaw."""
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return c * x + s * y, -s * x + c * y
