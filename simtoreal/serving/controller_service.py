"""A controller as a service: for one client at a time, stopped when that goes, falls silent, or somebody says stop."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from simtoreal.contracts import Action, Controller
from simtoreal.safety.events import SafetyStop
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
_DISCONNECT_S = 5.0


class ControllerService:
    """Opens a controller and serves it; all in one thread, as drivers and renderers want it, but for a stop in need.

    Args:
        open_controller: makes the controller, which holds itself to limits (a `safety.guard.Guard`): what clients send
            goes to it as it is. It is connected here, and disconnected when the server ends.
        silence_s: an arm whose client says nothing for so long after an action is stopped.
    """

    def __init__(self, open_controller: Callable[[], Controller], silence_s: float = 0.5) -> None:
        self._thread = ThreadPoolExecutor(1, "controller")
        self._silence_s = silence_s
        self._stopped_because: str | None = None  # actions are refused until the next reset
        self._controller = self._thread.submit(open_controller).result()
        self._thread.submit(self._controller.connect).result()

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
        with suppress(TimeoutError):
            self._thread.submit(self._controller.disconnect).result(_DISCONNECT_S)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def halt(self, reason: str | None) -> None:
        """Stops the arm at once, from any thread.

        Args:
            reason: why no action is taken until the next reset; None where the next one is.
        """
        self._stopped_because = reason or self._stopped_because
        if reason is not None:
            LOG.warning("stopped: %s", reason)
        stopping = self._thread.submit(self._controller.stop)
        try:
            stopping.result(_STOP_WAITS_S)
        except TimeoutError:
            self._controller.stop()  # safe from any state, says the contract; a call that hangs must not keep it off

    def reset(self) -> dict[str, Any]:
        self._stopped_because = None
        return full_message(self._thread.submit(self._controller.reset).result())

    def observe(self) -> dict[str, Any]:
        return full_message(self._thread.submit(self._controller.get_observation).result())

    def act(self, message: Mapping[str, Any]) -> dict[str, Any]:
        action = read_action(message, ACTION)
        return {SENT: action_row(self._thread.submit(self._send, action).result())}

    def _send(self, action: Action) -> Action:
        if self._stopped_because is not None:
            raise Refused(Outcome.STOPPED, f"stopped: {self._stopped_because}; reset it to go on")
        return self._controller.send_action(action)


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
        except SafetyStop as stop:  # by the guard around the controller, which takes nothing until the next reset
            raise Refused(Outcome.STOPPED, f"{stop}; reset it to go on") from stop
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
