"""The one control loop: the same for training-time evaluation, recording and a real arm."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from simtoreal.contracts import Action, Controller, Observation, Policy


@dataclass(frozen=True)
class Step:
    """What subscribers are told after each control period."""

    index: int
    observation: Observation
    action: Action  # as sent, after limits
    policy_s: float  # image to action
    commanded: Action  # as the policy meant it


class Subscriber(Protocol):
    """A recorder, a video, a viewer, a stopwatch."""

    def episode_start(self) -> None: ...
    def step(self, step: Step) -> None: ...
    def episode_end(self) -> None: ...


class Pacer:
    """Keeps a real controller on monotonic deadlines; a late period does not shift those after it.

    Args:
        control_hz: periods per second.
        clock: monotonic seconds, replaceable in tests.
    """

    def __init__(
        self,
        control_hz: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._period_s = 1.0 / control_hz
        self._clock = clock
        self._sleep = sleep
        self._deadline_s = self._started_s = clock()
        self.num_missed = 0
        self.lateness_s: list[float] = []  # how long after its deadline each period began

    def wait(self) -> None:
        """Sleeps until the next deadline, or counts it as missed and takes up the beat again."""
        self._deadline_s += self._period_s
        left_s = self._deadline_s - self._clock()
        if left_s > 0:
            self._sleep(left_s)
        else:
            self.num_missed += 1
            self._deadline_s += self._period_s * int(-left_s / self._period_s)
        self.lateness_s.append(max(self._clock() - self._deadline_s, 0.0))

    @property
    def passed_s(self) -> float:
        """Time since it was made."""
        return self._clock() - self._started_s


def run_episode(
    controller: Controller,
    policy: Policy,
    observation: Observation,
    finished: Callable[[int], bool],
    subscribers: Sequence[Subscriber] = (),
    pacer: Pacer | None = None,
) -> int:
    """Runs a policy on a controller until `finished(step)`; returns the number of control periods.

    Args:
        observation: what `controller.reset` returned.
        pacer: for controllers that run in real time; a simulator's time passes in `send_action`.

    However the loop ends, the controller is stopped first, and then every subscriber hears of the end.
    """
    index = 0
    with ExitStack() as endings:
        try:
            policy.reset()
            for subscriber in subscribers:
                endings.callback(subscriber.episode_end)
                subscriber.episode_start()
            while not finished(index):
                started_s = time.perf_counter()
                action = policy.act(observation)
                policy_s = time.perf_counter() - started_s
                sent = controller.send_action(action)
                policy.sent(sent)
                for subscriber in subscribers:
                    subscriber.step(Step(index, observation, sent, policy_s, action))
                if pacer is not None:
                    pacer.wait()
                observation = controller.get_observation()
                index += 1
        finally:
            controller.stop()
    return index
