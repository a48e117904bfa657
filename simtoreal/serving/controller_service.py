"""A controller as a service: for one client at a time, stopped when that goes, falls silent, or somebody says stop."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from simtoreal.contracts import Controller
from simtoreal.serving.messages import (
    ACKNOWLEDGED,
    ACTION,
    CALL,
    CONTROL_HZ,
    PROTOCOL,
    PROTOCOL_KEY,
    SENT,
    SERVES,
    MessageError,
    action_row,
    full_message,
    read_action,
)
from simtoreal.serving.metrics import Outcome
from simtoreal.serving.service import Refused
from simtoreal.serving.watchdog import Watchdog

LOG = logging.getLogger(__name__)
SERVES_CONTROLLER = "controller"
RESET, OBSERVE, ACT, STOP = "reset", "observe", "act", "stop"
_STOP_WAITS_S = 0.1  # for a call in progress; after that a controller is stopped beside it


class ControllerService:
    """Serves a connected controller.

    Args:
        controller: connected; disconnected when the server ends.
        silence_s: an arm whose client says nothing for so long after an action is stopped.
    """

    def __init__(self, controller: Controller, silence_s: float = 0.5) -> None:
        self._controller, self._silence_s = controller, silence_s
        self._busy = threading.Lock()
        self._stopped_because: str | None = None  # actions are refused until the next reset

    @property
    def metadata(self) -> dict[str, Any]:
        return {SERVES: SERVES_CONTROLLER, PROTOCOL_KEY: PROTOCOL, CONTROL_HZ: float(self._controller.control_hz)}

    def open(self) -> "ControllerSession":
        self._stopped_because = "nobody has reset it for this client"
        return ControllerSession(self, self._silence_s)

    def stop(self) -> bool:
        self.halt("an operator said stop")
        return True

    def close(self) -> None:
        self.halt("the server ends")
        self._controller.disconnect()

    def halt(self, reason: str | None) -> None:
        """Stops the arm at once, from any thread.

        Args:
            reason: why no action is taken until the next reset; None where the next one is.
        """
        self._stopped_because = reason or self._stopped_because
        if reason is not None:
            LOG.warning("stopped: %s", reason)
        is_idle = self._busy.acquire(timeout=_STOP_WAITS_S)
        try:
            self._controller.stop()  # safe from any state, says the contract; a call that hangs must not keep it off
        finally:
            if is_idle:
                self._busy.release()

    def reset(self) -> dict[str, Any]:
        with self._busy:
            self._stopped_because = None
            return full_message(self._controller.reset())

    def observe(self) -> dict[str, Any]:
        with self._busy:
            return full_message(self._controller.get_observation())

    def act(self, message: Mapping[str, Any]) -> dict[str, Any]:
        action = read_action(message, ACTION)
        with self._busy:
            if self._stopped_because is not None:
                raise Refused(Outcome.STOPPED, f"stopped: {self._stopped_because}; reset it to go on")
            return {SENT: action_row(self._controller.send_action(action))}


class ControllerSession:
    """The controller in the hands of its client."""

    def __init__(self, service: ControllerService, silence_s: float) -> None:
        self._service, self._silence_s = service, silence_s
        self._watchdog = Watchdog(silence_s, self._miss)
        self._moves = False

    def is_urgent(self, message: Mapping[str, Any]) -> bool:
        return message.get(CALL) == STOP

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        call = message.get(CALL)
        if call not in (RESET, OBSERVE, ACT, STOP):
            raise MessageError(f"{CALL}={str(call)[:40]!r} is none of {RESET}, {OBSERVE}, {ACT}, {STOP}")
        self._watchdog.rest()
        try:
            return self._carry_out(call, message)
        except MessageError:
            raise
        except ValueError as error:  # what a controller says of an action, such as one that is not finite
            raise MessageError(" ".join(str(error).split())) from error
        finally:
            if self._moves:
                self._watchdog.feed()

    def _carry_out(self, call: str, message: Mapping[str, Any]) -> dict[str, Any]:
        if call == OBSERVE:
            return self._service.observe()
        self._moves = call == ACT
        if call == ACT:
            return self._service.act(message)
        if call == RESET:
            return self._service.reset()
        self._service.halt(None)
        return {ACKNOWLEDGED: STOP}

    def close(self) -> None:
        self._watchdog.close()
        self._service.halt("its client is gone")

    def _miss(self) -> None:
        self._moves = False
        self._service.halt(f"its client said nothing for {self._silence_s:g} s")
