"""What the benchmarks of faults share: a policy that asks for anything, and a judge who stands behind the guard."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from simtoreal.contracts import Action, Controller, Observation
from simtoreal.controllers.fake import FakeController
from simtoreal.safety.limits import SafetyLimits

CONTROL_HZ = 20.0
EPISODE_STEPS = 40
SLACK = 1e-9


class Clock(Protocol):
    """Virtual, or the machine's."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


@dataclass
class Verdict:
    """One episode."""

    kind: str
    num_commands: int = 0
    outside: list[str] = field(default_factory=list)
    stop_s: float | None = None  # from the moment of the fault to the hold
    stopped_by: str = ""
    num_lost: int = 0  # recorded frames that are not in the files


class Judge:
    """Stands behind the guard and writes down every command, and where the setpoint of the arm is then."""

    def __init__(self, inner: Controller, arm: FakeController, clock: Clock) -> None:
        self.inner, self.arm, self.clock = inner, arm, clock
        self.commands: list[tuple[float, Action, np.ndarray]] = []
        self.holds_s: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def send_action(self, action: Action) -> Action:
        now_s = self.clock.now()
        sent = self.inner.send_action(action)
        self.commands.append((now_s, action, self.arm.T_setpoint.copy()))
        return sent

    def stop(self) -> None:
        self.holds_s.append(self.clock.now())
        self.inner.stop()


class WildPolicy:
    """Asks for anything: jumps, walls, the table, spinning, impossible openings."""

    def __init__(self, rng: np.random.Generator, clock: Clock, slow_at: int = -1, nan_at: int = -1) -> None:
        self._rng, self._clock, self._slow_at, self._nan_at = rng, clock, slow_at, nan_at
        self.began_s: float | None = None

    def reset(self) -> None:
        self._index = 0
        self._way = self._rng.normal(size=3)

    def act(self, observation: Observation) -> Action:
        self._index += 1
        if self._rng.random() < 0.15:
            self._way = self._rng.normal(size=3)
        size_m = self._rng.choice([0.004, 0.02, 0.2])
        delta = size_m * self._way
        if self._index == self._slow_at:
            self.began_s = self._clock.now()
            self._clock.sleep(self._rng.uniform(0.3, 2.0))
        if self._index == self._nan_at:
            self.began_s = self._clock.now()
            delta = np.array([0.0, np.nan, 0.0])
        yaw = self._rng.normal(scale=self._rng.choice([0.02, 0.5]))
        return Action(delta, np.array([0.0, 0.0, yaw]), float(self._rng.uniform(-0.05, 0.2)))

    def sent(self, action: Action) -> None:
        """Nothing to follow."""


def judge(commands: list[tuple[float, Action, np.ndarray]], limits: SafetyLimits, may: tuple[bool, float]) -> list[str]:
    """What was wrong with the commands that reached the arm; `may` is whether it may go on after which time."""
    wrong, before = [], np.zeros(3)
    period_s = 1.0 / CONTROL_HZ
    for index, (t_s, action, T_setpoint) in enumerate(commands):
        step, turn = np.asarray(action.delta_m), np.asarray(action.delta_rotation_rad)
        place = T_setpoint[:3, 3]
        second = [np.linalg.norm(other.delta_m) for at_s, other, _ in commands[: index + 1] if at_s > t_s - 1.0]
        checks = {
            "finite": np.isfinite(step).all() and np.isfinite(turn).all() and np.isfinite(action.gripper_width_m),
            "step": np.linalg.norm(step) <= min(limits.max_step_m, limits.max_speed_m_s * period_s) + SLACK,
            "turn": np.linalg.norm(turn) <= min(limits.max_step_rad, limits.max_speed_rad_s * period_s) + SLACK,
            "acceleration": np.linalg.norm(step - before) <= limits.max_acceleration_m_s2 * period_s**2 + SLACK,
            "per second": sum(second) <= limits.max_path_m + SLACK,
            "box": (place >= np.array(limits.low_m) - SLACK).all()
            and (place <= np.add(limits.workspace_high_m, SLACK)).all(),
            "width": limits.min_width_m <= action.gripper_width_m <= limits.max_width_m,
            "after the stop": may[0] or t_s <= may[1] + SLACK,
        }
        wrong += [name for name, good in checks.items() if not good]
        before = step
    return wrong
