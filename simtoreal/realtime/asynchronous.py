"""A policy that thinks in a thread of its own, so that the loop never waits for it longer than it can afford.

The newest observation waits in a mailbox of one; the action for it applies in the next period that finds it young
enough. An action is the motion of *one* period: repeating it would overshoot what it was meant to reach, so it is sent
once, and periods without a new one hold the tool and keep the jaws as they were commanded.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from simtoreal.contracts import Action, Observation, Policy


class StaleActionError(RuntimeError):
    """The policy has not answered for so long that there is nothing to hold on for."""


class _Question(NamedTuple):
    number: int
    asked_s: float
    observation: Observation
    sent: tuple[Action, ...]  # since the question before


class AsynchronousPolicy:
    """Wraps a policy; use `close` at the end.

    Args:
        policy: used from the thread only.
        patience_s: the loop waits at most so long for the answer to the observation of this period.
        max_age_s: an answer to an observation that was handed over longer ago is thrown away.
        max_silence_s: without any answer for so long `act` raises.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        policy: Policy,
        patience_s: float,
        max_age_s: float,
        max_silence_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._clock = policy, clock
        self._patience_s, self._max_age_s, self._max_silence_s = patience_s, max_age_s, max_silence_s
        self._ready = threading.Condition()
        self._question: _Question | None = None
        self._answer: tuple[_Question, Action] | None = None
        self._error: Exception | None = None
        self._busy = self._closed = self._needs_reset = False
        self._sent: list[Action] = []
        self._number = 0
        self._width_m: float | None = None
        self._answered_s = 0.0
        self.num_held = 0  # periods without an action that was young enough
        self._thread = threading.Thread(target=self._think, name="policy", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Begins an episode; what is still being thought about is thrown away when it is done."""
        with self._ready:
            self._question = self._answer = self._error = None
            self._sent.clear()
            self._needs_reset = True
            self._width_m = None
            self._number += 1
            self._answered_s = self._clock()
            self.num_held = 0

    def act(self, observation: Observation) -> Action:
        """The newest action that is young enough, or a hold.

        Raises:
            StaleActionError: nothing has come for too long.
            Exception: whatever the policy raised.
        """
        with self._ready:
            self._number += 1
            number, now_s = self._number, self._clock()
            waiting = self._question.sent if self._question is not None else ()
            self._question = _Question(number, now_s, observation, (*waiting, *self._sent))
            self._sent.clear()
            self._ready.notify_all()
            self._ready.wait_for(
                lambda: self._error is not None or (self._answer is not None and self._answer[0].number == number),
                self._patience_s,
            )
            if self._error is not None:
                raise self._error
            answer, self._answer = self._answer, None
            now_s = self._clock()
        if answer is not None and now_s - answer[0].asked_s <= self._max_age_s:
            self._answered_s = now_s
            return answer[1]
        return self._hold(observation, now_s)

    def sent(self, action: Action) -> None:
        """Told to the policy before its next observation."""
        self._width_m = action.gripper_width_m
        with self._ready:
            self._sent.append(action)

    def close(self) -> None:
        """Ends the thread, once the policy lets go of it. Safe to call again."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _hold(self, observation: Observation, now_s: float) -> Action:
        self.num_held += 1
        silent_s = now_s - self._answered_s
        if silent_s > self._max_silence_s:
            raise StaleActionError(
                f"the policy has given no action younger than {self._max_age_s:g} s for {silent_s:.2f} s, allowed is "
                f"{self._max_silence_s:g} s: use a faster policy or computer, or a lower control rate"
            )
        width_m = observation.gripper_width_m if self._width_m is None else self._width_m
        return Action(np.zeros(3), np.zeros(3), width_m)

    def _think(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._closed or self._question is not None)
                if self._closed:
                    return
                question, self._question = self._question, None
                begins, self._needs_reset = self._needs_reset, False
            assert question is not None
            try:
                action = self._answered(question, begins)
            except Exception as error:  # noqa: BLE001 - handed to the loop, which raises it
                with self._ready:
                    self._error = error
                    self._ready.notify_all()
                continue
            with self._ready:
                if not self._needs_reset:  # an episode that began meanwhile has no use for it
                    self._answer = question, action
                self._ready.notify_all()

    def _answered(self, question: _Question, begins: bool) -> Action:
        if begins:
            self._policy.reset()
        for action in question.sent:
            self._policy.sent(action)
        return self._policy.act(question.observation)
