"""The guard: a controller that holds another one to its limits, and stops it whatever fails.

`runtime.run_episode` runs on it as on any controller. `send_action` returns what was really sent and `reasons` says why
it differs; anything that must not go on raises `SafetyStop` with the arm already held.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simtoreal import frames
from simtoreal.contracts import Action, Controller, Observation
from simtoreal.safety.events import OPERATOR_STOP, SafetyEvent, SafetyStop
from simtoreal.safety.limits import SafetyLimits
from simtoreal.safety.motion import FREE, Caps, Shaped, braking_step, shape, slower_by
from simtoreal.safety.observation_watch import ObservationWatch
from simtoreal.safety.stop_switch import StopSwitch

FloatArray = NDArray[np.float64]
_LATE = 1.5  # periods between two actions that make the second one late
_KEPT_EVENTS = 10_000
_WIRE_S = 0.05  # a stop waits so long for an action that is being sent


class TimeSource(NamedTuple):
    """A clock and what waits on it: the machine's, or that of a simulation."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Guard:
    """A `Controller` around another one.

    Args:
        controller: whose `stop` may be called from another thread at any time.
        limits: to hold it to.
        switch: the operator's stop.
        times: the clock that ages, deadlines and speeds are measured on.
        on_event: told of every limit that acts, when it acts; from whichever thread.
    """

    def __init__(
        self,
        controller: Controller,
        limits: SafetyLimits,
        switch: StopSwitch | None = None,
        times: TimeSource | None = None,
        on_event: Callable[[SafetyEvent], None] | None = None,
    ) -> None:
        self.limits = limits
        self.switch = switch or StopSwitch()
        self.times = times or TimeSource()
        self.events: deque[SafetyEvent] = deque(maxlen=_KEPT_EVENTS)
        self.reasons: tuple[SafetyEvent, ...] = ()  # why the latest action differs from what was wanted
        self.stopped: SafetyEvent | None = None
        self._controller = controller
        self._on_event = on_event
        self._watch = ObservationWatch(limits)
        self._wire = threading.Lock()
        self._T_setpoint: FloatArray | None = None
        self._width_m: float = limits.max_width_m
        self._begin()

    @property
    def control_hz(self) -> float:
        return self._controller.control_hz

    def connect(self) -> None:
        self._controller.connect()

    def disconnect(self) -> None:
        self._armed = False
        self._controller.disconnect()

    def reset(self) -> Observation:
        """Begins an episode; forgets an earlier stop, but not a switch that is still pressed.

        Raises:
            SafetyStop: the first observation is unfit, the operator's stop is pressed, or the link is lost.
        """
        self._begin()
        return self._checked(self._call("observe", self._controller.reset))

    def get_observation(self) -> Observation:
        """The newest observation, once it has been looked at.

        Raises:
            SafetyStop: it must not be acted on.
        """
        self._look_at_switch()
        return self._checked(self._call("observe", self._controller.get_observation))

    def send_action(self, action: Action) -> Action:
        """Sends what the limits leave of an action, and returns it.

        Raises:
            SafetyStop: nothing was sent.
            ValueError: a component is not a finite number; the arm is held.
        """
        self._look_at_switch()
        _check_finite(action)
        if self._was_held:
            self.get_observation()
        now_s = self.times.now()
        self._keep_time(now_s)
        return self._transmit(self._limited(action, now_s), now_s)

    def stop(self) -> None:
        """Holds the arm. Safe at any time and from any thread; never raises."""
        self._armed = False
        reached = self._wire.acquire(timeout=_WIRE_S)
        try:
            self._hold()
        finally:
            if reached:
                self._wire.release()
        self._was_held = True
        self._previous_m, self._previous_rad = np.zeros(3), np.zeros(3)

    def trip(self, event: SafetyEvent) -> SafetyStop:
        """Holds the arm because of an event, lets nothing more through, and returns what to raise."""
        if self.stopped is None:
            self.stopped = event  # before the arm is held: what comes now is refused
            self._note(event)
        self.stop()
        return SafetyStop(self.stopped)

    def poll(self) -> None:
        """What a watchdog does every few milliseconds: holds the arm where the loop is stuck or the stop is pressed."""
        if self.stopped is not None or not self._armed:
            return
        now_s = self.times.now()
        silent_s = now_s - self._sent_s
        if self.switch.is_pressed:
            self.trip(self._operator_stop(now_s))
        elif silent_s > self.limits.max_silence_s:
            self.trip(SafetyEvent("silence_s", silent_s, self.limits.max_silence_s, now_s, True, "no action came"))

    @property
    def setpoint(self) -> FloatArray | None:
        """The commanded tool pose (4, 4), as far as it is known."""
        return None if self._T_setpoint is None else self._T_setpoint.copy()

    def transmit_slowly(self, delta_m: FloatArray) -> Action:
        """One step of a retreat: the limits hold, a stop that has happened does not forbid it.

        Raises:
            SafetyStop: the observation before it is unfit.
        """
        observation = self._controller.get_observation()
        now_s = self.times.now()
        event = self._watch.problem(observation, now_s)
        if event is not None and event.name not in ("blind_s", "frozen_camera_m"):
            raise SafetyStop(event)
        self._find_setpoint(observation)
        wanted = Action(delta_m, np.zeros(3), self._width_m)
        self._sent_s = now_s
        return self._transmit(self._limited(wanted, now_s), now_s, armed=False)

    # --- parts

    def _begin(self) -> None:
        self.stopped = None
        self._armed = False  # between the first action and the stop, the loop must not fall silent
        self._num_late = 0
        self._sent_s = 0.0
        self._path: deque[tuple[float, float]] = deque()  # when, how far: in the last second
        self._previous_m, self._previous_rad = np.zeros(3), np.zeros(3)
        self._width_m = self.limits.max_width_m
        self._T_setpoint = None
        self._was_held = False
        self._watch.begin()

    def _look_at_switch(self) -> None:
        if self.stopped is not None:
            raise SafetyStop(self.stopped)
        if self.switch.is_pressed:
            raise self.trip(self._operator_stop(self.times.now()))

    def _operator_stop(self, now_s: float) -> SafetyEvent:
        waited_s = now_s - self.switch.pressed_s
        return SafetyEvent(OPERATOR_STOP, waited_s, 0.0, now_s, True, self.switch.reason)

    def _call(self, what: str, function: Callable[[], Observation]) -> Observation:
        try:
            return function()
        except OSError as error:  # ConnectionError and TimeoutError among them
            detail = f"{what}: {type(error).__name__} {error}".strip()
            raise self.trip(SafetyEvent("link", math.nan, math.nan, self.times.now(), True, detail)) from error

    def _checked(self, observation: Observation) -> Observation:
        event = self._watch.problem(observation, self.times.now())
        if event is None:
            self._find_setpoint(observation)
            event = self._arm_problem(observation)
        if event is not None:
            raise self.trip(event)
        if self.stopped is not None:  # by the watchdog, while the controller was slow to answer
            raise SafetyStop(self.stopped)
        return observation

    def _find_setpoint(self, observation: Observation) -> None:
        """Where motion begins, of an episode or after a hold: an arm that was stopped goes on from where it stands.

        Believed to be where it was before, it would be wrong by the way of the braking, and by more after every hold.
        """
        if self._T_setpoint is None:
            self._width_m = min(max(observation.gripper_width_m, self.limits.min_width_m), self.limits.max_width_m)
        if self._T_setpoint is None or self._was_held:
            self._T_setpoint = observation.T_base_tcp.copy()
            self._was_held = False

    def _arm_problem(self, observation: Observation) -> SafetyEvent | None:
        now_s, limits = self.times.now(), self.limits
        force_n = getattr(self._controller, "gripper_force_n", None)
        if force_n is not None and force_n > limits.max_gripper_force_n:
            return SafetyEvent("gripper_force_n", float(force_n), limits.max_gripper_force_n, now_s, True)
        assert self._T_setpoint is not None
        lead_m = float(np.linalg.norm(self._T_setpoint[:3, 3] - observation.T_base_tcp[:3, 3]))
        if lead_m > limits.max_lead_m:
            return SafetyEvent("lead_m", lead_m, limits.max_lead_m, now_s, True, "the arm does not follow")
        return None

    def _keep_time(self, now_s: float) -> None:
        late_s = now_s - self._sent_s - _LATE / self.control_hz
        self._num_late = self._num_late + 1 if self._armed and late_s > 0.0 else 0
        if self._num_late > self.limits.max_missed_deadlines:
            most = self.limits.max_missed_deadlines
            raise self.trip(SafetyEvent("missed_deadlines", self._num_late, most, now_s, True, "in a row"))

    def _limited(self, action: Action, now_s: float) -> Action:
        limits = self.limits
        if self._T_setpoint is None:
            raise ValueError("the guard has seen no observation yet: call reset() or get_observation() first")
        at_m = self._T_setpoint[:3, 3]
        moved = shape(
            np.asarray(action.delta_m, dtype=np.float64), self._previous_m, self._translation_caps(at_m, now_s)
        )
        turned = shape(np.asarray(action.delta_rotation_rad, dtype=np.float64), self._previous_rad, self._turn_caps())
        width_m = min(max(float(action.gripper_width_m), limits.min_width_m), limits.max_width_m)
        reasons = [*_events(moved, "m", now_s), *_events(turned, "rad", now_s)]
        if width_m != action.gripper_width_m:
            reasons.append(SafetyEvent("gripper_width_m", float(action.gripper_width_m), width_m, now_s))
        self.reasons = tuple(reasons)
        for event in reasons:
            self._note(event)
        self._check_tilt(turned.step, now_s)
        return Action(moved.step, turned.step, width_m)

    def _translation_caps(self, at_m: FloatArray, now_s: float) -> Caps:
        limits, period_s = self.limits, 1.0 / self.control_hz
        while self._path and self._path[0][0] <= now_s - 1.0:
            self._path.popleft()
        left_m = limits.max_path_m - sum(length for _, length in self._path)
        max_change = limits.max_acceleration_m_s2 * period_s**2
        lengths = (
            ("step_m", limits.max_step_m),
            ("speed_m", limits.max_speed_m_s * period_s),
            ("per_second_m", braking_step(left_m, slower_by(max_change))),
        )
        return Caps(lengths, max_change, at_m - limits.low_m, np.subtract(limits.workspace_high_m, at_m))

    def _turn_caps(self) -> Caps:
        limits, period_s = self.limits, 1.0 / self.control_hz
        lengths = (("step_rad", limits.max_step_rad), ("speed_rad", limits.max_speed_rad_s * period_s))
        return Caps(lengths, limits.max_acceleration_rad_s2 * period_s**2, FREE, FREE)

    def _check_tilt(self, turn_rad: FloatArray, now_s: float) -> None:
        assert self._T_setpoint is not None
        approach_z = float((frames.rotation_from_vector(turn_rad) @ self._T_setpoint[:3, 2])[2])
        tilt_rad = math.acos(min(max(-approach_z, -1.0), 1.0))
        if tilt_rad > self.limits.max_tilt_rad:
            limit_rad = self.limits.max_tilt_rad
            raise self.trip(SafetyEvent("tilt_rad", tilt_rad, limit_rad, now_s, True, "of the action that was wanted"))

    def _transmit(self, action: Action, now_s: float, armed: bool = True) -> Action:
        with self._wire:
            if armed and self.stopped is not None:
                raise SafetyStop(self.stopped)
            self._armed, self._sent_s = armed, now_s
            try:
                sent = self._controller.send_action(action)
            except OSError as error:
                lost: OSError | None = error
            else:
                lost = None
        if lost is not None:
            detail = f"send: {type(lost).__name__} {lost}"
            raise self.trip(SafetyEvent("link", math.nan, math.nan, self.times.now(), True, detail)) from lost
        self._follow(sent, now_s)
        if armed and self.stopped is not None:  # while it was under way: hold again, behind it
            self.stop()
            raise SafetyStop(self.stopped)
        return sent

    def _follow(self, sent: Action, now_s: float) -> None:
        assert self._T_setpoint is not None
        self._T_setpoint = frames.moved(self._T_setpoint, sent.delta_m, sent.delta_rotation_rad)
        self._previous_m, self._previous_rad = np.array(sent.delta_m), np.array(sent.delta_rotation_rad)
        self._width_m = float(sent.gripper_width_m)
        self._path.append((now_s, float(np.linalg.norm(sent.delta_m))))

    def _hold(self) -> None:
        # Whatever the driver raises, the stop goes on: a second attempt follows, and the caller has its own reason.
        for _ in range(2):
            with suppress(Exception):
                self._controller.stop()
                return
        now_s = self.times.now()
        self._note(SafetyEvent("hold", math.nan, math.nan, now_s, True, "the controller did not take the stop"))

    def _note(self, event: SafetyEvent) -> None:
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)


def _events(shaped: Shaped, unit: str, now_s: float) -> list[SafetyEvent]:
    return [
        SafetyEvent(name if name.endswith(unit) else f"{name}_{unit}", value, limit, now_s)
        for name, value, limit in shaped.acted
    ]


def _check_finite(action: Action) -> None:
    for name in ("delta_m", "delta_rotation_rad"):
        value = np.asarray(getattr(action, name), dtype=np.float64)
        if value.shape != (3,) or not np.isfinite(value).all():
            raise ValueError(f"action: {name} must be three finite numbers, got {value.tolist()}")
    if not math.isfinite(action.gripper_width_m):
        raise ValueError(f"action: gripper_width_m must be finite, got {action.gripper_width_m}")
